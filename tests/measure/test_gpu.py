"""What only a GPU can show: CUDA events, memory, precisions, kernels in a trace."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from perfkit import cli
from perfkit.analysis.memory import fit as memory_fit
from perfkit.analysis.memory import model as memory_model
from perfkit.analysis.reports import trace as trace_report
from perfkit.analysis.tuning.equality import difference
from perfkit.errors import UsageError
from perfkit.measure import estimate, runner, timing
from perfkit.measure.observers.suggestions import Suggestions
from perfkit.schema import computed as results
from perfkit.schema import record
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord
from perfkit.trace.load import load
from perfkit.workload.step import TransformerWorkload
from tests.runs import QUICK

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

GIB = 2**30
MEDIUM_SIZED: dict[str, Any] = {
    "num_layers": 4, "d_model": 512, "num_heads": 8, "d_ff": 2048, "context_length": 256, "batch_size": 8,
    "warmup_steps": 3, "measure_steps": 5,
}  # fmt: skip

LARGE: dict[str, int] = {"num_layers": 1, "d_model": 2048, "num_heads": 16, "d_ff": 2048, "vocab_size": 100}


@pytest.fixture(autouse=True)
def _free_memory_and_precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)
    torch.cuda.empty_cache()


def run(folder: Path, **fields: Any) -> RunRecord:
    config = runner.resolve(RunConfig.of(device="cuda", **fields))
    return runner.run(config, folder, [Suggestions(memory_fit.suggestions)])


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_the_clocks_of_a_step_agree(tmp_path, precision):
    # WHEN
    result = run(tmp_path, **MEDIUM_SIZED, pass_type="train", precision=precision)

    # THEN
    assert (result.status, len(result.warmup), len(result.steps)) == ("ok", 3, 5)
    for step in result.steps:
        assert list(step.phases_s) == ["zero_grad", "forward", "loss", "backward", "optimizer"]
        assert step.device_s is not None
        assert step.enqueue_s is not None
        assert sum(step.phases_s.values()) == pytest.approx(step.device_s, abs=20e-6)  # events count half microseconds
        assert 0 < step.enqueue_s <= step.wall_s
        assert step.device_s <= step.wall_s + 20e-6
        assert min(step.phases_s.values()) >= 0
    assert result.memory.allocated is not None
    assert result.memory.reserved is not None
    assert (
        result.memory.reserved >= result.memory.allocated >= 16 * result.config.transformer.parameters
    )  # AdamW in fp32


def test_the_wait_for_the_device_counts():
    # GIVEN a step that only enqueues
    workload = TransformerWorkload(RunConfig.of(device="cuda", **MEDIUM_SIZED).resolved("cuda"))
    clock = timing.make_clock("cuda")
    for _ in range(3):
        workload.step(lambda _: None)

    # WHEN the device is given more than that to do
    clock.begin()
    clock.phase("forward")
    torch.cuda._sleep(100_000_000)
    sample = clock.end()

    # THEN 100 million cycles take 30 ms at 3.3 GHz, which no GPU reaches
    assert sample.wall_s > 0.03
    assert sample.phases_s["forward"] > 0.03
    assert sample.enqueue_s is not None
    assert sample.enqueue_s < sample.wall_s / 2


def test_the_environment_is_that_of_the_gpu(tmp_path):
    # WHEN
    found = run(tmp_path, **QUICK, warmup_steps=1, measure_steps=1).environment

    # THEN
    assert found.device == "cuda"
    assert found.device_name == torch.cuda.get_device_name()
    assert found.device_memory == torch.cuda.get_device_properties(0).total_memory
    assert found.cuda == torch.version.cuda
    assert found.compute_capability == ".".join(map(str, torch.cuda.get_device_capability()))


@pytest.mark.parametrize(
    ("fields", "phase"),
    [
        ({"context_length": 8192, "batch_size": 4096, "attention": "sdpa"}, "warm-up step 1, forward"),
        ({"vocab_size": 2_000_000_000}, "model"),
    ],
)
def test_out_of_memory_is_a_result(tmp_path, fields, phase):
    # WHEN
    result = run(tmp_path, **{**LARGE, **fields})

    # THEN
    assert result.status == "oom"
    assert result.failure is not None
    assert result.failure.phase == phase
    assert result.failure.requested is not None
    assert result.failure.requested > GIB
    assert result.failure.available is not None
    assert "the GPU had" in result.failure.message
    assert result.failure.suggestions

    # THEN the memory is free again for what comes next
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() < GIB


@pytest.mark.parametrize(("precision", "setting"), [("fp32", "highest"), ("tf32", "high")])
def test_tf32_is_what_was_asked_for_and_nothing_else(precision, setting):
    # GIVEN products that TensorFloat-32's ten bits cannot hold
    TransformerWorkload(RunConfig.of(device="cuda", precision=precision, **QUICK).resolved("cuda"))
    assert torch.get_float32_matmul_precision() == setting
    generator = torch.Generator("cuda").manual_seed(0)
    a, b = (torch.randn(512, 512, device="cuda", generator=generator) for _ in range(2))

    # WHEN
    error = ((a @ b).double() - a.double() @ b.double()).abs().max().item()

    # THEN
    if precision == "fp32":
        assert error < 1e-3
    else:
        assert 1e-3 < error < 1


@pytest.mark.parametrize("backend", ["flash", "efficient", "math"])
def test_fused_attention_runs_on_the_backend_that_was_chosen(tmp_path, backend):
    # WHEN
    result = run(tmp_path, **MEDIUM_SIZED, attention="sdpa", sdpa_backend=backend, precision="bf16", profiler="torch")

    # THEN
    names = set(load(tmp_path / result.artifacts["trace"]).names)
    marks = {"flash": "flash_attention", "efficient": "efficient_attention", "math": "dot_product_attention_math"}
    assert [kind for kind, mark in marks.items() if any(mark in name for name in names)] == [backend]


def test_an_attention_backend_without_a_kernel_is_refused(tmp_path):
    """FlashAttention stops at heads 256 wide."""
    with pytest.raises(UsageError, match="--sdpa-backend flash has no kernel"):
        run(
            tmp_path,
            num_layers=1,
            d_model=1024,
            num_heads=2,
            d_ff=64,
            attention="sdpa",
            sdpa_backend="flash",
            precision="bf16",
        )


def test_a_profiled_run_has_kernels_that_end_inside_their_steps(tmp_path):
    # WHEN
    result = run(tmp_path, **MEDIUM_SIZED, profiler="torch", pass_type="train")

    # THEN every measured step has as many kernels as the others: none of the warm-up's is left over
    trace = load(tmp_path / result.artifacts["trace"])
    assert len(trace.device.name) > 0
    assert len(trace.device.name) % result.config.measurement.measure_steps == 0
    assert result.memory.allocated is not None


@pytest.mark.skipif(shutil.which("nsys") is None, reason="no nsys: scripts/install-nsys installs it")
def test_nsys_and_torch_profiler_record_the_same_kernels(tmp_path, capsys):
    # GIVEN one configuration
    flags = [part for name, value in MEDIUM_SIZED.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    summaries = {}

    # WHEN
    for profiler in ("torch", "nsys"):
        folder = tmp_path / profiler
        code = cli.main(["run", *flags, "--device", "cuda", "--profiler", profiler, "--folder", str(folder)])
        assert code == 0, capsys.readouterr().err
        trace = load(folder / record.load(folder).artifacts["trace"])
        summaries[profiler] = trace_report.report(trace).summary

    # THEN
    assert summaries["nsys"]["kernels"] == summaries["torch"]["kernels"] > 0
    assert summaries["nsys"]["steps"] == summaries["torch"]["steps"] == MEDIUM_SIZED["measure_steps"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"checkpoint": True},
        {"attention": "sdpa"},
        {"attention": "sdpa", "sdpa_backend": "math"},
        {"precision": "bf16"},
        {"precision": "bf16", "attention": "sdpa"},
        {"precision": "fp16", "pass_type": "train"},
        {"pass_type": "train", "optimizer": "adamw-fused"},
        {"pass_type": "forward"},
    ],
)
def test_the_estimate_is_what_the_allocator_reports_within_5_percent(tmp_path, fields):
    """Tensors are rounded up to 512 bytes, and cuBLAS's workspace (8 to 32 MB) is allocated among them."""
    # WHEN
    result = run(tmp_path, **{**MEDIUM_SIZED, **fields})

    # THEN
    allocated = result.memory.allocated
    assert allocated is not None
    assert memory_model.estimate(result.config).peak == pytest.approx(allocated, rel=0.05, abs=40e6)
    assert estimate.estimate(result.config).peak == pytest.approx(allocated, rel=0.05, abs=40e6)


