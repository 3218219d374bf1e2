"""``tune export``: a winner as files for a production server."""

from tuner.export.command import Asked, export

__all__ = ["Asked", "export"]
