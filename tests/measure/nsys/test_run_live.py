"""The real nsys, where there is one: a run under `nsys profile` and one by `--profiler nsys`, recorded once each."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from perfkit import cli
from perfkit.analysis.reports import trace as trace_report
from perfkit.analysis.reports.trace import View
from perfkit.analysis.time.account import Selection
from perfkit.schema import range_names, record
from perfkit.schema.range_names import RangeName
from perfkit.schema.record import RunRecord
from perfkit.trace.columns import Trace
from perfkit.trace.load import load
from perfkit.workload.model import Transformer
from perfkit.workload.step import TransformerWorkload
from tests.measure.nsys.installed import each_nsys, first_on_path
from tests.runs import QUICK_FLAGS, quick

WARMUP, STEPS = 2, 3
FLAGS = [*QUICK_FLAGS, "--device", "cpu", "--warmup-steps", str(WARMUP), "--measure-steps", str(STEPS)]
TIMEOUT_S = 150
"""Until a recording counts as hanging: over ten times what it takes on a quiet machine; once more is tried."""
_MARK = "PERFKIT_THIS_RECORDING"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=each_nsys())
def nsys(request: pytest.FixtureRequest) -> Path:
    """Each that there is."""
    return request.param


@dataclass(frozen=True)
class Recording:
    """What a recording left."""

    folder: Path
    """Of the run."""
    report: Path
    out: str
    err: str

    @functools.cached_property
    def trace(self) -> Trace:
        """Its report, read."""
        return load(self.report)

    @property
    def record(self) -> RunRecord:
        """The run's own record."""
        return record.load(self.folder)

    def ranges(self) -> list[tuple[RangeName, int, int]]:
        """perfkit's ranges with start and end, outermost first."""
        host = self.trace.host
        rows = np.lexsort((-host.end, host.start))
        names = [range_names.parse_trace(str(name)) for name in self.trace.host_names(rows)]
        assert None not in names
        return list(zip(names, host.start[rows].tolist(), host.end[rows].tolist(), strict=True))


