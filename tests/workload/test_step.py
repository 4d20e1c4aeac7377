"""One step: its phases, what each pass type and precision does, seeds, and what is refused beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor import config as inductor

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.workload import step
from perfkit.workload.ranges import _open
from perfkit.workload.step import TransformerWorkload
from tests.runs import QUICK, quick
from tests.workload.ranges import hooks, recorded_paths

PHASES = {
    "forward": ["forward"],
    "forward-backward": ["zero_grad", "forward", "loss", "backward"],
    "train": ["zero_grad", "forward", "loss", "backward", "optimizer"],
}


@pytest.fixture(autouse=True)
def _precision_as_it_was() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def phases(workload: TransformerWorkload) -> list[str]:
    heard: list[str] = []
    workload.step(heard.append)
    return heard


def weights(workload: TransformerWorkload) -> list[Tensor]:
    return [p.detach().clone() for p in workload.model.parameters()]


def gradients(workload: TransformerWorkload) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in workload.model.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("pass_type", PHASES)
def test_every_pass_in_every_precision_does_what_it_says(pass_type, precision):
    # GIVEN
    workload = TransformerWorkload(quick(pass_type=pass_type, precision=precision))
    before, types = weights(workload), set()
    workload.model.head.register_forward_hook(lambda *call: types.add(call[2].dtype))

    # WHEN
    heard = phases(workload)

    # THEN
    after, grads = weights(workload), gradients(workload)
    assert heard == PHASES[pass_type]
    assert types == {{"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
    assert same(before, after) == (pass_type != "train")
    assert all((g is None) == (pass_type == "forward") for g in grads)
    assert all(g is None or (g.isfinite().all() and g.any()) for g in grads)
    assert all(w.isfinite().all() and w.dtype == torch.float32 for w in after)


def test_a_forward_pass_keeps_no_graph():
    workload, kept = TransformerWorkload(quick(pass_type="forward")), []
    workload.model.head.register_forward_hook(lambda *call: kept.append(call[2].requires_grad))
    phases(workload)
    assert kept == [False]


@pytest.mark.parametrize("pass_type", ["forward-backward", "train"])
def test_gradients_are_gone_before_the_forward_and_start_anew(pass_type):
    # GIVEN
    workload, kept = TransformerWorkload(quick(pass_type=pass_type)), []
    workload.model.register_forward_pre_hook(lambda *_: kept.append(gradients(workload)))
    phases(workload)
    first = gradients(workload)

    # WHEN
    if workload.optimizer is not None:
        workload.model.load_state_dict(TransformerWorkload(quick()).model.state_dict())
    phases(workload)

    # THEN
    assert kept == [[None] * len(first)] * 2
    assert same(first, gradients(workload))


def test_the_loss_is_the_cross_entropy_of_the_targets():
    # GIVEN
    workload = TransformerWorkload(quick())
    logits = workload.model(workload.tokens)
    chosen = logits.log_softmax(-1).gather(-1, workload.targets[..., None])
    wanted = torch.autograd.grad(-chosen.mean(), list(workload.model.parameters()))

    # WHEN
    phases(workload)

    # THEN
    for grad, want in zip(gradients(workload), wanted, strict=True):
        torch.testing.assert_close(grad, want)


def test_fp16_gradients_are_scaled_and_the_optimizer_takes_the_scale_off():
    # GIVEN the same weights and tokens
    plain = TransformerWorkload(quick(pass_type="train"))
    scaled = TransformerWorkload(quick(pass_type="train", precision="fp16"))

    # WHEN
    phases(plain)
    before = weights(scaled)
    scaled.step(lambda _: None)

    # THEN the gradients that are left have been unscaled in place
    assert scaled._scaler is not None
    assert scaled._scaler.get_scale() == 2.0**16
    assert not same(before, weights(scaled))
    for one, other in zip(gradients(plain), gradients(scaled), strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=1e-3)


def test_fp16_gradients_without_an_optimizer_stay_scaled():
    plain, scaled = TransformerWorkload(quick()), TransformerWorkload(quick(precision="fp16"))
    for workload in (plain, scaled):
        phases(workload)
    for one, other in zip(gradients(plain), gradients(scaled), strict=True):
        torch.testing.assert_close(one, other / 2**16, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_optimizer_implementation_gives_the_same_weights(precision):
    # GIVEN
    choices = {"adamw": (None, None), "adamw-foreach": (True, None), "adamw-fused": (None, True)}
    results = []

    # WHEN
    for optimizer, flags in choices.items():
        workload = TransformerWorkload(quick(pass_type="train", optimizer=optimizer, precision=precision))
        assert workload.optimizer is not None
        assert (workload.optimizer.defaults["foreach"], workload.optimizer.defaults["fused"]) == flags
        for _ in range(3):
            phases(workload)
        results.append(weights(workload))

    # THEN
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_checkpointing_gives_the_same_gradients():
    plain, thrifty = TransformerWorkload(quick()), TransformerWorkload(quick(checkpoint=True))
    for workload in (plain, thrifty):
        phases(workload)
    assert same(gradients(plain), gradients(thrifty))


def test_a_seed_fixes_weights_and_tokens():
    # GIVEN
    first, again, other = (TransformerWorkload(quick(seed=seed)) for seed in (3, 3, 4))

    # THEN
    assert same(weights(first), weights(again))
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.targets, again.targets)
    assert not same(weights(first), weights(other))
    assert not torch.equal(first.tokens, other.tokens)
    assert not torch.equal(first.tokens, first.targets)
    assert first.tokens.shape == (2, 16)
    assert 0 <= first.tokens.min() <= first.tokens.max() < 100


def test_the_batch_does_not_change_the_weights():
    assert same(weights(TransformerWorkload(quick())), weights(TransformerWorkload(quick(batch_size=5))))


def test_fp32_means_fp32():
    # GIVEN a process in which somebody allowed less
    torch.set_float32_matmul_precision("medium")

    # WHEN
    TransformerWorkload(quick())

    # THEN
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("pass_type", PHASES)
def test_phases_are_ranges_when_annotated(pass_type):
    # GIVEN
    workload = TransformerWorkload(quick(pass_type=pass_type))
    workload.annotate().install()

    # WHEN
    paths = recorded_paths(lambda: workload.step(lambda _: None))

    # THEN
    assert [path for path in paths if ">" not in path] == [f"perfkit.phase::{name}" for name in PHASES[pass_type]]
    assert "perfkit.phase::forward > Transformer > layers.0 > layers.0.attn" in paths


def test_off_means_off():
    # WHEN
    workload = TransformerWorkload(quick(pass_type="train"))

    # THEN
    assert hooks(workload.model) == 0
    assert recorded_paths(lambda: workload.step(lambda _: None)) == []


def test_a_phase_that_fails_leaves_nothing_open():
    # GIVEN
    workload = TransformerWorkload(quick())
    workload.annotate().install()

    def fail(phase: str) -> None:
        if phase == "backward":
            raise MemoryError

    # WHEN
    with pytest.raises(MemoryError):
        workload.step(fail)

    # THEN
    assert _open.stack == []


def gpus(count: int, capability: tuple[int, int] = (9, 0)) -> SimpleNamespace:
    """torch.cuda of a machine with so many GPUs."""
    return SimpleNamespace(
        is_available=lambda: count > 0, device_count=lambda: count, get_device_capability=lambda _: capability
    )


def on_gpu(**fields: Any) -> RunConfig:
    return RunConfig.of(**{**QUICK, **fields}).resolved("cuda")


@pytest.mark.parametrize(
    ("wanted", "count", "chosen"),
    [("auto", 0, "cpu"), ("auto", 1, "cuda"), ("cpu", 1, "cpu"), ("cuda", 1, "cuda"), ("cuda:1", 2, "cuda:1")],
)
def test_the_device_that_is_there_is_chosen(wanted, count, chosen):
    assert step.choose_device(wanted, gpus(count)) == chosen


@pytest.mark.parametrize(
    ("wanted", "count", "message"),
    [
        ("cuda", 0, "sees no CUDA device; use --device cpu"),
        ("cuda:0", 0, "--device cuda:0: PyTorch .* sees no CUDA device"),
        ("cuda:1", 1, "--device cuda:1: PyTorch sees 1 CUDA devices, numbered from 0"),
    ],
)
def test_a_device_that_is_not_there_is_refused(wanted, count, message):
    with pytest.raises(UsageError, match=message):
        step.choose_device(wanted, gpus(count))


@pytest.mark.parametrize(
    ("fields", "capability", "triton", "message"),
    [
        ({"precision": "tf32"}, (7, 5), True, "--precision tf32 needs compute capability 8.0, and this GPU has 7.5"),
        ({"attention": "sdpa", "sdpa_backend": "flash", "precision": "fp16"}, (7, 0), True, "flash needs compute"),
        ({"attention": "sdpa", "sdpa_backend": "flash"}, (9, 0), True, "flash needs --precision bf16 or fp16"),
        ({"attention": "sdpa", "sdpa_backend": "cudnn"}, (9, 0), True, "cudnn needs --precision bf16 or fp16"),
        ({"compile": "model"}, (9, 0), False, "--compile model needs Triton on a GPU"),
    ],
)
def test_what_a_gpu_cannot_do_is_refused(fields, capability, triton, message):
    with pytest.raises(UsageError, match=message):
        step.check(on_gpu(**fields), cuda=gpus(1, capability), has_triton=lambda: triton)


def test_what_a_gpu_can_do_is_not_refused():
    for fields in (
        {"precision": "tf32", "compile": "block"},
        {"attention": "sdpa", "sdpa_backend": "flash", "precision": "bf16"},
        {"attention": "sdpa", "sdpa_backend": "efficient"},
    ):
        step.check(on_gpu(**fields), cuda=gpus(1, (8, 0)), has_triton=lambda: True)


def test_compiling_for_a_cpu_needs_a_compiler():
    """GIVEN an Inductor that is told of a compiler that is not there"""
    step.check(quick())
    with (
        inductor.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(UsageError, match=r"--compile needs a C\+\+ compiler on a CPU: install g\+\+"),
    ):
        step.check(quick(compile="block"))


def test_more_threads_than_cpus_are_refused():
    """OpenMP would end the process without a word from us."""
    step.check(quick(num_threads=4), cpu_count=lambda: 4)
    with pytest.raises(UsageError, match="--num-threads 5: this machine has 4 logical CPUs"):
        step.check(quick(num_threads=5), cpu_count=lambda: 4)


@pytest.mark.parametrize(
    ("optimizer", "foreach", "fused"),
    [("adamw", None, None), ("adamw-foreach", True, None), ("adamw-fused", None, True)],
)
def test_each_optimizer_is_the_implementation_that_it_is_called_by(optimizer, foreach, fused):
    made = TransformerWorkload(quick(pass_type="train", optimizer=optimizer)).optimizer
    assert isinstance(made, torch.optim.AdamW)
    assert (made.defaults["foreach"], made.defaults["fused"]) == (foreach, fused)


def test_tf32_lets_matmuls_of_fp32_round_and_nothing_else_does():
    # GIVEN
    asked = [on_gpu(precision=precision, model_size="tiny") for precision in ("tf32", "fp32", "bf16")]
    assert [step.matmul_precision(config) for config in asked] == ["high", "highest", "highest"]

    # WHEN a workload is built after one that let them round
    torch.set_float32_matmul_precision("high")
    TransformerWorkload(quick())

    # THEN
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("wanted", [False, True])
def test_gradients_and_backward_have_ranges_only_where_asked(nvtx, wanted):
    # WHEN
    workload = TransformerWorkload(quick())
    with workload.annotate(gradients=wanted, backward=wanted) if wanted else workload.annotate() as annotation:
        marked = [bool(parameter._post_accumulate_grad_hooks) for parameter in workload.model.parameters()]
        workload.step(lambda _: None)

    # THEN
    assert set(marked) == {wanted}
    assert (annotation.nodes > 0) is wanted
