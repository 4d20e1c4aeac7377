"""scripts/bench: that its measuring can be trusted, and that each part still fits perfkit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from perfkit.analysis.reports import trace as trace_report
from perfkit.trace.load import load
from perfkit.trace.snapshot.columns import Action
from perfkit.trace.snapshot.reader import read as read_snapshot
from scripts.benchmarks import harness_child, measuring, rivals, trace_child
from scripts.benchmarks import main as bench
from scripts.benchmarks.make_snapshot import make as write_snapshot
from scripts.benchmarks.make_trace import Made, write_trace
from scripts.benchmarks.measuring import BenchError, Row, interleaved, run_child, run_python


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Made]:
    path = tmp_path_factory.mktemp("bench") / "made.json"
    return path, write_trace(path, 2_000, layers=2)


# --- measuring ---------------------------------------------------------------------------------------------------


def test_what_a_child_costs_is_seen() -> None:
    idle = run_child([sys.executable, "-S", "-c", "print('[1, 2]')"])
    busy = run_child([sys.executable, "-S", "-c", "for _ in range(20_000_000): pass"])
    assert idle.answer() == [1, 2]
    assert idle.cpu_s < busy.cpu_s < busy.wall_s * 1.5


def test_a_childs_peak_is_its_own() -> None:
    """Seen from a small process, as the benchmarks' own is: this one's memory would count into the child's."""
    code = (
        "import sys; from scripts.benchmarks.measuring import run_child;"
        "print(run_child([sys.executable, '-S', '-c', 'kept = bytes(b\"x\") * 300_000_000']).peak_bytes)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(bench.__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert 300_000_000 < int(answer.stdout) < 900_000_000


def test_the_benchmarks_own_process_is_small() -> None:
    """Linux counts the parent's memory into a child's peak, so the parent must not hold torch, numpy or pandas."""
    names = "{'torch', 'numpy', 'pandas', 'msgspec', 'perfkit'}"
    code = f"import json, sys, scripts.benchmarks.main; print(json.dumps(sorted({names} & set(sys.modules))))"
    assert run_python("-c", code).answer() == []


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(BenchError, match="exit code 1: ZeroDivisionError"):
        run_python("-c", "1 / 0")


def test_a_child_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(BenchError, match="exit code -9"):
        run_python("-c", "import time; time.sleep(60)", timeout_s=0.3)


def test_repeats_take_turns() -> None:
    seen: list[str] = []
    interleaved({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, 2)
    assert seen == ["a", "b", "a", "b"]


# --- the generated trace -----------------------------------------------------------------------------------------


def test_the_generated_trace_is_what_it_says(made: tuple[Path, Made]) -> None:
    path, facts = made
    trace = load(path)
    summary = trace_report.report(trace).summary
    assert trace.facts.events == facts.events >= 2_000
    assert not trace.facts.repairs
    assert summary["kernels"] == facts.kernels
    assert summary["kernel_time_ns"] == facts.kernel_time_ns
    assert summary["steps"] == facts.steps
    assert summary["backward_nodes_linked"] >= facts.backward_nodes


def test_the_generated_trace_is_the_same_every_time(made: tuple[Path, Made], tmp_path: Path) -> None:
    path, facts = made
    assert write_trace(tmp_path / "again.json", 2_000, layers=2) == facts
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    write_trace(tmp_path / "packed.json.gz", 2_000, layers=2)
    assert load(tmp_path / "packed.json.gz").facts.events == facts.events


def test_a_generated_snapshot_has_as_many_events_as_it_should(tmp_path: Path) -> None:
    """GIVEN two batches of a pickle and a part of one, with lists of its own or shared THEN all events, paired"""
    for shared in (False, True):
        with (tmp_path / "s.pickle").open("wb") as out:
            write_snapshot(out, 2_500, shared_lists=shared)
        found = read_snapshot(tmp_path / "s.pickle")
        counts = np.bincount(found.events.action, minlength=3)
        assert 2_500 <= len(found.events) <= 2_501
        assert counts[Action.FREE_REQUESTED] == counts[Action.FREE_COMPLETED] < counts[Action.ALLOC]
        assert len(found.stacks) == 200
        assert 28 < np.diff(found.stacks.start).mean() < 32


# --- the parts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", trace_child.WORK)
def test_every_work_on_a_trace_runs(
    made: tuple[Path, Made], work: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path, facts = made
    found = trace_child.WORK[work](path)
    assert all(value >= 0 for value in found.values())
    if work == "bound":
        assert found["bytes"] == path.stat().st_size
    else:
        assert found["events"] == facts.events
    if work == "kernels":
        assert found["total_ns"] == facts.kernel_time_ns


def test_the_harness_is_measured() -> None:
    found = harness_child.steps(2, count=20)
    assert set(found) == {"loop", "empty", "phases", "ranges"}
    assert all(len(times) == 2 and min(times) > 0 for times in found.values())


def test_a_package_that_cannot_be_installed_is_said_so() -> None:
    refused = subprocess.CalledProcessError(1, ["pip"], stderr=b"noise\nNo matching distribution\n")
    assert rivals._last_words(refused) == "No matching distribution"
    assert rivals._last_words(OSError(28, "No space left on device")) == "[Errno 28] No space left on device"


def test_a_place_where_nothing_can_be_installed_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (measuring.cache_folder() / "hta-venv").write_text("in the way")
    with pytest.raises(BenchError, match="HolisticTraceAnalysis cannot be installed: "):
        rivals.environment()


# --- the command -------------------------------------------------------------------------------------------------


def test_the_table_shows_ratios_and_broken_bounds() -> None:
    rows = [
        Row("a", "1 s", "b, 2 s", 0.5, "< 1", True),
        Row("c", "9 s", "b, 2 s", 4.5, "< 1", False),
        Row("d", "not run"),
    ]
    lines = bench._table(rows).splitlines()
    assert lines[2].split() == ["a", "1", "s", "0.5", "b,", "2", "s", "<", "1", "ok"]
    assert lines[3].endswith("BROKEN")
    assert lines[4] == "d  not run"


def test_a_broken_bound_is_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_repeats: int) -> Iterator[Row]:
        """Too slow."""
        yield Row("a", "1", "b", 2.0, "< 1", False)

    assert bench.main(["x"], {"x": broken}) == 1
    assert "BROKEN" in capsys.readouterr().out


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["nonsense"]) == 2
    assert "choose from harness" in capsys.readouterr().err