def _record(folder: Path, nsys: Path, command: Sequence[str]) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run a command in a folder; again where nsys fails by itself, which it does now and then on some machines.

    Its own failures are two: it hangs, or its agent goes, of which it says "End of file" or "Agent lost".
    """
    environ = {**first_on_path(nsys, folder), "COLUMNS": "200", "NO_COLOR": "1", _MARK: str(folder)}
    for attempt in ("first", "second", "third"):
        place = folder / attempt
        place.mkdir()
        try:
            done = subprocess.run(
                command, cwd=place, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            for process in _left(folder):
                process.kill()
            continue
        if not any(re.search(r"^End of file$|nsys hung|Agent lost", line) for line in done.stderr.splitlines()):
            return place, done
    return pytest.fail("nsys failed three times by itself")


def _left(folder: Path) -> list[psutil.Process]:
    """Processes that a recording in this folder has started, its agent among them, which is nobody's child."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # gone, or not ours to look at; a zombie has no variables
            if process.environ().get(_MARK) == str(folder):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory, nsys: Path) -> Recording:
    """`nsys profile python -m perfkit.run`, as a user would call it; the flags are those without which it may hang."""
    place, done = _record(
        tmp_path_factory.mktemp("by_hand"),
        nsys,
        [
            "nsys", "profile", "-t", "nvtx,osrt", "-s", "none", "--cpuctxsw=none", "-o", "own",
            sys.executable, "-m", "perfkit.run", *FLAGS, "--folder", "run",
        ],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Recording(place / "run", place / "own.nsys-rep", done.stdout, done.stderr)


@pytest.fixture(scope="module")
def by_flag(tmp_path_factory: pytest.TempPathFactory, nsys: Path) -> Recording:
    """`perfkit run --profiler nsys`."""
    folder = tmp_path_factory.mktemp("by_flag")
    place, done = _record(
        folder,
        nsys,
        [
            sys.executable,
            "-m",
            "perfkit.run",
            *FLAGS,
            "--verbose",
            "--profiler",
            "nsys",
            "--overhead",
            "off",
            "--folder",
            "run",
        ],
    )
    assert done.returncode == 0, done.stderr
    assert _left(folder) == []
    return Recording(place / "run", place / "run" / "report.nsys-rep", done.stdout, done.stderr)


@pytest.fixture(params=["by_hand", "by_flag"])
def recording(request: pytest.FixtureRequest, nsys: Path) -> Recording:
    """Both, of each nsys."""
    return request.getfixturevalue(request.param)


@functools.cache
def _calls() -> Counter[str]:
    """How often a step calls each module, counted by hooks that know nothing of ranges."""
    model = Transformer(quick())
    calls: Counter[str] = Counter()
    for path, module in model.named_modules():

        def count(*_: object, name: str = path or "Transformer") -> None:
            calls[name] += 1

        module.register_forward_pre_hook(count)
    with torch.no_grad():
        model(torch.zeros(2, 16, dtype=torch.long))
    return calls


@functools.cache
def _nodes() -> Counter[str]:
    """How many nodes of a step's graph each module makes, by what is behind its outputs and not behind its inputs.

    Gradient accumulations are those of its own parameters. Nothing here knows of sequence numbers or ranges.
    """
    workload = TransformerWorkload(quick())
    model = workload.model
    made: dict[str, set[Any]] = {}

    def note(path: str, inputs: Any, outputs: Any) -> None:
        made.setdefault(path, set()).update(_behind(outputs) - _behind(inputs))

    for path, module in model.named_modules():
        module.register_forward_hook(lambda _, inputs, outputs, path=path: note(path, inputs, outputs))
    logits = model(workload.tokens)
    note("loss", logits, torch.nn.functional.cross_entropy(logits.flatten(0, 1), workload.targets.flatten()))
    owners = {parameter: name.rpartition(".")[0] for name, parameter in model.named_parameters()}
    counts = Counter(owners[node.variable] for node in made[""] if hasattr(node, "variable"))
    for path, nodes in made.items():
        within = [made[inner] for inner in made if inner.startswith(f"{path}." if path else "") and inner != path]
        own = nodes.difference(*within) if path != "loss" else nodes
        counts[path] += sum(not hasattr(node, "variable") for node in own)
    return +counts  # without those that have none


def _behind(tensors: Any) -> set[Any]:
    """Every node that a backward from these tensors runs."""
    waiting = [tensor.grad_fn for tensor in (tensors if isinstance(tensors, tuple) else (tensors,))]
    met: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in met:
            met.add(node)
            waiting += [behind for behind, _ in node.next_functions]
    return met


def _table(recording: Recording, name: str, view: View | None = None) -> pd.DataFrame:
    tables = trace_report.report(recording.trace, view).tables
    return next(table for table in tables if table.name == name).frame


def test_every_module_has_a_forward_range_for_every_call(recording):
    # GIVEN the measured steps alone, whatever else was recorded
    frame = _table(recording, "ranges")
    counts = dict(zip(frame["name"], frame["count"], strict=True))

    # THEN
    phases = ("zero_grad", "forward", "hooks", "loss", "backward")
    expected = {path: STEPS * calls for path, calls in _calls().items()}
    expected |= {f"phase::{phase}": STEPS for phase in phases} | {"step::*": STEPS}
    expected |= {f"backward::{path}": STEPS * nodes for path, nodes in _nodes().items()}
    assert counts == expected


def test_the_table_of_layers_counts_the_same_ranges(recording):
    frame = _table(recording, "layers")
    counts = {(scope, phase): count for scope, phase, count in frame[["scope", "phase", "count"]].to_numpy()}
    for path, calls in _calls().items():
        assert counts[path, "forward"] == STEPS * calls
    for path, nodes in _nodes().items():
        assert counts[path, "backward"] == STEPS * nodes


def test_every_step_has_a_backward_range_for_every_node_of_the_graph(recording):
    found = recording.ranges()
    steps = [(start, end) for name, start, end in found if name.kind == "step"]
    assert len(steps) == STEPS
    for first, last in steps:
        inside = Counter(n.label for n, start, end in found if n.kind == "backward" and first <= start and end <= last)
        assert inside == _nodes()
    # The root's forward makes no node of its own; the loss is no module.
    assert set(_nodes()) == (set(_calls()) | {"loss"}) - {"Transformer"}


def test_the_ranges_nest(recording):
    open_until: list[int] = []
    main = recording.trace.host.thread[0]
    assert (recording.trace.host.thread == main).all()
    for _, start, end in recording.ranges():
        while open_until and open_until[-1] <= start:
            open_until.pop()
        assert not open_until or end <= open_until[-1]
        open_until.append(end)


def test_modules_lie_in_the_phase_of_their_step(recording):
    # GIVEN steps and forward phases, one in each
    found = recording.ranges()
    steps = [(start, end) for name, start, end in found if name.kind == "step"]
    forward = [(start, end) for name, start, end in found if name == range_names.phase("forward")][-STEPS:]

    # THEN
    assert len(steps) == STEPS
    for (first, last), (start, end) in zip(steps, forward, strict=True):
        assert first <= start < end <= last
        inside = Counter(n.label for n, at, to in found if n.kind == "module" and start <= at and to <= end)
        assert inside == _calls()


def test_rows_add_up(recording):
    report = trace_report.report(recording.trace)
    wall = report.summary["step_wall_ns"]
    assert report.summary["steps"] == STEPS
    assert report.summary["total_ns"] == wall
    for name in ("layers", "phases", "groups"):
        assert _table(recording, name)["total_ns"].sum() == wall
    ranges = _table(recording, "ranges").set_index("name")
    assert ranges["self_ns"].sum() == ranges["total_ns"]["step::*"] == wall


def test_by_hand_warm_up_is_in_the_report_and_not_in_the_tables(by_hand):
    everything = _table(by_hand, "ranges", View(Selection(steps="all"))).set_index("name")["count"]
    assert everything["warmup::*"] == WARMUP
    assert everything["Transformer"] == WARMUP + STEPS
    assert everything["measure"] == 1


def test_by_flag_warm_up_is_not_even_recorded(by_flag):
    kinds = Counter(name.kind for name, _, _ in by_flag.ranges())
    assert (kinds["warmup"], kinds["step"], kinds["measure"]) == (0, STEPS, 1)


def test_by_hand_the_best_command_is_said_once(by_hand):
    lines = by_hand.err.splitlines()
    assert sum("under nsys; this command records only the measured steps" in line for line in lines) == 1
    [command] = [line for line in lines if line.startswith("  nsys profile --trace=nvtx,osrt ")]
    assert " --capture-range=nvtx --nvtx-capture=measure@perfkit --capture-range-end=stop " in command
    assert command.endswith(" --folder run")
    assert by_hand.record.config.measurement.profiler == "none"


def test_by_flag_report_and_record_are_in_the_runs_folder(by_flag):
    names = sorted(path.name for path in by_flag.folder.iterdir())
    assert names[0].startswith("events.out.tfevents.")
    assert names[1:] == ["modules.json", "record.json", "report.nsys-rep", "report.sqlite"]
    saved = by_flag.record
    assert (saved.status, len(saved.warmup), len(saved.steps)) == ("ok", WARMUP, STEPS)
    assert (saved.config.measurement.profiler, saved.artifacts["trace"]) == ("nsys", "report.sqlite")


def test_by_flag_both_reports_are_shown(by_flag):
    for text in (
        "Wall time by phase, mean of",
        "Host ranges, wall time",
        "no GPU work was captured",
        "saved in run",
    ):
        assert text in by_flag.out
    assert by_flag.err.splitlines()[0].startswith("under nsys 20")
    assert "under nsys; this records" not in by_flag.err


def test_analyze_shows_a_runs_folder_again(by_flag, capsys):
    assert cli.main(["analyze", str(by_flag.folder), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"runs", "steps", "layers", "ranges"} <= set(document["tables"])
    assert (document["summary"]["format"], document["summary"]["measured_steps"]) == ("nsys", STEPS)


SCRIPT = """
import sys, torch
from torch import nn
model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters())
for step in range(6):
    optimizer.zero_grad()
    model(torch.ones(4, 8)).square().mean().backward()
    optimizer.step()
print("steps", step + 1, sys.argv[1:])
sys.exit(7)
"""


def test_a_script_is_recorded_as_it_is(tmp_path: Path, nsys: Path):
    """GIVEN a script that ends by 7 WHEN run by --profiler nsys THEN report and layers are its, and its output is"""
    (tmp_path / "train.py").write_text(SCRIPT)
    flags = ["--profiler", "nsys", "--warmup-steps", "1", "--measure-steps", "2", "--folder", "run"]
    place, done = _record(
        tmp_path, nsys, [sys.executable, "-m", "perfkit.run", *flags, str(tmp_path / "train.py"), "--", "--x", "a b"]
    )
    assert done.returncode == 7, done.stderr
    assert next(line for line in done.stdout.splitlines() if line) == "steps 6 ['--x', 'a b']"
    made = Recording(place / "run", place / "run" / "report.nsys-rep", done.stdout, done.stderr)
    assert len(made.record.steps) == 2
    counts = Counter((name.kind, name.label) for name, _, _ in made.ranges())
    assert [counts[range_of] for range_of in (("step", "0"), ("step", "1"), ("module", "0"), ("module", "2"))] == [
        1, 1, 2, 2]  # fmt: skip
    assert _left(tmp_path) == []
