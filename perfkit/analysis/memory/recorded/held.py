"""What a run's own notes say of its memory: what is parameters, gradients, the optimizer's state, the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import ALWAYS, LABELS, STILL, Kind, Lifetimes, Span
from perfkit.schema.memory.notes import Held, Inventory, MemoryNotes
from perfkit.trace.columns import MISSING

_KINDS = {label: kind for kind, label in LABELS.items()}


def with_notes(lives: Lifetimes, notes: MemoryNotes, device: int, *, adds: bool) -> Lifetimes:
    """The same, with kind and scope of every piece that an inventory names. Pieces are found by address and moment.

    What an inventory names and no event allocated lived before the first one: with `adds`, it becomes a row. (A trace
    knows it from nowhere else; a snapshot has it among its blocks.)
    """
    found = [one for one in notes.inventories if _moment(one, lives.spans, device) is not None]
    if adds and found:
        lives = _with_older(lives, found[0], device)
    kind, scope = lives.kind.copy(), lives.scope.copy()
    scopes = {text: code for code, text in enumerate(lives.scopes)}
    rows = _Rows(lives, device)
    for inventory in found:
        moment = _moment(inventory, lives.spans, device)
        for held in inventory.held:
            row = rows.at(held.address, moment)
            if row is not None and lives.size[row] == held.size:
                kind[row] = _KINDS[held.kind]
                scope[row] = scopes.setdefault(held.scope, len(scopes)) if held.scope else MISSING
    return replace(lives, kind=kind, scope=scope, scopes=tuple(scopes))


def _moment(inventory: Inventory, spans: tuple[Span, ...], device: int) -> int | None:
    """The number of the last event before an inventory was taken; None where its step is not recorded."""
    own = [span for span in spans if span.device == device and span.step == inventory.step]
    if not own:
        return None
    if inventory.moment == "before":
        return own[0].first - 1
    if inventory.moment == "after":
        return own[-1].last
    backward = [span for span in own if span.phase == Phase.BACKWARD]
    return backward[-1].last if backward else None


class _Rows:
    """Finds pieces by address."""

    def __init__(self, lives: Lifetimes, device: int) -> None:
        here = np.flatnonzero(lives.device == device)
        order = here[np.lexsort((lives.begin[here], lives.address[here]))]
        self._lives, self._order, self._address = lives, order, lives.address[order]

    def at(self, address: int, moment: int | None) -> int | None:
        """The piece that lives at an address just after the event of this number; None for none."""
        assert moment is not None
        first, last = np.searchsorted(self._address, address, "left"), np.searchsorted(self._address, address, "right")
        rows = self._order[first:last]
        living = rows[(self._lives.begin[rows] <= moment) & (self._lives.end[rows] > moment)]
        return int(living[-1]) if len(living) else None


def _with_older(lives: Lifetimes, first: Inventory, device: int) -> Lifetimes:
    """With a row for everything in the first inventory that no event tells of."""
    rows, moment = _Rows(lives, device), _moment(first, lives.spans, device)
    older = list(_once(held for held in first.held if rows.at(held.address, moment) is None))
    number = len(older)

    def filled(value: int, like: np.ndarray) -> np.ndarray:
        return np.concatenate((np.full(number, value, like.dtype), like))

    return replace(
        lives,
        device=filled(device, lives.device),
        address=np.concatenate((np.array([held.address for held in older], np.int64), lives.address)),
        size=np.concatenate((np.array([held.size for held in older], np.int64), lives.size)),
        begin=filled(ALWAYS, lives.begin),
        end=filled(STILL, lives.end),
        kind=filled(Kind.UNKNOWN, lives.kind),
        scope=filled(MISSING, lives.scope),
        phase=filled(Phase.OTHER, lives.phase),
        step=filled(MISSING, lives.step),
        operator=filled(MISSING, lives.operator),
        stack=filled(MISSING, lives.stack),
    )


def _once(held: Iterator[Held]) -> Iterator[Held]:
    """Each address once: parameters may share a storage."""
    seen: set[int] = set()
    for one in held:
        if one.address not in seen:
            seen.add(one.address)
            yield one
