"""The same work by HolisticTraceAnalysis (PyPI), in an environment of its own: CPU time and peak memory as ratios."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from scripts.benchmarks import generated
from scripts.benchmarks.measuring import (
    BenchError,
    Child,
    Row,
    cache_folder,
    corpus_file,
    interleaved,
    median,
    megabytes,
    run_child,
    run_python,
    seconds,
)

PACKAGES = ("HolisticTraceAnalysis==0.5.0", "ijson==3.6.0")
"""ijson's binary wheels bring yajl2_c, the backend HTA recommends for its `ijson_batch_and_compress`."""
BACKENDS = ("json", "ijson_batch_and_compress")
"""HTA's default, and the one that its documentation calls best. Each bound applies to the better of the two."""
OWN_CHILD = Path(__file__).with_name("trace_child.py")
HTA_CHILD = Path(__file__).with_name("hta_child.py")
LARGE_REPEATS = 3
TIMEOUT_S = 900.0


def hta(repeats: int) -> Iterator[Row]:
    """Load a trace and make its kernel table, perfkit and HTA in turn."""
    python = environment()
    yield from _compared(python, corpus_file("v100_training"), "v100_training", repeats, time=5, memory=0)
    path, _ = generated.trace(generated.LARGE)
    yield from _compared(python, path, "2M events", min(repeats, LARGE_REPEATS), time=15, memory=8)


def environment() -> Path:
    """The Python of HTA's environment, installed at the first call. Raises BenchError if that fails."""
    folder = cache_folder() / "hta-venv"
    python, mark = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(PACKAGES)
    if mark.is_file() and mark.read_text() == wanted:
        return python
    print(f"installing {', '.join(PACKAGES)} into {folder}", flush=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=300)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True, capture_output=True, timeout=900)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        raise BenchError(f"HolisticTraceAnalysis cannot be installed: {_last_words(error)}") from error
    mark.write_text(wanted)
    return python


def _last_words(error: Exception) -> str:
    """The last line that the command wrote to stderr, or how it ended."""
    output = getattr(error, "stderr", None) or b""
    return (output.decode("utf-8", "replace").strip().splitlines()[-1:] or [str(error)])[0]


def _compared(python: Path, path: Path, name: str, repeats: int, *, time: float, memory: float) -> Iterator[Row]:
    cases: dict[str, Callable[[], Child]] = {
        "load": partial(run_python, OWN_CHILD, "load", path),
        "summary": partial(run_python, OWN_CHILD, "summary", path),
        "kernels": partial(run_python, OWN_CHILD, "kernels", path),
    }
    for backend in BACKENDS:
        cases[backend] = partial(run_child, [python, HTA_CHILD, path, backend], timeout_s=TIMEOUT_S)
    runs = interleaved(cases, repeats)
    load, own, full = runs.pop("load"), runs.pop("summary"), runs.pop("kernels")
    yield from _ratios(f"CPU, load + kernel table, {name}", own, runs, _work, seconds, time)
    yield from _ratios(f"CPU, with attribution, {name}", full, runs, _work, seconds)
    yield from _ratios(f"CPU, load alone, {name}", load, runs, _loading, seconds)
    yield from _ratios(f"CPU, whole process, {name}", own, runs, _process, seconds)
    yield from _ratios(f"peak memory, load + kernel table, {name}", own, runs, _peak, megabytes, memory)
    yield from _ratios(f"peak memory, with attribution, {name}", full, runs, _peak, megabytes)
    yield from _ratios(f"peak memory, load alone, {name}", load, runs, _peak, megabytes)
    yield _agreement(name, own[0], runs["json"][0])
    assert own[0].answer()["total_ns"] == full[0].answer()["total_ns"]


def _ratios(
    quantity: str,
    own: list[Child],
    rivals: dict[str, list[Child]],
    cost: Callable[[list[Child]], float],
    shown: Callable[[float], str],
    limit: float | None = None,
) -> Iterator[Row]:
    """What each backend of HTA needs, as a multiple of what perfkit needs; the bound applies to the better backend."""
    mine = cost(own)
    best = min(cost(children) for children in rivals.values())
    for backend, children in rivals.items():
        theirs = cost(children)
        held = limit if limit and theirs == best else None
        yield Row(
            quantity,
            shown(mine),
            f"HTA {backend}, {shown(theirs)}",
            theirs / mine,
            f">= {held:g}x" if held else "",
            theirs / mine >= held if held else None,
        )


def _work(children: list[Child]) -> float:
    """CPU seconds of loading and the table, without Python's start and the imports on both sides."""
    return median([sum(v for k, v in child.answer().items() if k.endswith("_s")) for child in children])


def _loading(children: list[Child]) -> float:
    return median([child.answer()["load_s"] for child in children])


def _process(children: list[Child]) -> float:
    return median([child.cpu_s for child in children])


def _peak(children: list[Child]) -> float:
    return median([child.peak_bytes for child in children])


def _agreement(name: str, own: Child, theirs: Child) -> Row:
    """HTA rounds each time down to whole microseconds, so its total is a little short."""
    exact, rounded = own.answer()["total_ns"] / 1e9, theirs.answer()["total_us"] / 1e6
    return Row(f"kernel time found, {name}", f"{exact:.9f} s", f"HTA json, {rounded:.6f} s", rounded / exact)
