"""The process group of a job, and what its ranks tell each other beside it.

Results go by torch.distributed's store and not by collectives: they are to arrive also when a collective is broken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.launch.torchrun import Place

_TIMEOUT = timedelta(minutes=10)
"""After which a rank that waits in a collective gives up; torchrun ends it sooner, where another rank has failed."""
_POLL_S = 0.02
_LAST_WORDS_S = 5.0
"""Seconds to wait for what other ranks have to say, once something has failed."""
_FAILED = "failed"


class Session:
    """A job of several processes, from the inside of one; its process group lives as long as the `with` statement."""

    def __init__(
        self, place: Place, store: Store, now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.place = place
        self._store, self._now, self._sleep = store, now, sleep

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and dist.is_initialized():  # else it would wait for ranks that are gone
            dist.destroy_process_group()

    def tell(self, name: str, value: bytes) -> None:
        """Say something to all ranks."""
        self._store.set(name, value.decode())

    def hear(self, names: Sequence[str]) -> list[bytes]:
        """What ranks said under these names, once they have; less, where a signal came or a rank failed before."""
        end = float("inf")
        while missing := [name for name in names if not self._store.check([name])]:
            if signals.first() is not None or self.failed() is not None:
                end = min(end, self._now() + _LAST_WORDS_S)
            if self._now() >= end:
                break
            self._sleep(_POLL_S)
        return [bytes(self._store.get(name)) for name in names if name not in missing]

    def fail(self, why: str) -> tuple[int, str]:
        """Note that this rank has failed; the rank that failed first, and why: others fail because of it."""
        self._store.compare_set(_FAILED, "", f"{self.place.rank} {why}")
        failed = self.failed()
        assert failed is not None
        return failed

    def failed(self) -> tuple[int, str] | None:
        """The rank that failed first, and why."""
        if not self._store.check([_FAILED]):
            return None
        rank, _, reason = self._store.get(_FAILED).decode().partition(" ")
        return int(rank), reason


def check_devices(place: Place, device: str, count: Callable[[], int] = torch.cuda.device_count) -> None:
    """Raise UsageError where a machine has fewer GPUs than ranks: each has one of its own (`device`: cpu or cuda)."""
    if device != "cpu" and place.on_machine > count():
        raise UsageError(
            f"torchrun started {place.on_machine} processes here, and PyTorch sees {count()} CUDA devices:"
            f" --nproc-per-node {count()}, or --device cpu"
        )


def joined(place: Place, device: str) -> Session:
    """This process as a rank: NCCL between GPUs, gloo between CPUs. `device` is resolved."""
    if device != "cpu":
        torch.cuda.set_device(device)
    with signals.of_the_system():  # a rank that does not come is waited for, and nothing has been measured yet
        store, rank, ranks = next(iter(rendezvous("env://")))
        dist.init_process_group(
            "gloo" if device == "cpu" else "nccl", store=PrefixStore("torch", store), rank=rank, world_size=ranks,
            timeout=_TIMEOUT,
        )  # fmt: skip
    return Session(place, PrefixStore("perfkit", store))
