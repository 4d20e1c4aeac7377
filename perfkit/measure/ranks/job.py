"""One record for a job of several ranks: each measures into a folder of its own, and rank 0 writes what all did."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from perfkit import signals
from perfkit.measure.ranks.session import Session
from perfkit.schema import record as records
from perfkit.schema.own_files import RECORD_FILE
from perfkit.schema.record import Failure, RankResult, RunRecord, rank_result

_FOLDER = "folder"


def folder_of(session: Session, make: Callable[[], Path]) -> Path:
    """The job's folder, which rank 0 makes and all others hear of."""
    if not session.place.is_first:
        return Path(session.hear([_FOLDER])[0].decode())
    folder = make()
    session.tell(_FOLDER, str(folder.absolute()).encode())
    return folder


def measure(session: Session, folder: Path, run: Callable[[Path], RunRecord]) -> RunRecord:
    """Have this rank measure in its own folder; the job's record from rank 0, from any other rank its own.

    A rank's own record is there until the job's is saved: rank 0 removes those of the ranks that it has heard of.
    """
    rank, ranks = session.place.rank, session.place.ranks
    own = _own(folder, rank)
    own.mkdir(parents=True, exist_ok=True)
    with signals.held():  # the steps are interrupted all the same; what follows them is not
        try:
            saved = run(own)
        except BaseException as error:
            session.fail(_told(error))
            raise
        first = session.fail(saved.failure.message) if saved.failure else None
        if rank:
            session.tell(str(rank), msgspec.json.encode(rank_result(rank, saved, _own(folder, rank).name)))
            return saved
        heard = session.hear([str(other) for other in range(1, ranks)])
        others = [msgspec.json.decode(said, type=RankResult) for said in heard]
        whole = joined(saved, others, first or session.failed())
        records.save(whole, folder)
        for one in (0, *(other.rank for other in others)):
            (_own(folder, one) / RECORD_FILE).unlink(missing_ok=True)
            with suppress(OSError):
                _own(folder, one).rmdir()  # fails if there is a trace
        return whole


def joined(first: RunRecord, others: Sequence[RankResult], failed: tuple[int, str] | None) -> RunRecord:
    """A job's record, of what its first rank saved in its own folder and what the others say.

    failed: the rank that failed first and why, where one did; others fail because of it.
    """
    artifacts = rank_result(0, first, _own(Path(), 0).name).artifacts
    whole = dataclasses.replace(first, ranks=tuple(others), artifacts=artifacts)
    if failed is None or failed[0] == 0:
        return whole
    rank, why = failed
    said = next((one for one in others if one.rank == rank), None)
    failure = (said.failure if said else None) or Failure(phase=f"rank {rank}", message=why)
    failure = dataclasses.replace(failure, message=f"rank {rank}: {failure.message}")
    return dataclasses.replace(whole, status=said.status if said else "interrupted", failure=failure)


def _own(folder: Path, rank: int) -> Path:
    return folder / f"rank{rank}"


def _told(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
