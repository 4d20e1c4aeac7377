"""Real traces that other projects recorded: counts, sums to the nanosecond, every column of every row."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.columns import DeviceKind, Trace
from perfkit.trace.load import load
from perfkit.trace.recording import Device
from tests.trace.chrome_reference import equal, ignored, parsed, rows, trace_rows

CORPUS = Path(os.environ.get("PERFKIT_TRACE_CORPUS", "/nowhere")) / "kineto"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="PERFKIT_TRACE_CORPUS names no folder of traces"),
]

# name: (kernels, sum of their durations in ns, device events)
TRUTH = {
    "v100_training": (4350, 468_153_602, 6095),
    "a100_ddp_training": (2700, 162_532_340, 3774),
    "mi300_resnet_checkpoint_training": (2995, 97_255_826, 3653),
    "h100_qwen_0.5b_inference": (1465, 45_432_698, 1707),
    "h100_bert_small_inference": (60, 307_197, 61),
    "mi300_compiled_triton": (12, 12_549_021, 12),
    "a100_small_iterations": (79, None, None),
    "cpu_only": (0, 0, 0),
}


def read(name: str) -> Trace:
    return load(CORPUS / f"{name}.json.gz")


@pytest.mark.parametrize("name", TRUTH)
def test_kernels_and_their_time(name: str) -> None:
    kernels, total, events = TRUTH[name]
    device = read(name).device
    is_kernel = device.kind == DeviceKind.KERNEL
    assert np.count_nonzero(is_kernel) == kernels
    if total is not None:
        assert (device.end - device.start)[is_kernel].sum() == total
        assert len(device) == events


@pytest.mark.parametrize("name", TRUTH)
def test_every_row_equals_the_slow_reading(name: str) -> None:
    document = parsed(gzip.decompress((CORPUS / f"{name}.json.gz").read_bytes()))
    trace = read(name)
    expected = rows(document["traceEvents"])
    found = trace_rows(trace)
    for part, columns in expected.items():
        assert found[part] == columns, part
    assert trace.facts.ignored == ignored(document["traceEvents"])
    assert trace.facts.events == sum(event.get("ph") == "X" for event in document["traceEvents"])
    assert trace.facts.truncated_at is None
    assert trace.facts.repairs == {}
    assert trace.facts.base_time_ns == document.get("baseTimeNanoseconds")
    distributed, said = document.get("distributedInfo", {}), trace.recording
    assert (said.rank, said.world_size) == (distributed.get("rank"), distributed.get("world_size"))
    assert said.versions.schema == str(document.get("schemaVersion", ""))


def test_resolution_and_host_events() -> None:
    assert read("a100_small_iterations").facts.resolution_ns == 1000
    assert read("v100_training").facts.resolution_ns == 1
    assert read("cpu_only").facts.events == 16
    assert len(read("cpu_only").host) == 15


def test_devices_and_threads_have_names() -> None:
    trace = read("v100_training")
    assert trace.recording.devices[0] == Device(0, "Tesla V100-SXM2-32GB", 34_079_637_504, 80, 7, 0)
    assert {thread.name for thread in trace.threads} >= {"thread 1262 (pt_autograd_0)"}


@pytest.mark.parametrize("chunk", [1000, 20_000, 1 << 24])
def test_the_chunk_size_does_not_matter(chunk: int) -> None:
    text = gzip.decompress((CORPUS / "h100_bert_small_inference.json.gz").read_bytes())
    pieces = [text[at : at + 777] for at in range(0, len(text), 777)]
    assert equal(read_chrome_json(pieces, "in pieces", chunk=chunk), read("h100_bert_small_inference"))
