"""`perfkit attention`: the grid, what is not run, and how it goes on; with runs by hand, and one that is real."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from perfkit import cli
from perfkit.analysis.attention.runs import cell_of
from perfkit.commands.attention import AttentionOptions, Outside, investigate
from perfkit.errors import UsageError
from perfkit.schema import record as records
from perfkit.schema.campaign import Finished
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.attention import Cell
from perfkit.signals import Interrupted
from tests.analysis.attention.cells import record
from tests.sweeps import finished

Ending = Callable[[Cell], Finished | None]


class Machine:
    """Runs in place of processes: each pass takes the sequence's milliseconds forward, twice that backward."""

    def __init__(self, ending: Ending = lambda _: None, free: int = 2**40, device: str = "cpu") -> None:
        self._ending, self._free, self._device = ending, free, device
        self.ran: list[Cell] = []
        self.steps: list[tuple[int, int]] = []
        self.outside = Outside(run_child=self._run, find=self._find, clock=lambda: 100.0 * len(self.ran))

    def _find(self, names: Sequence[str]) -> dict[str, tuple[str, int | None]]:
        return dict.fromkeys(names, (self._device, self._free))

    def _run(self, config: RunConfig, folder: Path, **_: Any) -> Finished:
        cell = cell_of(config)
        self.ran.append(cell)
        self.steps.append((config.measurement.measure_steps, config.measurement.warmup_steps))
        if (ended := self._ending(cell)) is not None:
            return ended
        ms = cell.sequence / 1000
        saved = record(cell, *[(ms, 2 * ms)] * config.measurement.measure_steps)
        folder.mkdir(parents=True)
        records.save(saved, folder)
        return finished(saved)


def options(folder: Path, **changes: Any) -> AttentionOptions:
    settings: dict[str, Any] = {"folder": folder, "sequence": (64, 32), "head_width": (16,), "passes": 3} | changes
    return AttentionOptions(**settings)


def outcomes(done: Any) -> list[tuple[int, str, str]]:
    return [(one.cell.sequence, one.cell.implementation, one.outcome) for one in done.results]


def test_every_cell_is_a_run_of_its_own_with_the_passes_asked_for(tmp_path):
    machine = Machine()
    done = investigate(options(tmp_path / "a"), machine.outside)
    assert outcomes(done) == [(s, name, "ok") for s in (32, 64) for name in ("eager", "sdpa")]
    assert machine.steps == [(3, 5)] * 4
    assert [one.forward_s for one in done.results] == [0.032, 0.032, 0.064, 0.064]
    assert {one.passes for one in done.results} == {3}


def test_a_gpu_has_the_course_grid_and_a_cpu_a_smaller_one_that_says_so(tmp_path):
    machine = Machine()
    done = investigate(AttentionOptions(folder=tmp_path / "a"), machine.outside)
    assert len(done.results) == 2 * 4 * 2
    assert machine.steps[0] == (10, 5)
    assert "no GPU" in next(one.what for one in done.report.findings if one.rule.id == "attention-default-grid")
    machine = Machine(device="cuda")
    done = investigate(AttentionOptions(folder=tmp_path / "b"), machine.outside)
    assert len(done.results) == 4 * 5 * 3
    assert machine.steps[0] == (100, 5)


def test_what_cannot_fit_is_a_row_with_its_prediction_and_is_not_tried(tmp_path):
    """GIVEN a limit of 200,000 B: eager's 3 x 8 x 64^2 x 4 B are more, 3 x 8 x 32^2 x 4 B and sdpa's rows are not"""
    machine = Machine()
    done = investigate(options(tmp_path / "a", memory="0.4MB"), machine.outside)
    assert [(one.sequence, one.implementation) for one in machine.ran] == [(32, "eager"), (32, "sdpa"), (64, "sdpa")]
    [row] = [one for one in done.results if one.outcome == "predicted-oom"]
    assert (row.cell.sequence, row.available_bytes) == (64, round(0.4 * 2**20))
    assert row.message == "not run: needs 576.0 KiB, and there are 409.6 KiB"
    machine = Machine()
    investigate(options(tmp_path / "b", memory="0.4MB", force=True), machine.outside)
    assert len(machine.ran) == 4


def test_after_a_sequence_that_did_not_fit_no_longer_one_is_tried(tmp_path):
    def ending(cell: Cell) -> Finished | None:
        return finished(outcome="oom", exit_code=3) if cell.implementation == "compiled" else None

    machine = Machine(ending)
    done = investigate(options(tmp_path / "a", implementation=("compiled", "sdpa")), machine.outside)
    assert [(one.sequence, one.implementation) for one in machine.ran] == [(32, "compiled"), (32, "sdpa"), (64, "sdpa")]
    assert (64, "compiled", "predicted-oom") in outcomes(done)


def test_a_budget_ends_the_grid_and_resuming_goes_on(tmp_path):
    """GIVEN 100 s a cell and a budget of 150 s THEN two cells run; what is there is not measured again"""
    machine = Machine()
    done = investigate(options(tmp_path / "a", budget=150.0), machine.outside)
    assert [one[2] for one in outcomes(done)] == ["ok", "ok", "not run", "not run"]
    machine = Machine()
    done = investigate(options(tmp_path / "a", resume=True), machine.outside)
    assert {one.sequence for one in machine.ran} == {64}
    assert [one[2] for one in outcomes(done)] == ["ok"] * 4


