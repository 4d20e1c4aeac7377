"""The processes of one recording: nsys puts all that a command started into one file, where Kineto writes one each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from perfkit.trace.columns import MISSING, AutogradFlows, DeviceEvents, HostRanges, Trace

_Columns = TypeVar("_Columns", HostRanges, DeviceEvents, AutogradFlows)


def on_devices(trace: Trace) -> Sequence[int]:
    """Numbers of the processes that used a device, by their first device and then by number: the order of ranks.

    torchrun gives the n-th device of a machine to its n-th process.
    """
    known = trace.device.process != MISSING
    process, device = trace.device.process[known], trace.device.device[known]
    order = np.lexsort((process, device))
    return tuple(dict.fromkeys(process[order].tolist()))


def of_process(trace: Trace, process: int) -> Trace:
    """What one process did: its threads' ranges, and the device work that it launched. Facts of the file stay."""
    own = np.array([thread.pid == process for thread in trace.threads], dtype=bool)
    return dataclasses.replace(
        trace,
        host=_rows(trace.host, own[trace.host.thread]),
        device=_rows(trace.device, trace.device.process == process),
        flows=_rows(trace.flows, own[trace.flows.thread]),
        origin=None,
    )


def _rows(columns: _Columns, chosen: npt.NDArray[np.bool_]) -> _Columns:
    values = {field.name: getattr(columns, field.name)[chosen] for field in dataclasses.fields(columns)}
    return dataclasses.replace(columns, **values)
