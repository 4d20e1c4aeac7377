"""An optimizer's step by many operations, and gradients that are filled with zeros."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.operators.optimizer import unfused_optimizer, zeroed_gradients
from perfkit.trace.columns import DeviceKind
from tests.analysis.findings.performance.cases import US, found, operators
from tests.builders import TraceBuilder

ADAM = ["mul_", "lerp_", "addcmul_", "sqrt", "div", "add_", "addcdiv_"]


def step(names, *, each=12 * US, optimizer="AdamW", on_device=False, length=1000 * US) -> TraceBuilder:
    b = TraceBuilder().step(0, 0, length)
    operators(b, ["mm"], 0, each)
    b.annotation(f"Optimizer.step#{optimizer}.step", 100 * US, 100 * US + len(names) * each)
    operators(b, names, 100 * US, each, on_device=on_device)
    return b


def test_parameter_by_parameter():
    """GIVEN two parameters, 14 operators of 12 us THEN 168 us less 7/20 of 10 us each and the recording of 15 ranges"""
    finding = found(unfused_optimizer, step(ADAM * 2))
    assert finding.cost.ns == (168 - 49) * US - 15 * 200
    assert "AdamW updates one parameter after the other: 14 operators and 168.0 us a step" in finding.what
    assert finding.advice.startswith("fused=True when")


def test_on_a_device_idle_time_between_the_kernels_counts():
    """GIVEN 14 kernels of 2 us every 12 us THEN from the first to the last: 13 x 12 + 2 us"""
    b = TraceBuilder().step(0, 0, 1000 * US).annotation("Optimizer.step#AdamW.step", 0, 200 * US)
    for number, name in enumerate(ADAM * 2):
        at = number * 12 * US
        b.range(f"aten::{name}", at, at + 10 * US).launched(f"{name}_kernel", at + US, at + 5 * US, at + 7 * US)
    finding = found(unfused_optimizer, b)
    assert finding.cost.ns == 158 * US
    assert "14 kernels and 158.0 us a step" in finding.what


@pytest.mark.parametrize(
    ("names", "optimizer"),
    [
        (["_fused_adamw_"], "AdamW"),
        (["_fused_adamw_", *["add_"] * 9], "AdamW"),
        (["add_"] * 14, "SGD"),  # one pass over the memory anyway
        (ADAM, "AdamW"),  # seven operators are few
        (ADAM * 2, "FusedAdam"),
    ],
)
def test_what_is_fused_or_nothing_to_fuse(names, optimizer):
    assert found(unfused_optimizer, step(names, optimizer=optimizer)) is None


def test_large_tensors_make_new_pages():
    """GIVEN 14 operators of 60 us on a host THEN a tenth of 58 us each is one pass over the memory"""
    finding = found(unfused_optimizer, step(ADAM * 2, each=60 * US))
    assert finding.cost.ns == 14 * 60 * US - 14 * 5_800 - 15 * 200


def test_python_for_each_parameter_remains():
    """GIVEN two gradients that are accumulated THEN 3 us each are less at stake"""
    b = step(ADAM * 2)
    for number in range(2):
        b.range("torch::autograd::AccumulateGrad", 400 * US + number * US, 401 * US + number * US)
    assert found(unfused_optimizer, b).cost.ns == (168 - 49 - 6) * US - 15 * 200


def test_sums_of_sparse_gradients_are_no_passes():
    """GIVEN SGD's add_, which sums sparse gradients by mul and div inside THEN it is one pass, and cannot be fused"""
    assert found(unfused_optimizer, step(["add_>mul>div"] * 14, optimizer="SGD")) is None


def test_several_passes_share_their_launches_and_still_read_all():
    """GIVEN 8 foreach operators of 12 us THEN their 96 us less 7/20 of 80, and the recording of 9 ranges"""
    names = [f"_foreach_{name}" for name in ("mul_", "lerp_", "addcmul_", "sqrt", "div_", "add_", "addcdiv_", "add_")]
    finding = found(unfused_optimizer, step(names))
    assert "in several passes (foreach)" in finding.what
    assert finding.cost.ns == (96 - 28) * US - 9 * 200


