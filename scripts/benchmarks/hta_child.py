"""Load a trace and make its kernel table with HolisticTraceAnalysis (HTA), in an environment of HTA's own.

    hta_child.py FILE BACKEND        BACKEND: json (its default) or ijson_batch_and_compress ("for best results")

With a single trace (one rank) HTA uses no worker processes. The last profiler step is included, so that all kernels
are counted; no plots are drawn. Prints JSON: the CPU seconds of loading and of the table, without imports, and the
table's totals.
"""

from __future__ import annotations

import json
import logging
import resource
import sys

from hta.common.trace_parser import set_default_trace_parsing_backend
from hta.configs.parser_config import ParserBackend
from hta.trace_analysis import TraceAnalysis

ALL_KERNELS = 1_000_000


def cpu_s() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> int:
    path, backend = sys.argv[1:3]
    logging.disable(logging.WARNING)
    set_default_trace_parsing_backend(ParserBackend(backend))
    began = cpu_s()
    analysis = TraceAnalysis(trace_files={0: path}, include_last_profiler_step=True)
    loaded = cpu_s()
    _, kernels = analysis.get_gpu_kernel_breakdown(
        visualize=False, num_kernels=ALL_KERNELS, duration_ratio=1.0, include_memory_kernels=False
    )
    ended = cpu_s()
    total_us = float(kernels["sum (us)"].sum())
    rows = len(analysis.t.traces[0])
    print()
    print(json.dumps({"load_s": loaded - began, "table_s": ended - loaded, "total_us": total_us, "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
