"""What backward runs again: checkpoints of both kinds, inside each other, of modules and of plain functions."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import pytest

from tests.truth.models import Block, Checkpointed, Named, Net, Pair, PlainFunction, unnamed
from tests.truth.recording import STEPS, record_training
from tests.truth.verdict import assert_right, opened_scopes
from tests.truth.witness import Naming, Witness

NAMINGS: tuple[Naming, ...] = ("perfkit", "module", "annotation")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad"),
    pytest.mark.parametrize("naming", NAMINGS),
]
kinds = pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])


def _witness(naming: Naming) -> tuple[Witness, Named]:
    witness = Witness(naming)
    return witness, witness.scope if naming == "annotation" else unnamed


@kinds
def test_checkpoint(naming: Naming, reentrant: bool, tmp_path: Path) -> None:
    """GIVEN every layer checkpointed WHEN attributed THEN what runs again is recompute, under its forward name"""
    witness, named = _witness(naming)
    model = Net(*(Checkpointed(Block(named), reentrant=reentrant) for _ in range(2)))
    recording = record_training(model, tmp_path, witness=witness)
    assert_right(recording)
    if naming == "perfkit":
        assert opened_scopes(recording) == witness.calls
        assert witness.calls["layers.1.inner.mlp.0", "recompute"] == STEPS


@kinds
@pytest.mark.parametrize("outer", [False, True], ids=["in-non-reentrant", "in-reentrant"])
def test_checkpoint_in_a_checkpoint(naming: Naming, reentrant: bool, outer: bool, tmp_path: Path) -> None:
    """GIVEN a checkpoint inside a checkpoint, of either kind WHEN attributed THEN even what runs thrice is right"""
    witness, named = _witness(naming)
    first, second = (Checkpointed(Block(named), reentrant=reentrant) for _ in range(2))
    recording = record_training(Net(Checkpointed(Pair(first, second), reentrant=outer)), tmp_path, witness=witness)
    assert_right(recording)
    if naming == "perfkit":
        assert opened_scopes(recording) == witness.calls
        assert witness.calls["layers.0.inner.first.inner", "recompute"] == 2 * STEPS


@kinds
def test_checkpoint_of_a_plain_function(naming: Naming, reentrant: bool, tmp_path: Path) -> None:
    """GIVEN a checkpointed function that is no module WHEN attributed THEN its own operations are its caller's"""
    witness, _ = _witness(naming)
    model = Net(PlainFunction(reentrant=reentrant), PlainFunction(reentrant=reentrant))
    for index, layer in enumerate(model.layers):
        cast(PlainFunction, layer).named = _claim(witness, naming, index)
    assert_right(record_training(model, tmp_path, witness=witness))


def _claim(witness: Witness, naming: Naming, layer: int) -> Named:
    def own(name: str) -> AbstractContextManager[None]:
        path = {"perfkit": f"layers.{layer}", "module": f"Net_0/PlainFunction_{layer}", "annotation": name}[naming]
        return witness.scope(path)

    return own
