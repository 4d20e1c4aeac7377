"""Many files folded into one result in a tree: here, or by Dask in processes of this machine or of a cluster.

`leaf` makes something small of each item; `join` makes one of up to FAN neighbours, in their order, until one is left.
So no process holds more than one item's data and a few results, and the result does not depend on who finishes first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import uuid4

from perfkit import __version__
from perfkit.errors import PerfkitError, UsageError

if TYPE_CHECKING:
    from distributed import Client, Future

FAN = 8
"""Results that are joined at a time."""

_SETTINGS = {
    "distributed.scheduler.worker-saturation": 1.0,  # no file waits at a worker that may end
    "distributed.worker.profile.enabled": False,  # nobody reads it, and its stacks are kept
    "distributed.worker.preload": ["perfkit.lean"],  # whose dask_setup it calls: a fifth less memory
}

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Tree(Generic[_Item, _Result]):
    """How items become one result. Under Dask the functions are sent to other processes: of a module, or partial."""

    leaf: Callable[[_Item], _Result]
    lost: Callable[[_Item, str], _Result]
    """What stands for an item whose worker did not survive it, with the reason."""
    join: Callable[[Sequence[_Result]], _Result]
    done: Callable[[], None] = lambda: None
    """Called after each item, for progress."""


def fold_here(items: Sequence[_Item], tree: Tree[_Item, _Result]) -> _Result:
    """All items one after the other in this process. Raises ValueError where there are none."""
    levels: list[list[_Result]] = [[]]
    for item in items:
        levels[0].append(tree.leaf(item))
        tree.done()
        level = 0
        while len(levels[level]) == FAN:
            if level + 1 == len(levels):
                levels.append([])
            levels[level + 1].append(tree.join(levels[level]))
            levels[level] = []
            level += 1
    rest = [result for level in reversed(levels) for result in level]
    if not rest:
        raise ValueError("there is nothing to fold")
    return rest[0] if len(rest) == 1 else tree.join(rest)


def fold_by(client: Client, items: Sequence[_Item], tree: Tree[_Item, _Result]) -> _Result:
    """All items by Dask: a task each, and a task for each joining.

    What a worker that ends had made is made again by another. An item that ends its worker again and again is `lost`.
    Raises PerfkitError where a joining fails, and ValueError where there are no items.
    """
    from distributed import Future, as_completed  # noqa: PLC0415 - an extra, loaded where it is used

    if not items:
        raise ValueError("there is nothing to fold")
    sizes = [len(items)]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // FAN))
    slots: list[dict[int, Any]] = [{} for _ in sizes]  # level -> place -> a future, or the result itself
    run, again = uuid4().hex, set[tuple[int, int]]()  # others may use the scheduler: no key of theirs is one of these
    leaves = client.map(tree.leaf, items, pure=False, key=[f"file-{run}-{place}" for place in range(len(items))])
    doing = {future.key: _Doing(0, place, tree.leaf, items[place]) for place, future in enumerate(leaves)}
    waiting = as_completed(leaves, loop=client.loop)
    del leaves  # the slots alone keep results alive, until they are joined

    def submit(what: _Doing, name: str) -> None:
        future = client.submit(what.function, what.of, pure=False, key=f"{name}-{run}-{what.level}-{what.place}")
        doing[future.key] = what
        waiting.add(future)

    for future in waiting:
        what = doing.pop(future.key)
        level, place = what.level, what.place
        if (level, place) not in again and _has_lost_its_worker(future):  # it was beside what ended it, perhaps
            again.add((level, place))
            submit(what, "again")
            continue
        if level == 0:
            tree.done()
        slots[level][place] = _result_of(future, what, tree)
        first = place - place % FAN
        group = range(first, min(first + FAN, sizes[level]))
        if level + 1 < len(sizes) and all(one in slots[level] for one in group):
            taken = [slots[level].pop(one) for one in group]
            submit(_Doing(level + 1, first // FAN, tree.join, taken), "join")
    [root] = slots[-1].values()
    return root.result() if isinstance(root, Future) else root


@dataclass(frozen=True, slots=True)
class _Doing:
    """A task: its place in the tree, and what it calls with what."""

    level: int
    place: int
    function: Callable[[Any], Any]
    of: Any


def _result_of(future: Future, what: _Doing, tree: Tree[Any, _Result]) -> Future | _Result:
    """The future itself; of a file that could not be read, what stands for it."""
    if future.status == "finished":
        return future
    error = future.exception()
    if what.level:
        raise PerfkitError(f"adding up results failed ({type(error).__name__}: {error}): use workers with more memory")
    return tree.lost(what.of, _why(error))


def _has_lost_its_worker(future: Future) -> bool:
    return future.status == "error" and type(future.exception()).__name__ == "KilledWorker"


def _why(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "the worker ended each time it was read, for want of memory perhaps: use fewer workers, or larger ones"
    return f"{type(error).__name__}: {error}"


@contextmanager
def cluster(workers: int, scheduler: str | None, flag: str, timeout_s: float = 10) -> Iterator[Client]:
    """A client of so many processes of this machine, or of the scheduler at an address, which answers in `timeout_s`.

    Raises UsageError where Dask is missing, where nobody answers, and where workers have another version of perfkit.
    """
    try:
        import dask  # noqa: PLC0415
        from distributed import Client, LocalCluster  # noqa: PLC0415 - an extra, loaded where it is used
    except ImportError as error:
        raise UsageError(f"{flag} needs Dask: pip install 'perfkit[cluster]'") from error
    if scheduler is None:
        with (
            dask.config.set(_SETTINGS),
            LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None,
                silence_logs=logging.CRITICAL,
            ) as here,
            Client(here, set_as_default=False) as client,
        ):  # fmt: skip
            yield client
        return
    try:
        client = Client(scheduler, timeout=timeout_s, set_as_default=False)
    except (OSError, ValueError) as error:
        why = "nobody answers there" if isinstance(error, OSError) else str(error)
        raise UsageError(f"--scheduler {scheduler}: {why}: name the address that dask scheduler shows") from error
    with client:
        _check_versions(client, scheduler)
        yield client


def version() -> str:
    """Of perfkit, as a worker has it."""
    return __version__


def _check_versions(client: Client, scheduler: str) -> None:
    try:
        versions = client.run(version)
    except Exception as error:
        raise UsageError(f"--scheduler {scheduler}: its workers cannot load perfkit ({error}): install it") from error
    if not versions:
        raise UsageError(f"--scheduler {scheduler}: it has no workers: start some with dask worker {scheduler}")
    others = {name: found for name, found in versions.items() if found != __version__}
    if others:
        name, found = next(iter(others.items()))
        raise UsageError(
            f"--scheduler {scheduler}: the worker {name} has perfkit {found}, this is {__version__}: install the same"
        )
