"""What ranks tell each other, over a store in memory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from torch._C._distributed_c10d import HashStore

from perfkit.errors import UsageError
from perfkit.launch.torchrun import Place
from perfkit.measure.ranks.session import Session, check_devices


class Time:
    """A clock that sleeping moves, and what happens meanwhile."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.now, self.meanwhile = 0.0, meanwhile

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()


def sessions(time: Time | None = None) -> list[Session]:
    """Two ranks."""
    store, time = HashStore(), time or Time()
    return [Session(Place(rank, 2, rank, 2), store, lambda: time.now, time.sleep) for rank in (0, 1)]


def test_what_a_rank_says_is_heard_once_it_has_been_said():
    time = Time()
    first, other = sessions(time)
    time.meanwhile = lambda: other.tell("1", b"all well") if time.now > 700 else None
    assert first.hear(["1"]) == [b"all well"]
    assert time.now == pytest.approx(700, abs=0.1), "a trace may take long to write"


def test_the_first_failure_is_the_cause():
    first, other = sessions()
    assert first.failed() is None
    assert other.fail("out of memory in measured step 2") == (1, "out of memory in measured step 2")
    assert first.fail("RuntimeError: Connection closed by peer") == (1, "out of memory in measured step 2")


def test_after_a_failure_nobody_waits_for_long():
    """GIVEN rank 1 has failed, and says no more THEN rank 0 gives up after 5 seconds"""
    time = Time()
    first, other = sessions(time)
    other.fail("killed")
    assert first.hear(["1"]) == []
    assert time.now == pytest.approx(5, abs=0.1)


def test_each_rank_needs_a_gpu():
    check_devices(Place(5, 8, 1, 4), "cuda", lambda: 4)
    check_devices(Place(5, 8, 1, 4), "cpu", lambda: 0)
    with pytest.raises(UsageError, match="torchrun started 4 processes here, and PyTorch sees 2 CUDA devices"):
        check_devices(Place(5, 8, 1, 4), "cuda", lambda: 2)


WAITING = """
from perfkit import signals
signals.install()
from perfkit.launch.torchrun import Place
from perfkit.measure.ranks import session
with signals.raised():
    session.joined(Place(0, 2, 0, 2), "cpu")
"""


def test_a_rank_that_waits_for_another_can_be_ended():
    """GIVEN rank 0 of two, alone, which waits in PyTorch's C code WHEN it is told to end THEN it ends"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with subprocess.Popen([sys.executable, "-c", WAITING], env=os.environ | place, stderr=subprocess.PIPE) as rank:
        try:
            while not _answers(port):
                assert rank.poll() is None
                time.sleep(0.05)
            rank.send_signal(signal.SIGTERM)
            assert rank.wait(20) == -signal.SIGTERM
        finally:
            rank.kill()


def _answers(port: int) -> bool:
    with socket.socket() as asks:
        return asks.connect_ex(("127.0.0.1", port)) == 0
