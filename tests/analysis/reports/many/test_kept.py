"""What is kept of a file comes back as it was; what is no such file is nothing."""

from __future__ import annotations

import msgspec
import pytest

from perfkit.analysis.reports.many import kept
from perfkit.analysis.reports.many.folded import folded
from perfkit.analysis.time.trace_table import View
from tests.analysis.reports.many import jobs
from tests.analysis.reports.many.test_folded import assert_same


def made() -> bytes:
    return kept.encode(folded(jobs.trace(3), View(), size=5, rank=3))


def test_what_is_kept_comes_back_as_it_was():
    back = kept.decode(made())
    assert back is not None
    assert_same(back, folded(jobs.trace(3), View(), size=5, rank=3))


@pytest.mark.parametrize("data", [b"", b"pickle?", made()[:-9], made().replace(b"cells", b"sells")],
                         ids=["empty", "foreign", "cut", "no fold"])  # fmt: skip
def test_damage_is_nothing(data: bytes) -> None:
    assert kept.decode(data) is None


def test_another_version_and_columns_of_other_lengths_are_nothing():
    said = msgspec.msgpack.decode(made())
    assert kept.decode(msgspec.msgpack.encode({**said, "version": kept.VERSION + 1})) is None
    columns = next(iter(said["sums"].values()))["folds"]["cells"]
    columns["count"] += bytes(8)
    assert kept.decode(msgspec.msgpack.encode(said)) is None
