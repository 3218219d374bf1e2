"""``report.html``: a study as one page that opens anywhere, without a network."""

from results.report.evidence import Asked, Evidence, KnobImportance, Latencies
from results.report.page import render

__all__ = ["Asked", "Evidence", "KnobImportance", "Latencies", "render"]
