"""Where the steps of a script begin and end, and that it runs as it does alone."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import pytest

from perfkit.measure.own import script
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.measurement import Measurement
from perfkit.schema.parts.step import Step
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import RunRecord

HEAD = """
import copy, gc, weakref
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))

def update(optimizer):
    optimizer.zero_grad()
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    print("step", end=" ", flush=True)
"""


def configured(device: str, profiler: Literal["none", "torch"] = "none") -> RunConfig:
    measurement = Measurement(warmup_steps=1, measure_steps=2, gc="on", profiler=profiler)
    return RunConfig(workload=Own(name="train"), step=Step(device=device), measurement=measurement)


def measured(tmp_path: Path, body: str, *, stop_after: bool = False) -> RunRecord:
    """What is measured of a script that ends well: a warm-up step and two."""
    (tmp_path / "train.py").write_text(HEAD + body)
    (tmp_path / "run").mkdir()
    watched = script.Script(configured, tmp_path / "run", stop_after=stop_after)
    ended = script.run(watched, str(tmp_path / "train.py"), [], is_module=False)
    assert ended.exit_code == 0
    assert ended.record is not None
    assert (len(ended.record.warmup), len(ended.record.steps)) == (1, 2)
    return ended.record


@pytest.mark.parametrize("each", [3, 1])
def test_an_optimizer_that_is_built_anew_ends_steps_too(each, tmp_path, capsys):
    """GIVEN a script that builds its optimizer again after 3 steps, or each step THEN four steps are all that it takes

    One shows the modules, one warms up, two are measured.
    """
    body = f"""
for stage in range(9):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range({each}):
        update(optimizer)
"""
    measured(tmp_path, body, stop_after=True)
    assert capsys.readouterr().out == "step " * 4


def test_an_optimizer_of_more_parameters_takes_the_place_of_one_of_fewer(tmp_path, capsys):
    """GIVEN a head that is trained alone for three steps, and then all, by optimizers that were there from the begin"""
    body = """
head, whole = (torch.optim.SGD(part.parameters(), lr=0.1) for part in (model[1], model))
for step in range(9):
    update(head if step < 3 else whole)
"""
    measured(tmp_path, body, stop_after=True)
    assert capsys.readouterr().out == "step " * 5  # two show the modules: the first may have waited for the other


@pytest.mark.parametrize("hashed", ["", "    def __hash__(self): return hash(self.defaults['lr'])"], ids=["no", "late"])
def test_an_optimizer_need_not_have_a_hash(hashed, tmp_path, capsys):
    """GIVEN optimizers that are equal, without a hash or with one only once made THEN each is known"""
    body = f"""
class Equal(torch.optim.SGD):
    def __eq__(self, other): return True
{hashed}
first, second = (Equal(part.parameters(), lr=0.1) for part in model)
for step in range(6):
    update(first)
    update(second)
"""
    measured(tmp_path, body, stop_after=True)
    assert capsys.readouterr().out == "step step " * 4

    (tmp_path / "ranged").mkdir()
    watched = script.Script(functools.partial(configured, profiler="torch"), tmp_path / "ranged", stop_after=True)
    ended = script.run(watched, str(tmp_path / "train.py"), [], is_module=False)
    assert (ended.exit_code, ended.record is not None) == (0, True)


def test_a_script_finds_what_lies_beside_it_after_it_has_changed_its_folder(tmp_path, monkeypatch, capsys):
    """GIVEN a script that is named by a relative path THEN `__file__` is absolute, as it is in Python itself"""
    monkeypatch.chdir(tmp_path)
    Path("elsewhere").mkdir()
    Path("train.py").write_text("import os; os.chdir('elsewhere'); print(os.path.exists(__file__))")
    watched = script.Script(configured, tmp_path / "run", stop_after=False)
    assert script.run(watched, "train.py", [], is_module=False).exit_code == 0
    assert capsys.readouterr().out == "True\n"


def test_optimizers_that_step_in_backward_begin_no_step_there(tmp_path, capsys):
    """GIVEN an optimizer of each parameter, stepped by a hook, and checkpoints THEN hooks come after the backward"""
    body = """
optimizers = {one: torch.optim.SGD([one], lr=0.1) for one in model.parameters()}

def update_one(parameter):
    optimizers[parameter].step()
    optimizers[parameter].zero_grad()
    print("h" if model[0]._forward_hooks else ".", end="", flush=True)

for parameter in model.parameters():
    parameter.register_post_accumulate_grad_hook(update_one)
for step in range(6):
    hidden = torch.ones(2, 4, requires_grad=True)
    for part in model:
        hidden = checkpoint(part, hidden, use_reentrant=False)
    hidden.sum().backward()
    print(end="|", flush=True)
"""
    measured(tmp_path, body, stop_after=True)
    assert capsys.readouterr().out == "....|hhhh|hhhh|hhhh|"


def test_what_a_script_throws_away_is_not_kept(tmp_path, capsys):
    """GIVEN modules and an optimizer that a script deletes THEN they are gone, as without perfkit"""
    body = """
early = nn.Linear(4, 4)
early(torch.ones(2, 4))
known = [weakref.ref(early)]
del early
print(known[0]() is None)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(6):
    update(optimizer)
known += [weakref.ref(model), weakref.ref(optimizer)]
del model, optimizer
gc.collect()
print([one() is None for one in known])
"""
    measured(tmp_path, body)
    assert capsys.readouterr().out == "True\n" + "step " * 6 + "[True, True, True]\n"


def test_a_copy_on_meta_is_no_model_of_the_script(tmp_path, capsys):
    """GIVEN a script that asks a copy on `meta` for shapes THEN it runs as ever, and what trains is measured"""
    body = """
shadow = copy.deepcopy(model).to("meta")
print(tuple(shadow(torch.ones(2, 4, device="meta")).shape))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(6):
    update(optimizer)
"""
    assert measured(tmp_path, body).config.step.device == "cpu"
    assert capsys.readouterr().out == "(2, 1)\n" + "step " * 6
