from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from perfkit.workload import ranges as ranges_module
from perfkit.workload.annotate import _installed
from tests.workload.ranges import FakeNvtx


@pytest.fixture(autouse=True)
def _one_thread_and_one_seed() -> Iterator[None]:
    """Threads that wait for each other on a busy machine make tiny operations a hundred times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _no_annotation_lasts() -> Iterator[None]:
    yield
    for annotation in list(_installed):
        annotation.remove()


@pytest.fixture
def nvtx(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNvtx]:
    """A fake NVTX for everything annotated in the test, at the end of which no range may be open."""
    fake = FakeNvtx()
    monkeypatch.setattr(ranges_module, "nvtx", fake)
    yield fake
    assert ranges_module._open.stack == []
