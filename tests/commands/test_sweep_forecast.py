"""The forecast before each point of a sweep: against which memory, and when there is none."""

from __future__ import annotations

import pandas as pd
import pytest

from perfkit.commands.sweep_forecast import forecaster, report
from perfkit.schema.table import Column, Table
from tests import runs


@pytest.mark.parametrize(("memory", "available"), [(None, 2**34), (2**20, 2**20)])
def test_a_memory_that_is_named_goes_before_what_the_device_has_free(memory, available):
    """GIVEN a device with 16 GiB free WHEN a memory is named or not THEN the forecast is against that or the 16 GiB"""
    asked = []

    def find(names):
        asked.extend(names)
        return {"cpu": ("cpu", 2**34)}

    forecast = forecaster([runs.quick()], memory, find)(runs.quick())
    assert asked == ["cpu"]
    assert forecast is not None
    assert forecast.available_bytes == available


@pytest.mark.parametrize("places", [{}, {"cpu": ("cpu", None)}])
def test_without_a_device_or_its_free_memory_there_is_no_forecast(places):
    """GIVEN a device that is not there, or does not say what is free WHEN forecast THEN nothing is said"""
    assert forecaster([runs.quick()], None, lambda _: places)(runs.quick()) is None


def test_a_compiled_step_that_may_need_less_is_never_refused():
    """GIVEN 256 KiB, less than the parameters WHEN forecast THEN the plain step does not fit and the compiled may"""
    find = {"cpu": ("cpu", 2**18)}
    plain, compiled = (runs.quick(num_layers=4, compile=mode) for mode in ("off", "model"))
    forecast = forecaster([plain, compiled], None, lambda _: find)
    refused, tried = forecast(plain), forecast(compiled)
    assert refused is not None
    assert tried is not None
    assert not refused.fits
    assert tried.fits
    assert tried.suggestions == ()


@pytest.mark.parametrize(
    ("columns", "mode", "said"),
    [
        (("verdict",), "off", []),
        (("peak",), "off", ["the memory to fit into is unknown, so there is no verdict"]),
        (
            ("verdict",),
            "model",
            ["the estimate does not cover --compile: those rows show the uncompiled step, which needs more memory"],
        ),
    ],
)
def test_what_to_know_of_the_estimates(columns, mode, said):
    """GIVEN estimates with a verdict or none, of compiled steps or not WHEN reported THEN what is left out is said"""
    table = Table("estimates", "E", tuple(map(Column, columns)), pd.DataFrame({name: ["x"] for name in columns}))
    assert [finding.what for finding in report(table, [runs.quick(compile=mode)]).findings] == said
