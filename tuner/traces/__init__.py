"""Recorded traffic: the trace formats that are read, and the workloads made from them."""

from tuner.traces.reading import read_trace
from tuner.traces.replay import workload_from
from tuner.traces.trace import Trace
from tuner.traces.workload_file import read_workload, write_workload

__all__ = ["Trace", "read_trace", "read_workload", "workload_from", "write_workload"]
