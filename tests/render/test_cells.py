from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from perfkit.render import csv, latex
from perfkit.render.cells import add, cells, text
from perfkit.render.html.inline import inline
from perfkit.render.markdown import markdown
from perfkit.render.terminal import render
from perfkit.schema.printable import printable
from perfkit.schema.table import Column, Table

NS = Column("total_ns", "ns", "time")
BYTES = Column("peak_bytes", "B", "bytes")


def test_times_share_the_unit_and_the_decimals_that_fit_the_largest_and_the_smallest():
    # GIVEN
    series = pd.Series([254_123_456, 1_500_000, 4_200])

    # WHEN
    heading, texts = cells(NS, series)

    # THEN
    assert heading == "total (ms)"
    assert texts == ["254.123", "1.500", "0.004"]


@pytest.mark.parametrize(
    ("largest", "heading", "shown"),
    [
        (812, "total (ns)", "812"),
        (81_234, "total (us)", "81.23"),
        (81_234_567, "total (ms)", "81.23"),
        (81_234_567_890, "total (s)", "81.23"),
        (8_123_456_789_000, "total (s)", "8,123"),
    ],
)
def test_time_unit_follows_the_largest_value(largest, heading, shown):
    assert cells(NS, pd.Series([largest])) == (heading, [shown])


@pytest.mark.parametrize(
    ("value", "heading", "shown"),
    [
        (812, "work (FLOP)", "812"),
        (82_500, "work (kFLOP)", "82.50"),
        (2_430_976, "work (MFLOP)", "2.431"),
        (8.25e9, "work (GFLOP)", "8.250"),
        (1.55e12, "work (TFLOP)", "1.550"),
        (8.25e15, "work (PFLOP)", "8.250"),
    ],
)
def test_operations(value, heading, shown):
    assert cells(Column("flops", "FLOP", "flops", "work"), pd.Series([value])) == (heading, [shown])


def test_seconds_and_nanoseconds_look_the_same():
    # GIVEN the same times in seconds and in nanoseconds
    seconds = cells(Column("total_s", "s", "time"), pd.Series([0.0308, 0.0012]))
    nanoseconds = cells(NS, pd.Series([30_800_000, 1_200_000]))

    # THEN
    assert seconds == nanoseconds == ("total (ms)", ["30.80", "1.20"])


def test_a_smaller_unit_is_taken_where_small_values_would_vanish():
    assert cells(NS, pd.Series([1_234_567_890, 3_000])) == ("total (ms)", ["1,234.568", "0.003"])


def test_what_rounds_to_zero_is_not_shown_as_zero():
    # GIVEN a range that no unit can span
    series = pd.Series([90_000_000_000, 0, 2, -2])

    # WHEN
    _, texts = cells(NS, series)

    # THEN
    assert texts == ["90.000", "0.000", "<0.001", ">-0.001"]


def test_sums_are_written_in_the_unit_of_the_values():
    # GIVEN
    series = pd.Series([600_000, 500_000])

    # WHEN
    heading, texts = cells(NS, series, sums=[1_100_000.0, math.nan])

    # THEN
    assert heading == "total (us)"
    assert texts == ["600.0", "500.0", "1,100.0", "-"]


def test_bytes_are_binary_and_small_whole_ones_stay_bytes():
    assert cells(BYTES, pd.Series([27_400_000_000, 1_073_741_824])) == ("peak (GiB)", ["25.52", "1.00"])
    assert cells(BYTES, pd.Series([512, 0])) == ("peak (B)", ["512", "0"])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.583, 0.0124], ["58.3%", "1.2%"]),
        ([0.583, 0.0042], ["58.3%", "0.4%"]),
        ([0.0583, 0.0042], ["5.83%", "0.42%"]),  # as a share is written in a sentence: two decimals below 10%
        ([1.0, 0.0, 0.00001], ["100.0%", "0.0%", "<0.1%"]),
        ([-12.5], ["-1,250.0%"]),
    ],
)
def test_shares_are_percent(values, expected):
    assert cells(Column("share", "1", "share"), pd.Series(values)) == ("share", expected)


def test_counts_have_separators_and_means_of_counts_decimals():
    calls = Column("calls", kind="count")
    assert cells(calls, pd.Series([1234567, 8])) == ("calls", ["1,234,567", "8"])
    assert cells(calls, pd.Series([1234.5, 8.0])) == ("calls", ["1,234.50", "8"])


def test_a_mean_that_is_a_whole_number_of_times_reads_as_one():
    """GIVEN means of a step, by division WHEN shown THEN 24 calls in 3 steps are 8, one in 3 is 0.33, one in 900 few"""
    means = pd.Series([24, 1, 1, 0]) / pd.Series([3, 3, 900, 3])
    assert cells(Column("calls", kind="count"), means, [0.1 + 0.2 + 0.7])[1] == ["8", "0.33", "<0.01", "0", "1"]


def test_rates_say_per_second_once():
    rate = pd.Series([107_123.4, 98_000.0])
    texts = ["107,123", "98,000"]
    assert cells(Column("tokens_per_s", "/s", "rate"), rate) == ("tokens/s", texts)
    assert cells(Column("tokens", "/s", "rate", title="throughput"), rate) == ("throughput (/s)", texts)