@pytest.mark.parametrize("compiled", ["model", "block"])
@pytest.mark.parametrize("pass_type", ["forward", "train"])
def test_cuda_graphs_are_replayed_and_compute_the_same(tmp_path, compiled, pass_type):
    # WHEN
    computed = {}
    for mode in ("default", "reduce-overhead"):
        folder = tmp_path / mode
        flags = ["--compile", compiled, "--compile-mode", mode, "--pass-type", pass_type, "--num-layers", "2"]
        beside = ["--device", "cuda", "--profiler", "torch", "--save-results", "on", "--folder", str(folder)]
        assert cli.main(["run", "--model-size", "tiny", *flags, *beside]) == 0
        trace = load(folder / record.load(folder).artifacts["trace"])
        replayed = [name for name in trace.names if "GraphLaunch" in name]
        assert bool(replayed) == (mode == "reduce-overhead")
        computed[mode] = results.load(folder)

    # THEN
    apart = difference(computed["default"], computed["reduce-overhead"])
    assert max(apart.losses.max(), apart.gradients.max()) < 1e-4


def test_counters_of_the_allocator_and_samples_of_the_gpu_come_with_a_plain_run(tmp_path):
    # WHEN
    result = run(tmp_path, **MEDIUM_SIZED | {"measure_steps": 100})

    # THEN the sampler's process has had time to start
    assert all(step.probes is not None and step.probes.alloc_retries == 0 for step in result.steps)
    assert result.steps[-1].probes is not None
    assert result.steps[-1].probes.device_allocs == 0
    assert result.gpu
    assert all(one.sm_mhz and one.total_bytes for one in result.gpu)
