"""Cards by the names that people give them."""

from __future__ import annotations

import pytest

from perfkit.analysis.explained import card
from perfkit.errors import UsageError

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "name", "gib"),
    [
        ("RTX 4090", "GeForce RTX 4090", 24),
        ("RTX 4090 Laptop GPU", "GeForce RTX 4090 Laptop GPU", 16),
        ("nvidia geforce rtx 4090 laptop gpu", "GeForce RTX 4090 Laptop GPU", 16),
        ("H100 80GB HBM3", "H100 80GB HBM3", 80),
        ("H100 SXM", "H100 80GB HBM3", 80),
    ],
)
def test_the_fewest_other_words_are_meant(text: str, name: str, gib: int):
    # WHEN
    found = card.named(text)

    # THEN
    assert (found.name, found.memory) == (name, gib * GIB)
    assert found.peak("fp32")


def test_memory_that_is_said_counts():
    assert card.named("RTX 4090", 20 * GIB).memory == 20 * GIB


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("H100", "--device H100: name one of H100 80GB HBM3, H100 NVL, H100 PCIe"),
        ("RTX 4091", "no such card is known (did you mean rtx 4090?)"),
        ("", "no such card"),
    ],
)
def test_no_card_is_guessed(text: str, says: str):
    with pytest.raises(UsageError) as refused:
        card.named(text)
    assert says in str(refused.value)


def test_a_card_that_is_not_known_has_no_peak():
    assert card.Card().peak("fp32") is None
