"""Short names of every kernel of the corpus: those that a person read, and unique in each trace."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from perfkit.analysis.kernels.short_names.general import form
from perfkit.analysis.kernels.short_names.unique import short_names
from perfkit.analysis.kernels.spelling import spelling
from perfkit.trace.load import load
from tests.analysis.kernels.test_corpus import WITH_A_DEVICE
from tests.corpus import corpus_file

_READ = Path(__file__).with_name("corpus.txt")


def read_by_a_person() -> dict[str, str]:
    """Name, as `spelling` writes it -> short name."""
    read, short = {}, ""
    for line in _READ.read_text().splitlines():
        if line.startswith("    "):
            read[line.strip()] = short
        elif not line.startswith("#"):
            short = line
    return read


def test_every_kernel_of_the_corpus_is_called_what_a_person_read():
    """GIVEN all kernel names of the corpus WHEN each is shortened by itself THEN as in the table that was read"""
    read = read_by_a_person()
    assert len(read) == 609
    assert {name: form(name).text for name in read} == read


def test_all_kernels_of_the_corpus_in_one_trace_would_be_told_apart():
    """GIVEN all names in two orders WHEN shortened together THEN each has its own, the same in both; none is empty"""
    names = list(read_by_a_person())
    short = short_names(names)
    assert len(set(short.values())) == len(names)
    assert all(text.strip() for text in short.values())
    random.Random(1).shuffle(names)
    assert short_names(names) == short


@pytest.mark.corpus
@pytest.mark.parametrize("file", [*WITH_A_DEVICE, "kineto/mtia_inference.json.gz"])
def test_no_two_kernels_of_a_trace_share_a_short_name(file: str) -> None:
    """GIVEN a real trace THEN its names are in the table that was read, and what tells them apart comes behind"""
    read = read_by_a_person()
    names = {str(name) for name in load(corpus_file(file)).device_names()}
    short = short_names(names)
    assert len(set(short.values())) == len(names)
    for name in names:
        known = read.get(name) or read[spelling(name)]
        assert short[name] == known or short[name].startswith(f"{known} · ")