def test_huge_rates_take_a_prefix():
    assert cells(Column("x", "/s", "rate", "matmul FLOP/s"), pd.Series([1.23e14])) == (
        "matmul TFLOP/s",
        ["123.0"],
    )
    assert cells(Column("x", "/s", "rate", "bandwidth"), pd.Series([2.5e9])) == ("bandwidth (G/s)", ["2.500"])


@pytest.mark.parametrize(
    ("title", "value", "heading", "shown"),
    [
        ("bus B/s", 71_428_571, "bus MB/s", "71.43"),
        ("B/s", 14_525.6, "kB/s", "14.53"),
        ("FLOP/s", 858_022_812, "MFLOP/s", "858.0"),
        ("launches/s", 858_022, "launches/s", "858,022"),
    ],
)
def test_bytes_and_operations_a_second_take_every_prefix(title, value, heading, shown):
    """GIVEN rates below 1e9 WHEN shown THEN those of B and FLOP are in k or M, those of things are counted"""
    assert cells(Column("x", "/s", "rate", title), pd.Series([value])) == (heading, [shown])


def test_every_writer_for_people_scales_alike_and_scripts_get_the_value():
    """GIVEN 1.55e12 FLOP at 71.4 MB/s WHEN written THEN 1.550 TFLOP and 71.43 MB/s, in CSV as it is"""
    columns = (Column("flops", "FLOP", "flops", "work"), Column("bytes_per_s", "/s", "rate", "B/s"))
    table = Table("work", "Work", columns, pd.DataFrame({"flops": [1.55e12], "bytes_per_s": [71_428_571.0]}))
    for written in (render(table, color=False), markdown(table), inline(table, 5), latex.latex(table)):
        assert [each for each in ("work (TFLOP)", "MB/s", "1.550", "71.43") if each not in written] == []
    assert csv.csv(table).splitlines()[1] == "1550000000000.0,71428571.0"


def test_a_rate_without_seconds_is_a_plain_number():
    assert cells(Column("speedup", "1", "rate"), pd.Series([1.25, 0.9])) == ("speedup", ["1.250", "0.900"])


def test_parameters():
    series = pd.Series([128_625_408, 3_406_809_600, 512, None])
    assert cells(Column("size", "params", "params"), series) == ("size", ["128.6M", "3.407B", "512", "-"])


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([1500.0, math.nan]),
        pd.Series([1500, None], dtype="Int64"),
        pd.Series([1500, None], dtype=object),
        pd.Series([np.int64(1500), pd.NA], dtype=object),
    ],
)
def test_missing_numbers_are_dashes_in_any_dtype(series):
    assert cells(NS, series) == ("total (us)", ["1.500", "-"])
    assert cells(Column("n", kind="count"), series) == ("n", ["1,500", "-"])


def test_infinity_is_named():
    assert cells(Column("gain", "1", "rate"), pd.Series([math.inf, -math.inf, 2.0]))[1] == [
        "inf",
        "-inf",
        "2",
    ]


def test_what_is_above_what_is_told_says_so():
    """GIVEN a column that tells no more than 1000%, or 100 WHEN a value is above or endless THEN it is above that"""
    share, ratio = Column("x", "1", "share", endless=10.0), Column("x", "", "rate", endless=100.0)
    assert cells(share, pd.Series([0.25, 12.0, math.inf, math.nan]))[1] == ["25.0%", ">1,000%", ">1,000%", "-"]
    assert cells(ratio, pd.Series([2.0, 101.0]))[1] == ["2", ">100"]


@pytest.mark.parametrize("series", [pd.Series([], dtype=float), pd.Series([math.nan]), pd.Series([0])])
def test_nothing_to_scale_by(series):
    heading, texts = cells(NS, series)
    assert heading == ("total (ns)" if series.notna().all() and len(series) else "total")
    assert texts == {0: [], 1: ["0"] if series.notna().all() else ["-"]}[len(series)]


def test_a_title_wins_over_the_name():
    assert cells(Column("total_ns", "ns", "time", "device time"), pd.Series([5]))[0] == "device time (ns)"


def test_a_kind_without_a_fitting_unit_is_a_mistake_in_the_table():
    with pytest.raises(ValueError, match="column total: kind time with unit ''"):
        cells(Column("total", kind="time"), pd.Series([1]))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (math.nan, "-"), (pd.NA, "-"), (True, "yes"), (3, "3"), ("", ""), ("a b", "a b")],
)
def test_text_values(value, expected):
    assert text(value) == expected


def test_what_a_terminal_obeys_is_spelled_out():
    assert printable("\x1b[31m\n\r\t\x00\x9b\u202e\u2028\ud800") == r"\x1b[31m\n\r\t\x00\x9b\u202e\u2028\ud800"
    assert printable("日本語 é ∑ 😀") == "日本語 é ∑ 😀"


def test_sums_beyond_a_float_are_infinite_and_of_both_infinities_nothing():
    assert add([1e308, 1e308]) == math.inf
    assert math.isnan(add([math.inf, -math.inf]))
    assert add([1e308, -1e308, 0.1]) == 0.1