def test_a_signal_keeps_what_is_measured(tmp_path):
    def ending(cell: Cell) -> None:
        if cell.sequence == 64:
            raise Interrupted

    done = investigate(options(tmp_path / "a"), Machine(ending).outside)
    assert [one[2] for one in outcomes(done)] == ["ok", "ok"]
    assert str(done.ending).endswith("2 of 4 cells are saved: continue with --resume")


def test_a_function_is_first_and_its_mistake_ends_the_grid(tmp_path):
    def ending(_: Cell) -> Finished:
        return finished(outcome="error", exit_code=2, stderr_tail="perfkit: mine:f: it returned list, not a tensor\n")

    machine = Machine(ending)
    with pytest.raises(UsageError, match=r"^mine:f: it returned list, not a tensor$"):
        investigate(options(tmp_path / "a", function="mine:f"), machine.outside)
    assert [(one.implementation, one.function) for one in machine.ran] == [("function", "mine:f")]
    assert not (tmp_path / "a").exists()


def test_a_function_that_fails_at_a_later_shape_is_a_row(tmp_path):
    """GIVEN a function for up to 32 queries THEN the longer sequence has its words, and eager and sdpa their times"""

    def ending(cell: Cell) -> Finished | None:
        if cell.implementation != "function" or cell.sequence == 32:
            return None
        return finished(outcome="error", exit_code=2, stderr_tail="perfkit: mine:f: AssertionError: too long\n")

    done = investigate(options(tmp_path / "a", function="mine:f"), Machine(ending).outside)
    assert outcomes(done) == [
        (sequence, name, "error" if (sequence, name) == (64, "function") else "ok")
        for sequence in (32, 64) for name in ("function", "eager", "sdpa")
    ]  # fmt: skip
    assert "mine:f: AssertionError: too long" in next(one.message for one in done.results if one.outcome == "error")


def test_cells_run_in_so_many_threads(tmp_path):
    asked: list[int | None] = []
    machine = Machine()

    def run(config: RunConfig, folder: Path, **more: Any) -> Finished:
        asked.append(config.step.num_threads)
        return machine.outside.run_child(config, folder, **more)

    investigate(options(tmp_path / "a", num_threads=1), dataclasses.replace(machine.outside, run_child=run))
    assert asked == [1] * 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"passes": 0}, "--passes 0: must be at least 1"),
        ({"num_threads": 0}, "--num-threads 0: must be at least 1"),
        ({"head_width": (0,)}, "--head-width 0: must be at least 1"),
        ({"sequence": (-1,)}, "--sequence -1: "),
        ({"warmup_steps": 0}, "--warmup-steps 0: "),
        ({"implementation": ("flash",)}, "--implementation flash: choose from eager, compiled, sdpa"),
        ({"implementation": ("function",)}, "--implementation function: --function names it"),
        ({"function": "mine"}, "--function mine: name a callable as package.module:callable"),
        ({"budget": 0.0}, "--budget 0: must be above 0 seconds"),
        ({"resume": True}, "--resume needs --folder"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_what_cannot_work_is_refused(changes, said):
    with pytest.raises(UsageError, match=f"^{said}"):
        AttentionOptions(**changes)


def test_backends_that_a_device_lacks_are_refused(tmp_path):
    with pytest.raises(UsageError, match="sdpa-cudnn exists on GPUs only"):
        investigate(options(tmp_path / "a", implementation=("sdpa-cudnn",)), Machine().outside)
    with pytest.raises(UsageError, match="sdpa-flash needs --precision bf16 or fp16"):
        investigate(options(tmp_path / "a", implementation=("sdpa-flash",)), Machine(device="cuda").outside)


@pytest.mark.parametrize("form", ["table", "csv", "md", "json"])
def test_the_table_in_every_form(tmp_path, capsys, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    arguments = ["attention", "--sequence", "32", "--head-width", "16", "--passes", "2", "--format", form]
    written = ["--folder", "a", "--output", "table.tex", "--plot", "growth", "g.svg"]
    assert cli.main([*arguments, *written], outside=Machine().outside) == 0
    out = capsys.readouterr().out
    assert "sdpa" in out
    assert "eager" in (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert (tmp_path / "g.svg").stat().st_size > 1000
    if form == "json":
        assert json.loads(out)


def test_a_real_cell(tmp_path, capsys, monkeypatch):
    """GIVEN the smallest grid THEN a fresh process measures it: times are positive, and memory is the formula's"""
    monkeypatch.chdir(tmp_path)
    small = ["--batch-size", "2", "--sequence", "64", "--head-width", "8", "--implementation", "eager"]
    assert cli.main(["attention", *small, "--passes", "2", "--warmup-steps", "1", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    [row] = found["tables"]["attention"]["rows"]
    assert row["passes"] == 2
    assert row["forward_s"] > 0
    assert row["backward_s"] > 0
    assert row["held_bytes"] == pytest.approx(2 * 64 * 64 * 4 + 5 * 2 * 64 * 8 * 4, abs=32)
