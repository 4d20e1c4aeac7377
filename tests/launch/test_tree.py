"""Items folded in a tree, here and by Dask: neighbours in their order, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from perfkit.errors import PerfkitError, UsageError
from perfkit.launch import tree
from perfkit.launch.tree import FAN, Tree


def text(item: int) -> str:
    return f"{item},"


def lost(item: int, why: str) -> str:
    return f"({item}: {why.partition(',')[0]}),"


def together(several: Sequence[str]) -> str:
    assert 0 < len(several) <= 8 * FAN
    return "".join(several)


PLAIN = Tree(text, lost, together)


@pytest.mark.parametrize("count", [1, 2, FAN, FAN + 1, 70])
def test_items_are_joined_in_their_order(count: int) -> None:
    said: list[int] = []
    found = tree.fold_here(range(count), Tree(text, lost, together, done=lambda: said.append(1)))
    assert found == "".join(map(text, range(count)))
    assert len(said) == count


def test_few_results_are_held_at_a_time():
    """GIVEN 200 items THEN no more results exist at once than a few for each level of the tree"""
    alive, most = 0, 0

    class Held(str):
        __slots__ = ()

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def held(item: str) -> str:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return Held(item)

    tree.fold_here(range(200), Tree(lambda _: held("x"), lost, lambda several: held("".join(several))))
    assert most <= 3 * FAN


def test_nothing_cannot_be_folded():
    with pytest.raises(ValueError, match="nothing to fold"):
        tree.fold_here([], PLAIN)


def test_where_dask_is_missing_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(UsageError, match=r"--workers needs Dask: pip install 'perfkit\[cluster\]'"),
        tree.cluster(2, None, "--workers"),
    ):
        pass


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers of this machine, which all tests share."""
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        tree.cluster(2, None, "--workers") as client,
    ):
        yield client


@pytest.mark.parametrize("count", [1, FAN, 70])
def test_the_result_is_that_of_one_process(client: Any, count: int) -> None:
    said: list[int] = []
    found = tree.fold_by(client, range(count), Tree(text, lost, together, done=lambda: said.append(1)))
    assert found == tree.fold_here(range(count), PLAIN)
    assert len(said) == count


def loaded() -> list[bool]:
    return [name in sys.modules for name in ("pandas", "pyarrow")]


def test_workers_of_this_machine_have_pandas_without_pyarrow(client: Any) -> None:
    """GIVEN workers THEN they need less memory, and send nothing that the command's own process could not load"""
    assert list(client.run(loaded).values()) == [[True, False]] * 2


def test_a_worker_that_dies_loses_nothing(client: Any, tmp_path: Path) -> None:
    """GIVEN 30 items WHEN the process that reads the 20th is killed, once THEN the result is the same"""
    found = tree.fold_by(client, range(30), Tree(partial(deadly, 20, tmp_path / "died"), lost, together))
    assert (tmp_path / "died").exists()
    assert found == tree.fold_here(range(30), PLAIN)


def test_an_item_that_no_worker_survives_is_lost_and_the_rest_goes_on(client: Any) -> None:
    found = tree.fold_by(client, range(FAN), Tree(partial(deadly, 5, None), lost, together))
    why = "the worker ended each time it was read,"
    expected = [lost(5, why) if item == 5 else text(item) for item in range(FAN)]
    assert found == "".join(expected)


def test_an_unforeseen_error_is_the_reason_of_its_item(client: Any) -> None:
    found = tree.fold_by(client, range(3), Tree(failing, lost, together))
    assert found == "0,(1: ZeroDivisionError: integer division or modulo by zero),2,"


def test_a_joining_that_fails_is_said(client: Any) -> None:
    with pytest.raises(PerfkitError, match="adding up results failed"):
        tree.fold_by(client, range(3), Tree(text, lost, no_joining))


def test_a_scheduler_is_used_by_its_address(client: Any) -> None:
    with tree.cluster(0, client.scheduler.address, "--scheduler") as other:
        assert tree.fold_by(other, range(10), PLAIN) == tree.fold_here(range(10), PLAIN)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere://x"], ids=["nobody", "no-protocol"])
def test_an_address_where_no_scheduler_is(client: Any, address: str) -> None:
    with (
        pytest.raises(UsageError, match=f"--scheduler {address}: .*: name the address that dask scheduler shows"),
        tree.cluster(0, address, "--scheduler", timeout_s=0.5),
    ):
        pass


def deadly(which: int, mark: Path | None, item: int) -> str:
    """Kill this process at one item: each time, or until there is a mark."""
    if item == which and (mark is None or not mark.exists()):
        if mark is not None:
            mark.touch()
        time.sleep(0.2)  # others finish meanwhile: their results die with this process
        os.kill(os.getpid(), signal.SIGKILL)
    return text(item)


def failing(item: int) -> str:
    return text(item) if item != 1 else str(1 // 0)


def no_joining(_: Sequence[str]) -> str:
    raise RuntimeError("no")
