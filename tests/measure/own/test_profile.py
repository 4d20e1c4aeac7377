"""`perfkit.profile` in a loop of one's own: what it measures, writes and refuses."""

from __future__ import annotations

import copy
import io
import json
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import perfkit
from perfkit import cli
from perfkit.errors import UsageError
from perfkit.measure.own.profile import scripts_in
from perfkit.schema import module_tree, record
from perfkit.schema.own_files import RECORD_FILE
from tests.integrations.seen import in_steps
from tests.measure.own.state import state

X = torch.ones(2, 4)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def loop(
    folder: Path, steps: int = 8, model: nn.Module | None = None, each: Callable[[Any], None] = lambda _: None,
    **options: Any,
) -> Any:  # fmt: skip
    model = model or net()
    optimizer = torch.optim.AdamW(model.parameters())
    with perfkit.profile(model, folder, **options) as p:
        for _ in range(steps):
            each(p)
            optimizer.zero_grad()
            model(X).sum().backward()
            optimizer.step()
            p.step()
    return p


def tables(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.main([*arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)["tables"]


def test_the_folder_is_of_the_same_kind_as_a_runs(tmp_path, capsys):
    """GIVEN a loop WHEN it was profiled THEN its record loads and analyze has layers of the user's model in phases"""
    # WHEN
    p = loop(tmp_path / "run", wait=1, warmup=2, active=3)

    # THEN
    saved = record.load(tmp_path / "run")
    assert (saved.status, saved.ended_by, len(saved.warmup), len(saved.steps)) == ("ok", "measure-steps", 2, 3)
    assert saved == p.record
    assert module_tree.load(tmp_path / "run" / module_tree.FILE) == perfkit.module_tree(net())
    rows = tables(capsys, "analyze", str(tmp_path / "run"), "--by", "module")["groups"]["rows"]
    assert {"0", "2", "optimizer", "zero_grad"} <= {row["scope"] for row in rows}
    phases = p.report.table("phases").frame.query("total_ns > 0")
    assert list(phases["phase"]) == ["forward", "backward", "optimizer", "other"]
    p.report.show("layers")
    assert "Sequential" in capsys.readouterr().out


def test_phases_are_as_long_as_what_is_in_them(tmp_path):
    """GIVEN sleeps of known length in each phase WHEN timed plainly THEN each phase has its own"""

    class Slow(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            time.sleep(0.02)
            return super().forward(x)

    model = Slow(4, 2)
    weights = torch.ones(2, requires_grad=True)
    weights.register_hook(lambda _: time.sleep(0.04))
    optimizer = torch.optim.SGD(model.parameters())
    optimizer.register_step_pre_hook(lambda *_: time.sleep(0.03))
    with perfkit.profile(model, tmp_path, profiler="none", warmup=0, active=3) as p:
        for _ in range(3):
            time.sleep(0.01)
            out = model(X)
            time.sleep(0.05)
            (out * weights).sum().backward()
            with p.phase("checks"):
                time.sleep(0.015)
            optimizer.step()
            p.step()
    asleep = {"data": 0.01, "forward": 0.02, "loss": 0.05, "backward": 0.04, "checks": 0.015, "optimizer": 0.03}
    for sample in p.record.steps:
        assert list(sample.phases_s) == list(asleep)
        assert all(sample.phases_s[name] >= seconds for name, seconds in asleep.items())
        assert sample.wall_s >= sum(sample.phases_s.values())
    assert min(sample.phases_s["forward"] for sample in p.record.steps) < 0.05  # nothing else is in it


def test_cycles_have_a_folder_each(tmp_path):
    p = loop(tmp_path / "run", steps=7, profiler="none", wait=1, warmup=1, active=2, repeat=2)
    assert p.done
    assert [len(record.load(tmp_path / "run" / f"cycle_{n}").steps) for n in (1, 2)] == [2, 2]
    assert p.report.names


def test_steps_after_the_last_do_nothing(tmp_path):
    seen = []
    model = net()
    before = state(model)
    loop(
        tmp_path,
        profiler="none",
        warmup=0,
        active=2,
        model=model,
        each=lambda p: seen.append((p.done, state(model) == before)),
    )
    assert seen == [(False, False)] * 2 + [(True, True)] * 6


def test_switched_off_nothing_happens(tmp_path, capsys, monkeypatch):
    """GIVEN enabled=False, or the variable WHEN the loop runs THEN there is no hook, no file and no output"""
    model = net()
    before = state(model)

    def check(same: list[bool], _: Any) -> None:
        same.append(state(model) == before)

    for options, variable in (({"enabled": False}, ""), ({}, "off")):
        monkeypatch.setenv("PERFKIT_PROFILE", variable)
        same: list[bool] = []
        p = loop(tmp_path / "run", model=model, each=partial(check, same), **options)
        with p.phase("anything"):
            p.report.show()
        assert all(same)
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr() == ("", "")


def test_an_exception_goes_on_and_everything_is_restored(tmp_path):
    """GIVEN a loop that raises in a forward WHEN profiled THEN the error is the loop's, hooks are gone, steps saved"""

    class Fails(nn.Linear):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls == 4:
                raise ValueError("a NaN")
            return super().forward(x)

    model = nn.Sequential(Fails(4, 2))
    before = state(model)
    with pytest.raises(ValueError, match=r"^a NaN$"):
        loop(tmp_path, model=model, warmup=1, active=5)
    assert {key: one for key, one in state(model).items() if "calls" not in key} == before
    saved = record.load(tmp_path)
    assert (saved.status, len(saved.steps)) == ("interrupted", 2)
    assert (saved.failure.phase, saved.failure.message) == ("measured step 3, outside phases", "ValueError: a NaN")


def test_a_loop_that_ends_early_keeps_what_it_measured(tmp_path):
    p = loop(tmp_path, steps=3, profiler="none", warmup=1, active=5)
    assert (len(p.record.steps), p.record.status, p.record.ended_by, p.done) == (2, "ok", None, True)


def test_a_loop_without_a_measured_step_says_so(tmp_path):
    with pytest.warns(RuntimeWarning, match=r"no step was measured: p.step.. counted 2 steps, and the"):
        p = loop(tmp_path / "run", steps=2, profiler="none", wait=1, warmup=1)
    with pytest.raises(UsageError, match=r"the first to be measured is step 3: make more steps"):
        p.report.show()
    assert not (tmp_path / "run").exists()


def test_a_taken_folder_gets_a_number(tmp_path):
    for _ in range(2):
        loop(tmp_path / "run", profiler="none", warmup=0, active=1)
    assert record.load(tmp_path / "run_2").status == "ok"


def test_each_rank_of_several_has_a_folder_in_the_one_that_is_named(tmp_path):
    """GIVEN ranks 0 and 1 that write twice WHEN 0 has written already THEN both find folders of the same names"""
    for rank in (0, 0, 1, 1):
        loop(tmp_path / "run", profiler="none", warmup=0, active=1, rank=rank)
    found = sorted(str(file.parent.relative_to(tmp_path)) for file in tmp_path.rglob(RECORD_FILE))
    assert found == ["run/rank_0", "run/rank_1", "run_2/rank_0", "run_2/rank_1"]


def test_several_models_go_by_their_names(tmp_path):
    models = {"G": net(), "D": nn.Linear(2, 1)}
    with perfkit.profile(models, tmp_path, warmup=0, active=1) as p:
        models["D"](models["G"](X)).sum().backward()
        p.step()
    assert list(module_tree.load(tmp_path / module_tree.FILE)) == ["ModuleDict", "G", "G.0", "G.1", "G.2", "D"]
    assert p.record.config.workload.name == "G and D"
    listed = perfkit.profile([nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)], tmp_path / "listed")
    assert listed._config.workload.name == "Linear and ReLU and Linear_2"


def test_memory_is_recorded_by_layer(tmp_path, capsys):
    loop(tmp_path, profiler="memory", warmup=1, active=2)
    assert cli.main(["memory", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "parameters" in shown
    assert "gradients" in shown
    assert "optimizer state" in shown


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_modules_are_left_alone_and_named(tmp_path):
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fast, self.slow = torch.jit.script(net()), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.slow(self.fast(x))

    model = Half()
    assert scripts_in(model) == ["fast"]
    with pytest.warns(UserWarning, match=r"scripted modules are left alone, their time is their caller's: fast$"):
        p = loop(tmp_path, model=model, warmup=0, active=1)
    assert "slow" in set(p.report.table("layers").frame["scope"])


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("text", {}, "perfkit.profile wants a torch.nn.Module, or several, not str: pass the model"),
        ({}, {}, "perfkit.profile got no model: pass one, or several"),
        ({"a.b": nn.ReLU()}, {}, "the model's name 'a.b': letters, digits and _ alone"),
        ({"keys": nn.ReLU()}, {}, "attribute 'keys' already exists: choose other names for the models"),
        (nn.ReLU(), {"active": 0}, "active=0: nothing would be measured: must be 1 or more"),
        (nn.ReLU(), {"profiler": "perf"}, "profiler='perf': choose from none, torch, nsys, memory"),
        (
            nn.Linear(1, 1, device="meta"),
            {},
            "the model is on meta, and perfkit measures cpu and cuda: move it, or pass",
        ),
        (
            nn.ReLU(),
            {"profiler": "nsys"},
            'profiler="nsys" needs nsys round the whole script: start it as `nsys profile',
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(model, options, message, tmp_path):
    with pytest.raises(UsageError) as refused:
        perfkit.profile(model, tmp_path, **options)
    assert str(refused.value).startswith(message)


def test_profiles_are_not_nested(tmp_path):
    with perfkit.profile(net(), tmp_path / "a", profiler="none"):
        with pytest.raises(UsageError, match=r"a profile is open already, in .*a: leave it before the next"):
            perfkit.profile(net(), tmp_path / "b", profiler="none").__enter__()
        inner = perfkit.profile(net(), tmp_path / "b", profiler="none")
    with pytest.raises(UsageError, match="belongs into the body"):
        inner.step()


def test_another_threads_steps_are_refused(tmp_path):
    """GIVEN p.step on a thread of its own WHEN profiled by torch THEN it is refused, and the `with` goes on"""
    with ThreadPoolExecutor(1) as pool, perfkit.profile(net(), tmp_path, warmup=0, active=1) as p:
        with pytest.raises(UsageError, match="on another thread than the `with`: open the profile where you train"):
            pool.submit(p.step).result()
        p.step()
    assert len(p.record.steps) == 1


@pytest.mark.parametrize(("at", "traced"), [(0, True), (1, True), (2, False), (3, False)])
def test_a_profiler_of_the_loops_own(at, traced, tmp_path):
    """GIVEN a torch.profiler in one step WHEN profiled THEN in the warm-up it does no harm, later it costs the trace"""
    model = net()
    theirs: list[bool] = []
    said = nullcontext() if traced else pytest.warns(RuntimeWarning, match="there is no trace")

    def records(_: Any) -> None:
        if len(theirs) == at:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as own:
                model(X)
            theirs.append(len(own.events()) > 0)
        else:
            theirs.append(True)

    with said:
        p = loop(tmp_path, steps=4, model=model, each=records, warmup=2, active=2)
    assert theirs == [True] * 4
    assert len(p.record.steps) == 2
    assert ("trace" in p.record.artifacts) is traced


def test_a_loop_that_ends_after_a_profiler_in_its_warm_up(tmp_path):
    with pytest.warns(RuntimeWarning, match="no step was measured"), perfkit.profile(net(), tmp_path) as p:
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]).__enter__().__exit__(None, None, None)
    assert not p.records


def test_beside_a_profiler_of_the_users_it_refuses(tmp_path):
    before = vars(torch.autograd.profiler)["_disable_profiler"]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as own:
        with pytest.raises(UsageError, match=r"another torch.profiler records already, and PyTorch has one at a time"):
            loop(tmp_path, steps=2)
        loop(tmp_path / "times", steps=2, profiler="none")
    assert len(own.events()) > 0
    assert vars(torch.autograd.profiler)["_disable_profiler"] is before


def test_under_nsys_the_steps_are_marked_for_it(tmp_path, monkeypatch):
    """GIVEN a process under nsys WHEN profiled THEN PyTorch's profiler stays out and modules have ranges"""
    monkeypatch.setenv("NSYS_PROFILING_SESSION_ID", "1")
    p = loop(tmp_path, warmup=1, active=2)
    assert (p.record.config.measurement.profiler, p.record.annotation.ranges) == ("none", 4)
    assert p.record.annotation.nodes > 0
    assert (tmp_path / module_tree.FILE).is_file()
    with pytest.raises(UsageError, match="cannot run under nsys: leave it out"):
        perfkit.profile(net(), tmp_path, profiler="torch")


@pytest.mark.parametrize("profiler", ["none", "torch", "memory"])
def test_a_model_is_copied_and_saved_inside(profiler, tmp_path):
    """GIVEN a loop that keeps its best model and saves it whole WHEN profiled THEN both compute what the model does"""
    model, file = net(), io.BytesIO()
    copies: list[Any] = []

    def keep(_: Any) -> None:
        file.seek(0)
        torch.save(model, file)
        file.seek(0)
        copies[:] = [copy.deepcopy(model), torch.load(file, weights_only=False)]
        assert all(torch.equal(one(X), model(X)) for one in copies)

    p = loop(tmp_path, steps=3, model=model, each=keep, profiler=profiler, warmup=1, active=2)
    assert len(p.record.steps) == 2
    assert all(one(X).shape == (2, 2) for one in copies)


def test_lazy_modules_get_their_shape_inside(tmp_path):
    """GIVEN parameters without a shape WHEN profiled THEN they are known as soon as the first batch gave them one"""
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyLinear(2))
    p = loop(tmp_path, steps=3, model=model, warmup=1, active=2)
    layers = p.report.table("layers").frame
    assert {("0", "backward"), ("1", "backward"), ("1", "optimizer")} <= set(
        zip(layers["scope"], layers["phase"], strict=True)
    )


def test_names_may_have_any_character(tmp_path):
    """GIVEN names that are not ASCII, or have quotes WHEN profiled THEN tables have them as they are"""
    names = ["für", 'a"b', "x > y"]
    model = nn.ModuleDict({name: nn.Linear(4, 4) for name in names})
    with perfkit.profile(model, tmp_path, warmup=0, active=1) as p, p.phase("Vorwärts"):
        for part in model.values():
            part(X)
        p.step()
    assert list(p.record.steps[0].phases_s) == ["data", "Vorwärts"]
    assert set(names) <= set(p.report.table("layers").frame["scope"])


def told(what: Callable[[], Any]) -> list[str]:
    """perfkit's warnings of a call."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        what()
    return [str(one.message) for one in warned if str(one.message).startswith("perfkit")]


@pytest.mark.parametrize(("cycles", "said"), [(1, "2 of 4"), (2, "4 of 8")])
def test_a_step_that_is_counted_twice_is_told_once(tmp_path, cycles, said):
    """GIVEN a loop that calls p.step() twice a step WHEN profiled THEN one warning says that every second is empty"""
    twice = partial(loop, tmp_path, 20, each=lambda p: p.step(), active=4, repeat=cycles, profiler="none")
    assert told(twice) == [
        f"perfkit: {said} measured steps look empty: no batch, no call of the model, no backward and no optimizer in"
        " them; every mean counts them: see that p.step() counts each step once"
    ]


def test_a_step_of_data_alone_or_of_nothing_that_hooks_see_is_not_called_empty(tmp_path):
    """GIVEN batches that are skipped, and a loop without any module WHEN profiled THEN nobody is told of empty steps"""
    batches = DataLoader(TensorDataset(torch.ones(8, 4)))

    def skips() -> None:
        model = net()
        with perfkit.profile(model, tmp_path, profiler="none") as p:
            for number, (batch,) in enumerate(batches):
                if number % 2:
                    model(batch)
                p.step()

    def has_no_module() -> None:
        with perfkit.profile(net(), tmp_path, profiler="none") as p:
            for _ in range(6):
                X.sum()
                p.step()

    assert told(skips) == told(has_no_module) == []


def test_a_model_that_is_never_called_is_told(tmp_path):
    """GIVEN a loop that calls another than the model that was given, as a compiled wrapper is THEN a warning says so"""
    given, called = net(), net()
    p = perfkit.profile(given, tmp_path, profiler="none", warmup=0, active=1).__enter__()
    called(X).sum().backward()
    p.step()
    with pytest.warns(RuntimeWarning, match="no measured step calls the model or a part right under it"):
        p.__exit__(None, None, None)


def test_what_is_done_in_a_pause_belongs_to_no_step(tmp_path):
    """GIVEN work in a pause, with the model WHEN profiled THEN phases, steps and counters have nothing of it"""
    model = net()
    with perfkit.profile(model, tmp_path / "run", warmup=1, active=2) as p:
        for number in range(3):
            model(X).sum().backward()
            p.step(go_on=False)
            with p.phase("rest"), torch.profiler.record_function("in a pause"):
                model(X)
            p.go_on()
            p.go_on()
            assert p.is_watching is (number < 2)
    assert [list(sample.phases_s) for sample in p.record.steps] == [["data", "forward", "loss", "backward"]] * 2
    assert p.record.window is None
    assert [step["in a pause"] for step in in_steps(tmp_path / "run", outside="in a pause")] == [0, 0]
