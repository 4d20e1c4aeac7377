"""Forward or backward in threads of their own, all of them recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.truth import models
from tests.truth.models import Block, Checkpointed, Net
from tests.truth.recording import Training, record_training
from tests.truth.verdict import assert_right


def _in_threads(*calls: Callable[[], Any]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class _TwoForwardThreads(Training):
    def forward(self) -> Tensor:
        made: dict[str, Tensor] = {}

        def run(name: str) -> None:
            self.witness.sign_thread()
            made[name] = getattr(self.model, name)(self.batch[0])

        with self.phase("forward"):
            _in_threads(lambda: run("left"), lambda: run("right"))
        return torch.stack((made["left"], made["right"]))

    def loss(self, logits: Tensor) -> Tensor:
        with self.phase("loss", "forward"):
            return logits.prod(0).square().mean()


def test_two_forward_threads(tmp_path: Path) -> None:
    """GIVEN two threads whose sequence numbers are the same ones WHEN attributed THEN the arrows tell them apart"""
    recording = record_training(models.Towers(), tmp_path, training=_TwoForwardThreads, all_threads=True)
    assert_right(recording)
    links, host = recording.attribution.links, recording.attribution.host
    by_thread = [
        set(host.sequence[links.is_forward_op & (host.thread == thread)].tolist())
        for thread in range(len(recording.trace.threads))
    ]
    busy = sorted(by_thread, key=len)[-2:]
    assert len(busy[0] & busy[1]) > 20  # the case is what it is meant to be


class _BackwardThread(Training):
    def backward(self, loss: Tensor) -> None:
        def run() -> None:
            self.witness.sign_thread()
            with self.phase("backward"):
                loss.backward()

        _in_threads(run)


@pytest.mark.parametrize("kind", ["plain", "non-reentrant", "reentrant"])
def test_backward_in_a_thread(kind: str, tmp_path: Path) -> None:
    """GIVEN backward in a thread of its own, as on a GPU WHEN attributed THEN every row is right, recomputation too"""
    layers: list[nn.Module] = [Block(), Block()]
    if kind != "plain":
        layers = [Checkpointed(layer, reentrant=kind == "reentrant") for layer in layers]
    recording = record_training(Net(*layers), tmp_path, training=_BackwardThread, all_threads=True)
    verdict = assert_right(recording)
    assert verdict.right["accumulation"] > 0
