"""How long commands take to start, against Python itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from scripts.benchmarks.measuring import BenchError, Row, corpus_file, interleaved, median, run_python, seconds

HELP_LIMIT_S = 0.25
ANALYZE_LIMIT_S = 0.85
TRACE = "h100_bert_small_inference"


def startup(repeats: int) -> Iterator[Row]:
    """Import, help and a small analysis: wall time of fresh processes."""
    commands: dict[str, tuple[str, ...]] = {
        "python -c pass": ("-c", "pass"),
        "import perfkit": ("-c", "import perfkit"),
        "perfkit --help": ("-m", "perfkit", "--help"),
        "perfkit run --help": ("-m", "perfkit", "run", "--help"),
        "import pandas (for scale)": ("-c", "import pandas"),
        "import torch (for scale)": ("-c", "import torch"),
    }
    try:
        commands["perfkit analyze, h100_bert_small"] = ("-m", "perfkit", "analyze", str(corpus_file(TRACE)))
    except BenchError as error:
        yield Row("perfkit analyze, h100_bert_small", f"not run: {error}")
    runs = interleaved({name: partial(run_python, *argv) for name, argv in commands.items()}, repeats)
    wall = {name: median([run.wall_s for run in children]) for name, children in runs.items()}
    least = {name: min(run.wall_s for run in children) for name, children in runs.items()}
    cpu = {name: median([run.cpu_s for run in children]) for name, children in runs.items()}
    base = wall.pop("python -c pass")
    limits = {
        "perfkit --help": HELP_LIMIT_S,
        "perfkit analyze, h100_bert_small": ANALYZE_LIMIT_S,
    }
    for name, value in wall.items():
        limit = limits.get(name)
        yield Row(
            name,
            f"{seconds(value)} (least {seconds(least[name])}, CPU {seconds(cpu[name])})",
            f"python -c pass, {seconds(base)}",
            value / base,
            f"< {limit:g} s" if limit else "",
            value < limit if limit else None,
        )
