"""What frames say of an allocation."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.recorded import stacks
from perfkit.analysis.memory.recorded.stacks import Mark
from tests.analysis.memory.recorded.snapshots import ADAM, CALL, ENGINE, MAIN, columns, event, pickled


def facts(*stack: str) -> stacks.StackFacts:
    return stacks.facts(columns(pickled([event("alloc", 8, 1, *stack)])))


@pytest.mark.parametrize(
    ("stack", "phase"),
    [
        ((CALL, MAIN), Phase.FORWARD),
        ((ENGINE,), Phase.BACKWARD),
        (("lib/torch/autograd/graph.py(8): _engine_run_backward", MAIN), Phase.BACKWARD),
        ((CALL, "x.py(1): recompute", ENGINE), Phase.RECOMPUTE),
        ((ADAM, MAIN), Phase.OPTIMIZER),
        (("my/optimizers.py(3): step", "lib/torch/optim/optimizer.py(5): wrapper", MAIN), Phase.OPTIMIZER),
        ((CALL, "train.py(2): closure", "lib/torch/optim/lbfgs.py(3): step", MAIN), Phase.FORWARD),
        ((ENGINE, "train.py(2): closure", "lib/torch/optim/lbfgs.py(3): step", MAIN), Phase.BACKWARD),
        (("lib/torch/optim/optimizer.py(7): zero_grad", MAIN), Phase.OTHER),
        (("train.py(2): train_step", MAIN), Phase.OTHER),
        ((), Phase.OTHER),
    ],
)
def test_the_innermost_of_module_engine_and_optimizer_says_the_phase(stack: tuple[str, ...], phase: Phase):
    assert facts(*stack).phase[0] == phase


def test_having_no_stack_is_the_last_row():
    """GIVEN two stacks THEN there is a third row, which MISSING finds: nothing is said."""
    raw = pickled([event("alloc", 8, 1, CALL), event("alloc", 9, 1, ENGINE)])
    found = stacks.facts(columns(raw))
    assert (len(found.phase), found.phase[-1], found.place[-1], found.operator[-1]) == (3, Phase.OTHER, "", "")


def test_the_outermost_operator_is_named_and_the_innermost_lines_of_the_user():
    """GIVEN a softmax that calls others, called through einops, THEN the place is the model's, the operator softmax."""
    found = facts(
        "at::_ops::empty::call(int)", "at::_ops::softmax::redispatch(int)", "at::_ops::softmax::call(int)",
        "lib/site-packages/einops/einops.py(9): reduce", "model.py(7): attention", CALL, "model.py(3): forward",
    )  # fmt: skip
    assert found.operator[0] == "aten::softmax"
    assert found.place[0] == "model.py(7): attention < model.py(3): forward"


def test_a_backward_node_is_an_operator():
    assert facts("torch::autograd::generated::MmBackward0::apply(int)", ENGINE).operator[0] == "MmBackward0"


@pytest.mark.parametrize(
    ("frame", "mark"),
    [
        ("at::cuda::getCUDABlasLtWorkspaceSize()", Mark.WORKSPACE),
        ("at::cuda::(anonymous namespace)::getCurrentCUDABlasHandle()", Mark.WORKSPACE),
        ("lib/torch/nn/modules/module.py(7): _apply", Mark.BUILDS),
        ("lib/torch/nn/modules/linear.py(7): __init__", Mark.BUILDS),
    ],
)
def test_workspaces_and_modules_being_made_are_marked(frame: str, mark: Mark):
    assert facts(frame, MAIN).marks[0] & mark
    assert not facts(CALL, MAIN).marks[0] & mark
