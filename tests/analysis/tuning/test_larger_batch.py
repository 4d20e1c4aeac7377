"""Batches of so many times the rows: which are tried, and which fit."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit import RunConfig
from perfkit.analysis.memory import model
from perfkit.analysis.tuning import larger_batch
from perfkit.schema.config import of_own
from perfkit.schema.record import MemoryPeaks
from tests.runs import quick, saved


def own(*arguments: str) -> RunConfig:
    named = {"model": "package:build", "input": "package:batch", "input_arg": arguments}
    return of_own(named, device="cpu").resolved("cpu")


def always(*_: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        (quick(batch_size=3), [({"batch_size": 6}, 2), ({"batch_size": 12}, 4)]),
        (own("width=8", "batch=5"), [({"input_arg": "batch=10"}, 2), ({"input_arg": "batch=20"}, 4)]),
        (own("batch_size=1"), [({"input_arg": "batch_size=2"}, 2), ({"input_arg": "batch_size=4"}, 4)]),
    ],
    ids=["transformer", "batch", "batch_size"],
)
def test_twice_and_four_times_the_rows_are_tried(config, fields):
    assert larger_batch.advised(config, always) == (fields, [])


@pytest.mark.parametrize("arguments", [(), ("width=8",), ("batch=many",), ("batch=4.0",)])
def test_a_batch_that_only_its_callable_knows_is_not_tried(arguments):
    """GIVEN an input whose arguments do not say how many rows it makes THEN it is asked for one that does"""
    found, [(what, why)] = larger_batch.advised(own(*arguments), always)
    assert (found, what) == ([], "a larger batch")
    assert "--input-arg batch=4" in why


def test_what_does_not_fit_is_named():
    """GIVEN room for twice the batch THEN four times is said not to fit"""
    found, left = larger_batch.advised(quick(batch_size=3), lambda _, times: times == 2)
    assert [times for _, times in found] == [2]
    assert left == [("a batch of 12", "not known to fit into the device's memory")]


def test_the_formula_says_what_fits():
    """GIVEN a device whose memory is 1.2 times what twice the batch needs, with its context THEN four times has none"""
    config = RunConfig.of(model_size="small", device="cuda").resolved("cuda")
    need = model.estimate(config.changed(batch_size=8))
    assert need.beside is not None
    memory = int(1.2 * (need.allocated + need.beside.context))
    run, unknown = (
        saved(environment=dataclasses.replace(saved().environment, device_memory=one)) for one in (memory, None)
    )
    assert [larger_batch.has_room(run, config, times) for times in (2, 4)] == [True, False]
    assert not larger_batch.has_room(unknown, config, 2)


@pytest.mark.parametrize(("peak", "fits"), [(45, True), (46, False), (None, False)])
def test_the_peak_of_an_own_model_grows_at_most_as_its_batch(peak, fits):
    """GIVEN a peak in tensors on a device of 100 bytes THEN twice that may be nine tenths"""
    run = saved(
        environment=dataclasses.replace(saved().environment, device_memory=100), memory=MemoryPeaks(allocated=peak)
    )
    assert larger_batch.has_room(run, own("batch=4"), 2) is fits


@pytest.mark.parametrize(
    ("config", "changed", "times"),
    [
        (quick(batch_size=4), quick(batch_size=12), 3),
        (quick(batch_size=4), quick(batch_size=4, seed=1), 1),
        (quick(batch_size=4), quick(batch_size=6), None),
        (quick(batch_size=4), quick(batch_size=2), None),
        (own("rows=4"), own("rows=8"), 2),
        (own("rows=4"), own("rows=4"), 1),
        (own("rows=4", "width=2"), own("rows=8", "width=4"), None),
        (own("rows=4"), own("rows=many"), None),
        (own(), own("rows=4"), None),
        (own("wide=True"), own("wide=1"), 1),
    ],
)  # fmt: skip
def test_whole_numbers_of_times_are_known(config, changed, times):
    assert larger_batch.times_of(config, changed) == times