def test_optimizers_without_a_fused_version_are_told_of_foreach():
    assert "foreach=True" in found(unfused_optimizer, step(ADAM * 2, optimizer="Rprop")).advice


def test_a_short_step_of_the_optimizer_is_none():
    """GIVEN 116 us at stake of 12 ms, under 1% THEN nothing"""
    assert found(unfused_optimizer, step(ADAM * 2, length=12_000 * US)) is None


@pytest.mark.parametrize("on_device", [False, True])
def test_gradients_filled_with_zeros(on_device):
    """GIVEN two fills of 10 ns and an addition of 10 to one of them in backward THEN 30 of 1,000 ns"""
    b = TraceBuilder().step(0, 0, 1000).annotation("Optimizer.zero_grad#SGD.zero_grad", 0, 50)
    operators(b, ["zero_", "zero_"], 10, on_device=on_device)
    b.range("torch::autograd::AccumulateGrad", 100, 110)
    operators(b, ["add_"], 100, on_device=on_device)
    finding = found(zeroed_gradients, b)
    assert finding.cost.ns == 30
    assert "set_to_none=True" in finding.advice


def test_gradients_that_are_let_go():
    b = TraceBuilder().step(0, 0, 1000).annotation("Optimizer.zero_grad#SGD.zero_grad", 0, 50)
    operators(b, ["zero_"], 100)  # not in it
    assert found(zeroed_gradients, b) is None


def test_a_memset_in_zero_grad_is_a_fill():
    b = TraceBuilder().step(0, 0, 1000).annotation("Optimizer.zero_grad#SGD.zero_grad", 0, 50)
    b.range("aten::zero_", 10, 30).launched("Memset (Device)", 12, 20, 50, kind=DeviceKind.MEMSET)
    assert found(zeroed_gradients, b).cost.ns == 30


@pytest.mark.parametrize(
    ("optimizer", "names", "advice"),
    [
        ("AdamW", ADAM * 2, "fused=True when the optimizer is made (perfkit run: --optimizer adamw-fused)"),
        ("SGD", ["mul_", "add_"] * 8, "fused=True when the optimizer is made"),
        ("Adagrad", ADAM * 2, "fused=True when the optimizer is made"),  # on a CPU
        ("RMSprop", ADAM * 2, "foreach=True when the optimizer is made, torch.compile of optimizer.step, or"),
        ("RMSprop", ["_foreach_mul_", "_foreach_add_"] * 8, "torch.compile of optimizer.step, or"),
        ("Lion", ADAM * 2, "torch.compile of optimizer.step, or"),
    ],
)
def test_the_advice_fits_the_optimizer(optimizer, names, advice):
    """GIVEN an optimizer THEN it is told of what it has, and of perfkit's flag only where it is perfkit's own AdamW"""
    said = found(unfused_optimizer, step(names, each=40 * US, optimizer=optimizer)).advice
    assert said.startswith(advice)
    assert ("adamw" in said) == (optimizer == "AdamW")


def test_adagrad_has_no_fused_kernel_on_a_device():
    said = found(unfused_optimizer, step(ADAM * 2, optimizer="Adagrad", on_device=True)).advice
    assert said.startswith("foreach=True")


def test_of_two_optimizers_the_one_that_takes_the_time_is_named():
    """GIVEN a short step of AdamW, first, and a long one of SGD THEN SGD is named"""
    b = TraceBuilder().step(0, 0, 1000 * US).annotation("Optimizer.step#AdamW.step", 10 * US, 20 * US)
    operators(b, ["mul_"], 10 * US, 10 * US)
    b.annotation("Optimizer.step#SGD.step", 100 * US, 800 * US)
    operators(b, ["mul_", "add_"] * 8, 100 * US, 40 * US)
    assert found(unfused_optimizer, b).what.startswith("SGD updates")


def test_what_a_gradient_scaler_checks_at_once_is_no_foreach_optimizer():
    """GIVEN GradScaler's one check of all gradients, and an update by parameter THEN it is one by one"""
    finding = found(unfused_optimizer, step(["_amp_foreach_non_finite_check_and_unscale_", *ADAM * 2]))
    assert "one parameter after the other" in finding.what
