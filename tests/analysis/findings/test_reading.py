"""What reading a file showed: each sentence with its number, and nothing of a file that was read as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfkit.analysis.findings import reading
from perfkit.analysis.findings.reading import (
    NEGATIVE_DURATIONS,
    READING,
    REPAIRED_JSON,
    REPAIRED_RANGES,
    RESOLUTION,
    TRUNCATED_FILE,
    UNUSABLE_EVENTS,
)
from perfkit.schema.finding import NO_COST
from perfkit.trace.columns import BEGIN_END, NO_TIME, ReadFacts
from perfkit.trace.recording import Recording, Tool
from tests.builders import TraceBuilder


def test_a_file_that_was_read_as_it_is():
    assert reading.findings(TraceBuilder().build()) == []


@pytest.mark.parametrize(
    ("facts", "issue"),
    [
        (ReadFacts(remarks=("it changed", "a note")), (READING, 0, "it changed; a note")),
        (
            ReadFacts(truncated_at=2048),
            (
                TRUNCATED_FILE, 0,
                "the file ends in the middle, after 2.0 KiB; what is missing is not in the tables",
            ),
        ),
        (
            ReadFacts(repairs={"backslash": 2, "comma": 1000}),
            (REPAIRED_JSON, 0, "repaired while reading: backslash (2x), comma (1,000x)"),
        ),
        (
            ReadFacts(ignored={"kernel" + NO_TIME: 2, BEGIN_END: 1001, "ac2g": 9}),
            (
                UNUSABLE_EVENTS, 0,
                "left out of every table: 2 kernel without a usable time, 1,001 begin and end events (ph B, E)",
            ),
        ),
        (
            ReadFacts(resolution_ns=1000),
            (RESOLUTION, 0, "times are whole microseconds: kernels of a few us are off by up to 1000 ns"),
        ),
        (
            ReadFacts(negative_durations=3000),
            (NEGATIVE_DURATIONS, 0, "3,000 events end before they start; counted as 0 ns"),
        ),
    ],
)  # fmt: skip
def test_what_reading_showed(facts, issue):
    rule, _, text = issue
    [finding] = reading.findings(replace(TraceBuilder().build(), facts=facts))
    assert (finding.rule, finding.what, finding.cost) == (rule, text, NO_COST)


def test_repairs_of_an_export_are_of_ranges():
    trace = replace(TraceBuilder().build(), facts=ReadFacts(repairs={"unfinished": 1}), recording=Recording(Tool.NSYS))
    [finding] = reading.findings(trace)
    assert finding.rule is REPAIRED_RANGES
    assert finding.what == "repaired while reading: unfinished (1x)"
