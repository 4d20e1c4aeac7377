"""docs/gallery.md: the page is what scripts/gallery writes, and its pictures are there and small."""

from __future__ import annotations

import struct

import pytest

from perfkit.schema.page.pictures import OF_COMPARISONS, OF_RUNS, OF_SWEEPS, OF_TRACES, names_of
from scripts import drawn


def test_the_page_is_up_to_date():
    assert drawn.PAGE.read_text(encoding="utf-8") == drawn.page(), "scripts/gallery writes it"


@pytest.mark.parametrize("shown", drawn.GALLERY, ids=lambda shown: shown.image)
def test_a_picture_is_there_and_small(shown):
    data = (drawn.IMAGES / f"{shown.image}.png").read_bytes()
    assert len(data) <= drawn.LIMIT
    width, height = struct.unpack(">II", data[16:24])
    assert 600 <= width <= 1500
    assert height <= 1500


def test_every_picture_but_memory_is_shown():
    """GIVEN the pictures that can be named THEN each is in the gallery; those of memory are in its page"""
    every = names_of(OF_TRACES, OF_RUNS, OF_SWEEPS, OF_COMPARISONS)
    assert set(every) - {shown.picture for shown in drawn.GALLERY} == {"memory"}
