"""Wall time of real traces, beside what other tools print for the same files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.time.account import Account, account_for
from perfkit.analysis.time.idle import causes
from perfkit.analysis.time.idle.kinds import Cause, Kind
from perfkit.analysis.time.idle.queue import QUEUE_TIMES
from perfkit.trace.load import load
from tests.corpus import corpus_file

pytestmark = pytest.mark.corpus


def account_of(name: str) -> Account:
    trace = load(corpus_file(name))
    return account_for(trace, attribute(trace))


def idle_in(account: Account, start: int, end: int) -> dict[str, int]:
    """Idle time in an interval, by cause, ns; of the first device, with its gaps before it all told."""
    pieces = account.wall.pieces
    held = np.minimum(pieces.end, end) - np.maximum(pieces.start, start)
    sums = np.bincount(pieces.cause, weights=np.maximum(held, 0), minlength=len(Cause)).astype(int)
    return {Cause(cause).label: ns for cause, ns in enumerate(sums.tolist()) if ns}


def span(account: Account) -> tuple[int, int]:
    return int(account.trace.device.start.min()), int(account.trace.device.end.max())


def busy(account: Account) -> dict[str, int]:
    rows = account.wall.busy
    sums = np.bincount(rows.kind, weights=rows.ns, minlength=3).astype(int).tolist()
    return {Kind(kind).label: ns for kind, ns in enumerate(sums) if ns}


def tracelens(name: str) -> dict[str, float]:
    """What TraceLens prints, in ns."""
    path: Path = corpus_file(f"expected/{name}.tracelens_gpu_timeline.csv")
    with path.open() as lines:
        return {row["type"]: float(row["time ms"]) * 1e6 for row in csv.DictReader(lines)}


def test_a100_ddp_training_is_starved():
    """Idle 503.05 ms of the device's span, 76.2% (HolisticTraceAnalysis), and 39.53 ms of communication are exposed.

    The table has 6,674,953 ns more idle time: the first step begins 6,092,115 ns before the first kernel, and the last
    one ends 582,838 ns after the last kernel. HTA looks at nothing outside its first and last kernel. 120,619 ns lie
    between the steps.
    """
    account = account_of("kineto/a100_ddp_training.json.gz")
    first, last = span(account)
    found = idle_in(account, first, last)
    assert sum(found.values()) == 503_050_991
    assert round(sum(found.values()) / (last - first), 3) == 0.762
    assert found["launch-starved"] == 500_930_238
    assert found["between-steps"] == 120_619
    assert busy(account) == {"compute": 116_046_564, "communication": 39_529_327, "copy": 1_924_123}
    steps = account.attribution.steps
    outside = first - steps[0].start + steps[-1].end - last
    assert sum(idle_in(account, 0, 1 << 62).values()) == 503_050_991 + outside == 509_725_944
    assert next(iter(causes.costs(account.partial))) is Cause.LAUNCH_STARVED


def test_v100_training_waits_for_the_device():
    """HTA calls 83% of the idle time "kernel wait": work was queued, and less than 30 us passed.

    Of the 7,574,738 ns between the first and the last kernel 6,227,613, or 82.2%, are in front of work that was queued
    when they began: the same, as HTA rounds times to whole microseconds. 79,039 of them follow a stream wait. The rest
    of the table's idle time, 3,488,423 ns, is between the begin of the first step and its first kernel. Up to
    1,022 launches are queued, and 88.4 ms of work run after the last step.
    """
    account = account_of("kineto/v100_training.json.gz")
    found = idle_in(account, *span(account))
    assert found == {"launch-starved": 1_347_125, "dependency": 79_039, "unknown": 6_148_574}
    assert round((found["unknown"] + found["dependency"]) / sum(found.values()), 3) == 0.822
    assert sum(idle_in(account, 0, 1 << 62).values()) == 7_574_738 + 3_488_423
    assert busy(account) == {"compute": 468_739_037, "copy": 3_715_404}
    assert int(account.partial.of(QUEUE_TIMES)["depth_max"].max()) == 1_022
    later = account.wall.busy.step == NONE
    assert int(account.wall.busy.ns[later].sum()) == 88_400_271


def test_h100_bert_as_tracelens_has_it():
    """All five times within 1 ns, which a time in float microseconds cannot hold.

    Its total is the span of the device, ours the step, which begins 458,536 ns before the first kernel and ends 59,753
    ns after the last: the table has that much more idle time.
    """
    account, theirs = account_of("kineto/h100_bert_small_inference.json.gz"), tracelens("h100_bert_small_inference")
    first, last = span(account)
    ours = {"total_time": last - first, "idle_time": sum(idle_in(account, first, last).values())}
    ours |= {"computation_time": busy(account)["compute"], "exposed_memcpy_time": busy(account)["copy"]}
    assert {name: round(theirs[name]) - ns for name, ns in ours.items()} == pytest.approx(dict.fromkeys(ours, 0), abs=1)
    assert theirs["exposed_comm_time"] == 0 == busy(account).get("communication", 0)
    assert sum(idle_in(account, 0, 1 << 62).values()) == 3_598_388 + 458_536 + 59_753
    assert idle_in(account, first, last) == {"launch-starved": 3_453_683, "blocking": 144_705}


def test_h100_qwen_as_tracelens_has_it():
    """From the first launched kernel on, all times within 11 ns of TraceLens', which computes in float microseconds.

    The 509 events before have no launch in the file. TraceLens leaves them out; they are 13,741,827 ns of compute in
    the table, with 1,018,586 ns of idle time between them.
    """
    account, theirs = account_of("kineto/h100_qwen_0.5b_inference.json.gz"), tracelens("h100_qwen_0.5b_inference")
    events, launch = account.trace.device, account.attribution.events.launch
    first, last = int(events.start[launch >= 0].min()), span(account)[1]
    idle = sum(idle_in(account, first, last).values())
    assert last - first == round(theirs["total_time"])
    assert idle == pytest.approx(theirs["idle_time"], abs=11)
    assert last - first - idle == pytest.approx(theirs["busy_time"], abs=11)
    assert busy(account)["compute"] - 13_741_827 == pytest.approx(theirs["computation_time"], abs=11)
    assert busy(account)["copy"] == pytest.approx(theirs["exposed_memcpy_time"], abs=1)
    assert sum(idle_in(account, *span(account)).values()) - idle == 1_018_586


def test_resnet50_without_workers_waits_for_its_loader():
    """Its DataLoader without workers takes about 30% of the steps, and 209.87 of their 917.73 ms the device is idle for
    it: the rest of the 30% runs beside queued work. With four workers nothing is idle for the loader."""
    account = account_of("kineto/resnet50_torch18_workers0.json.gz")
    cost = causes.cost_of(account.partial, Cause.DATA_LOADING)
    assert cost.ns == round(209_870_000 / 6)
    assert next(iter(causes.costs(account.partial))) is Cause.DATA_LOADING
    other = account_of("kineto/resnet50_torch19_workers4.json.gz")
    assert causes.cost_of(other.partial, Cause.DATA_LOADING).ns == 0


def test_waits_in_an_nsys_export():
    """`nsys stats` has 8 cudaStreamSynchronize of 856,929,451 ns, and two `item` of 428 ms; the device is busy in them.

    Only 1.46 ms of idle time, on both devices, follow from waits.
    """
    rows: Any = causes.waits(account_of("nsys/h100_2gpu_1s.sqlite").partial)
    assert set(rows["call"]) == {"cudaStreamSynchronize"}
    assert (rows["count"].sum(), rows["total_ns"].sum()) == (8, 856_929_451)
    item = rows[rows["operator"] == "aten::item"]
    assert item["total_ns"].sum() > 2 * 428_000_000
    assert int(rows["idle_ns"].sum()) == 1_456_229
