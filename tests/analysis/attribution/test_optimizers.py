"""Optimizers' ranges are scopes of last resort, and those of one parameter's update are the module's."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import UNATTRIBUTED, Attribution, Phase, attribute
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.attribution.scopes import How
from perfkit.trace.columns import HostKind
from tests.builders import TraceBuilder

STEP, ZERO_GRAD = "Optimizer.step#AdamW.step", "Optimizer.zero_grad#AdamW.zero_grad"


def where(found: Attribution) -> dict[str, tuple[str, str]]:
    """Name of each range -> (scope, phase)."""
    rows = zip(found.ranges.path.tolist(), found.ranges.phase.tolist(), strict=True)
    return {
        found.host.name_of(row): (UNATTRIBUTED if path == NONE else found.paths[path], Phase(phase).label)
        for row, (path, phase) in enumerate(rows)
    }


def recorded(kind: str) -> TraceBuilder:
    """A file whose scopes are of one of the three kinds, or that has none."""
    b = TraceBuilder()
    if kind == "perfkit":
        return b.module("net", 0, 50)
    if kind == "module":
        return b.range("nn.Module: Net_0", 0, 50, HostKind.PYTHON)
    return b.annotation("mine", 0, 50) if kind == "annotation" else b


@pytest.mark.parametrize("kind", ["perfkit", "module", "annotation", "none"])
def test_optimizers_have_scopes_whatever_the_modules_are_named_by(kind):
    # GIVEN
    b = recorded(kind).annotation(ZERO_GRAD, 60, 70).range("clearing", 62, 64)
    b.annotation(STEP, 100, 190).range("update", 110, 120).range("after", 200, 210)

    # WHEN
    found = attribute(b.build())

    # THEN
    said = where(found)
    assert (said[ZERO_GRAD], said["clearing"]) == 2 * (("zero_grad", "optimizer"),)
    assert (said[STEP], said["update"]) == 2 * (("optimizer", "optimizer"),)
    assert said["after"] == (UNATTRIBUTED, "other")
    assert found.ranges.how.tolist().count(How.OPTIMIZER) == 4


@pytest.mark.parametrize("kind", ["perfkit", "module", "annotation"])
def test_what_has_a_scope_keeps_it(kind):
    """GIVEN a step inside a range of the user's or of a module WHEN attributed THEN it is that range's"""
    b = TraceBuilder()
    name = {"perfkit": "perfkit::net", "module": "nn.Module: Net_0", "annotation": "## optimizer ##"}[kind]
    b.range(name, 0, 90, HostKind.PYTHON if kind == "module" else HostKind.ANNOTATION)
    b.annotation(STEP, 10, 80).range("update", 20, 30)
    scope = where(attribute(b.build()))["update"][0]
    assert scope == {"perfkit": "net", "module": "Net_0", "annotation": "## optimizer ##"}[kind]


@pytest.mark.parametrize("around", [STEP, "perfkit.phase::optimizer"])
def test_a_closures_forward_loss_and_backward_are_not_the_optimizers(around):
    # GIVEN a step that runs forward, a loss outside every module, and backward before it updates
    b = TraceBuilder().annotation(around, 0, 290).module("net", 10, 50).range("aten::mm", 20, 30, sequence=1)
    b.range("aten::mse_loss", 60, 90, sequence=2).range("in the loss", 70, 80)
    b.node("MseLossBackward0", 100, 120, sequence=2).range("loss again", 105, 110)
    b.node("MmBackward0", 130, 150, sequence=1).range("mm again", 135, 140)
    b.range("update", 200, 250)

    # WHEN
    said = {name: scope for name, (scope, _) in where(attribute(b.build())).items()}

    # THEN
    assert said["update"] == "optimizer"
    assert said["aten::mm"] == said["mm again"] == "net"
    assert said["in the loss"] == said["loss again"] == UNATTRIBUTED


def test_an_optimizer_that_works_with_gradients_enabled_has_its_operations():
    """GIVEN operations with numbers in a step, of which the last is that of the next forward's first node WHEN
    attributed THEN no node of theirs runs in the step, and they are the optimizer's"""
    b = TraceBuilder().annotation(STEP, 0, 90).range("aten::add_", 10, 20, sequence=1)
    b.module("net", 100, 150).range("aten::mm", 110, 120, sequence=1).node("MmBackward0", 200, 220, sequence=1)
    assert where(attribute(b.build()))["aten::add_"][0] == "optimizer"


def test_an_update_goes_to_the_module_of_its_parameter():
    # GIVEN a loop over parameters, as perfkit has it recorded
    b = TraceBuilder().module("net", 0, 50).annotation(STEP, 100, 290).range("perfkit.phase::optimizer", 110, 280)
    b.range("perfkit.update::layers.0", 120, 150).range("first", 130, 140)
    b.range("perfkit.update::unseen", 160, 190).range("second", 170, 180)
    b.range("rest", 200, 210)

    # THEN
    said = where(attribute(b.build()))
    assert (said["first"], said["second"]) == (("layers.0", "optimizer"), ("unseen", "optimizer"))
    assert said["rest"] == ("optimizer", "optimizer")


def test_an_update_in_backward_goes_to_the_module_of_its_parameter_too():
    """GIVEN an optimizer of each parameter, which steps as soon as the gradient is there, after another module's node
    WHEN attributed THEN its update is the parameter's module's, and the rest goes where the gradient does"""
    b = TraceBuilder().module("a", 0, 50).range("aten::mm", 10, 20, sequence=1)
    b.node("MmBackward0", 100, 120, sequence=1)
    b.range("autograd::engine::evaluate_function: torch::autograd::AccumulateGrad", 130, 290)
    b.range("torch::autograd::AccumulateGrad", 140, 280).annotation(STEP, 150, 270).range("before", 155, 158)
    b.range("perfkit.update::b", 160, 190).range("update", 170, 180)
    said = {name: scope for name, (scope, _) in where(attribute(b.build())).items()}
    assert (said["update"], said["before"]) == ("b", "a")


def test_a_kernel_goes_where_its_launch_stands():
    b = TraceBuilder().module("net", 0, 50).annotation(STEP, 100, 190).range("foreach", 110, 150)
    b.launched("adam", 120, 300, 400)
    found = attribute(b.build())
    assert [found.paths[path] for path in found.events.path.tolist()] == ["optimizer"]
