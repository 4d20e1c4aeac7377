"""A run that records memory on a CPU: its peak, its inventories, and what it keeps for backward."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from perfkit.measure import runner
from perfkit.measure.loop import Observer, StepId
from perfkit.schema import record as records
from perfkit.schema.memory import notes as memory_notes
from perfkit.schema.memory.notes import MemoryNotes
from perfkit.schema.record import RunRecord
from tests.measure.real_memory import step_peaks
from tests.runs import quick

pytestmark = pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")


def recorded(folder: Path, *observers: Observer, **fields: Any) -> tuple[RunRecord, MemoryNotes]:
    folder.mkdir(exist_ok=True)
    config = quick(profiler="memory", **{"warmup_steps": 2, **fields})
    record = runner.run(config, folder, observers)
    found = records.artifact(record, folder, "memory")
    assert found is not None
    return record, memory_notes.load(found)


def changes(folder: Path) -> list[tuple[int, int]]:
    """Address and bytes of each event of memory, in order."""
    [trace] = folder.glob("*.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    return [(e["args"]["Addr"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]"]


@pytest.mark.parametrize(
    "fields",
    [{"pass_type": "train"}, {"pass_type": "forward"}, {"precision": "bf16", "attention": "sdpa", "num_layers": 3},
     {"pass_type": "train", "checkpoint_every": 2, "num_layers": 3}],
)  # fmt: skip
def test_the_peak_is_that_of_a_recording_which_saw_everything(tmp_path, fields):
    """GIVEN a recording that begins before the model is built THEN its second step has the same peak"""
    record, _ = recorded(tmp_path / "run", **fields)
    assert record.memory.tensors == step_peaks(quick(**fields), steps=2)[1]


def test_without_warm_up_the_first_step_is_recorded_which_makes_the_optimizers_state(tmp_path):
    """GIVEN no warm-up and one step THEN the peak is the first step's, and Adam's state is there only after it"""
    record, notes = recorded(tmp_path / "run", pass_type="train", warmup_steps=0, measure_steps=1)
    assert record.memory.tensors == step_peaks(quick(pass_type="train"), steps=1)[0]
    assert [(one.moment, {held.kind for held in one.held}) for one in notes.inventories] == [
        ("before", {"parameters", "batch and constants"}),
        ("backward", {"parameters", "batch and constants", "gradients"}),
        ("after", {"parameters", "batch and constants", "gradients", "optimizer state"}),
    ]


def test_what_a_recorded_step_frees_was_seen_to_be_allocated(tmp_path):
    """GIVEN gradients of the warm-up WHEN recording begins THEN they are copied in it, and the first step frees them"""
    _, notes = recorded(tmp_path / "run", pass_type="train", measure_steps=1)
    before, backward, _ = ({held.address: held for held in one.held} for one in notes.inventories)

    # WHEN
    events = changes(tmp_path / "run")

    # THEN
    made = {address for address, size in events if size > 0}
    assert {held.kind for address, held in before.items() if address in made} == {"gradients"}
    freed = {(address, -size) for address, size in events if size < 0}
    assert {(a, held.size) for a, held in before.items() if held.kind == "gradients"} <= freed
    assert {held.address for held in backward.values() if held.kind == "gradients"} <= made


def test_a_run_says_what_it_wrote_and_measures_two_steps(tmp_path):
    record, notes = recorded(tmp_path / "run")
    assert set(record.artifacts) == {"trace", "memory"}
    assert [(one.step, one.moment) for one in notes.inventories] == [
        (step, moment) for step in (0, 1) for moment in ("before", "backward", "after")
    ]  # fmt: skip
    assert {row.scope.partition(".")[0] for row in notes.saved} == {"layers", "norm", "head", "loss"}
    assert records.load(tmp_path / "run").memory.tensors == record.memory.tensors


class Stop(Observer):
    """Ends the run in its second measured step."""

    def before(self, step: StepId) -> None:
        if step == StepId("measured", 1):
            raise KeyboardInterrupt


def test_an_interrupted_run_keeps_its_inventories_and_runs_no_step_more(tmp_path):
    record, notes = recorded(tmp_path / "run", Stop())
    assert record.status == "interrupted"
    assert ([one.moment for one in notes.inventories], notes.saved) == (["before", "backward", "after"], ())
    assert record.memory.tensors is not None
