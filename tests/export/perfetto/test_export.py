"""The order of the file, and its format by name."""

from __future__ import annotations

import gzip

import pytest

from perfkit.schema.finding import Finding, Rule
from tests.analysis.time.idle.traces import account_of
from tests.builders import device_step
from tests.export.perfetto.reading import exported, shown, timeline


def test_groups_are_findings_devices_and_processes():
    finding = Finding(Rule("a-rule", "performance", "for tests"), "a sentence")
    found = shown(device_step(), [finding])
    assert [track.name for track in found.tracks.values() if not track.parent] == ["Findings", "Device 0", "Process 1"]
    assert [track.name for track in found.tracks.values() if track.parent] == [
        "a rule",
        "idle, by cause",
        "queue depth, device 0",
        "layers and phases, stream 7",
        "stream 7",
        "stream 7",
        "thread 1",
    ]


@pytest.mark.parametrize("name", ["out", "out.pftrace", "out.json.txt"])
def test_any_other_name_is_protobuf(name):
    account = account_of(device_step())
    assert exported(account, name=name) == exported(account)


def test_gz_compresses_protobuf():
    account = account_of(device_step())
    assert timeline(gzip.decompress(exported(account, name="out.pftrace.gz"))) == timeline(exported(account))
