"""Which rules speak of traces that other projects recorded. Each was judged by eye; the comment says why it is true."""

from __future__ import annotations

import gzip
import json

import pytest

from perfkit.analysis.findings.performance import catalogue
from perfkit.trace.load import load
from tests.analysis.findings.performance.cases import case_of, rules_of
from tests.corpus import corpus_file

pytestmark = pytest.mark.corpus

SAID = {
    # Idle for three quarters of the step, 2,444 gaps. 160 of 161 gradients are copied back from DDP's buckets, by
    # cudaMemcpyAsync. 39.5 of 46.9 ms of NCCL are exposed, and gain nothing while the host is so far behind.
    "kineto/a100_ddp_training.json.gz": ["launch-bound", "bucket-copies", "exposed-communication", "unchecked"],
    # One cudaFree of 8 s, and 22 other calls, after the first kernels of a program that starts.
    "kineto/a100_small_iterations.json.gz": ["allocator-calls", "unchecked"],
    # Decode of a few tokens: 700 kernels of 4 us in 7.5 ms, matmuls with fewer blocks than multiprocessors.
    "kineto/b300_moe_decode.json.gz": ["tiny-kernels", "few-tiles", "python-stacks", "unchecked"],
    # Adagrad over 16 tables, in a loop of torch.optim.
    "kineto/cpu_dlrm_old_format.json.gz": ["unfused-optimizer"],
    "kineto/cpu_only.json.gz": ["unchecked"],  # no shapes: double precision
    # Clamps, products and sums of a recommender's features, one by one.
    "kineto/cpu_rank_non_gpu.json.gz": ["elementwise-chains", "unchecked"],
    # One small batch on an H100: busy for 0.3 of 4.4 ms. An item() in the attention mask. Sequences of 141 tokens, a
    # vocabulary of 30,522; matmuls of 512 columns do not fill 132 multiprocessors.
    "kineto/h100_bert_small_inference.json.gz": [
        "launch-bound", "host-synchronisation", "few-tiles", "odd-shapes", "python-stacks",
    ],
    # RMSNorm and rotary embedding of Hugging Face's code, over 8,944 tokens.
    "kineto/h100_qwen_0.5b_inference.json.gz": ["elementwise-chains"],
    "kineto/mi300_compiled_triton.json.gz": ["unchecked"],
    "kineto/mi300_moe_decode.json.gz": ["tiny-kernels", "unchecked"],
    # RCCL runs alone for two thirds of the step. Checkpointed, 62 gradients copied out of buckets, 590 kernels under
    # 10 us a step, Python stacks.
    "kineto/mi300_resnet_checkpoint_training.json.gz": [
        "exposed-communication", "tiny-kernels", "bucket-copies", "recomputation", "python-stacks",
    ],
    "kineto/mtia_inference.json.gz": ["unchecked"],
    # 77 cudaMalloc of a first iteration.
    "kineto/particle_transformer.json.gz": ["allocator-calls", "unchecked"],
    # volta_scudnn and volta_sgemm on a V100; zero_grad of 2021, which filled; batches in pageable memory. Without
    # workers the host is the limit: no faster device helps. With four, it waits in the copy of each batch.
    "kineto/resnet50_torch18_workers0.json.gz": [
        "data-loader", "zeroed-gradients", "blocking-copies", "unused-tensor-cores", "unchecked",
    ],
    "kineto/resnet50_torch19_workers4.json.gz": [
        "blocking-copies", "zeroed-gradients", "unused-tensor-cores", "unfused-optimizer", "unchecked",
    ],
    # A recommender: all-to-all and all-reduce exposed, in front of a host that is slower; sides of 7, 10, 15, 17.
    "kineto/sampled_rank0.json.gz": ["exposed-communication", "odd-shapes"],
    # 54,000 Python frames in 34 ms.
    "kineto/sglang_decode_capture.json.gz": ["python-stacks"],
    "kineto/sglang_decode_replay.json.gz": ["unchecked"],
    # Half of the device's time are volta_sgemm, volta_scudnn and cuDNN's engines for float.
    "kineto/v100_training.json.gz": ["unused-tensor-cores", "unchecked"],
    # Batches of pinned memory, copied on the default stream, for 97% of the time.
    "nsys/h100_2gpu_1s.sqlite": ["missed-overlap", "unchecked"],
    "nsys/rtx3080_tiny.sqlite": ["unchecked"],
    "nsys/rtx3090_2023_schema.sqlite": ["unchecked"],
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_rules_that_speak_of_a_real_trace(name):
    assert rules_of(load(corpus_file(name))) == SAID[name]


def test_fp32_time_is_that_of_the_kernels_named_so():
    """GIVEN the file's own events WHEN kernels of these names are added up THEN seven eighths of it are the cost"""
    path = corpus_file("kineto/v100_training.json.gz")
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    named = ("sgemm", "scudnn", "dgrad_engine<float", "wgrad_alg0_engine<float", "wgrad_alg1_engine<float")
    kernels = [one for one in events if one.get("cat") == "kernel"]
    time = sum(one["dur"] for one in kernels if any(name in one["name"] for name in named)) * 1000
    (fp32, *_) = catalogue.findings(case_of(load(path)))
    assert fp32.cost.ns == pytest.approx(time / 5 * 7 / 8, rel=0.02)


def test_a_step_that_waits_for_launches_and_one_that_does_not():
    """GIVEN the two traces of data-parallel training of the issue THEN their first findings tell opposite stories

    HolisticTraceAnalysis: the A100 is idle for 503.05 ms, 76.2% of its span; of the V100's 7.6 ms, 83% in front of
    queued work. The gain is the idle time that the host causes: 499.2 ms in three steps of 667.1, without the 6.1 ms
    before the first event, of which nobody knows.
    """
    (first, *_) = catalogue.findings(case_of(load(corpus_file("kineto/a100_ddp_training.json.gz"))))
    assert (first.rule.id, first.gain.ns) == ("launch-bound", pytest.approx(166.40e6, rel=0.001))
    assert "idle for 166.4 ms a step (74.8%)" in first.what
    (first, *_) = catalogue.findings(case_of(load(corpus_file("kineto/v100_training.json.gz"))))
    assert first.rule.id == "unused-tensor-cores"
    assert "at most 47.79 ms of 95.44 ms a step to gain" in first.what
