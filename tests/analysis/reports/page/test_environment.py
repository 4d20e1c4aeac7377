"""Where it ran, and by which command."""

from __future__ import annotations

from dataclasses import replace

from perfkit.analysis.reports.page import environment
from tests.builders import device_step, saying
from tests.runs import ENVIRONMENT, saved


def test_the_command_is_the_one_that_was_typed():
    """GIVEN arguments with a blank in one THEN a line that a shell reads as them"""
    where = replace(ENVIRONMENT, argv=("run", "--name", "a b"), variables={"OMP_NUM_THREADS": "2"})
    section = environment.of_record(saved(environment=where))
    assert section.takeaway == "the command was: perfkit run --name 'a b'"
    rows: dict[str, str] = dict(section.tables[0].frame.itertuples(index=False))
    assert rows["OMP_NUM_THREADS"] == "2"
    assert rows["device memory"] == "16.0 GiB"
    assert "cudnn" not in rows  # not known
    assert "--d-model" in set(section.tables[1].frame["what"])


def test_a_record_of_python_m_perfkit_run_that_lacks_the_command_is_of_run():
    """GIVEN flags alone, as older versions wrote them WHEN told THEN a line that works: `perfkit --seed 1` does not"""
    section = environment.of_record(saved(environment=replace(ENVIRONMENT, argv=("--seed", "1"))))
    assert section.takeaway == "the command was: perfkit run --seed 1"


def test_a_recording_says_what_its_file_says():
    trace = saying(device_step().build(), rank=3)
    rows: dict[str, str] = dict(environment.of_recording(trace).tables[0].frame.itertuples(index=False))
    assert (rows["file"], rows["rank"]) == ("built by a test", "3")
