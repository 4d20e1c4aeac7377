"""Lifetimes by hand: a test states what lived from when to when, and what it was for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import ALWAYS, STILL, Kind, Lifetimes, Span
from perfkit.analysis.memory.recorded import account as accounts
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.trace.columns import MISSING


@dataclass(frozen=True)
class Piece:
    """One piece of memory; moments are numbers of events."""

    size: int
    begin: int = ALWAYS
    end: int = STILL
    kind: Kind = Kind.UNKNOWN
    scope: str = ""
    phase: Phase = Phase.OTHER
    operator: str = ""
    place: str = ""
    step: int = MISSING
    device: int = 0


def lives_of(*pieces: Piece, spans: Sequence[Span] = (), time: Sequence[int] = ()) -> Lifetimes:
    """The columns. Without times, as many events as there must be."""
    texts = [_coded([getattr(one, name) for one in pieces]) for name in ("scope", "operator", "place")]
    (scope, scopes), (operator, operators), (stack, places) = texts
    moments = {moment for one in pieces for moment in (one.begin, one.end)} - {ALWAYS, STILL}
    last = max([0, *moments, *(span.last for span in spans)])

    def column(name: str, kind: Any) -> Any:
        return np.array([getattr(one, name) for one in pieces], kind)

    return Lifetimes(
        device=column("device", np.int32), address=np.arange(len(pieces), dtype=np.int64) * 4096,
        size=column("size", np.int64), begin=column("begin", np.int64), end=column("end", np.int64),
        kind=column("kind", np.uint8), scope=scope, phase=column("phase", np.uint8), step=column("step", np.int32),
        operator=operator, stack=stack, scopes=scopes, operators=operators,
        time=np.array(time, np.int64) if time else np.arange(last + 1), places=places,
        spans=tuple(spans),
    )  # fmt: skip


def account_of(*pieces: Piece, spans: Sequence[Span] = (), **more: Any) -> MemoryAccount:
    """The same, at its peak."""
    lives = lives_of(*pieces, spans=spans)
    return MemoryAccount(lives, accounts.the_peak(lives), **more)


def span(first: int, last: int, phase: Phase, step: int = 0) -> Span:
    return Span(0, first, last, phase, step)


def _coded(texts: list[str]) -> tuple[Any, tuple[str, ...]]:
    names = tuple(dict.fromkeys(filter(None, texts)))
    return np.array([names.index(text) if text else MISSING for text in texts], np.int32), names
