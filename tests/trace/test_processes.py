"""One recording of several processes, taken apart."""

from __future__ import annotations

from pathlib import Path

from perfkit.trace.load import load
from perfkit.trace.processes import of_process, on_devices
from tests.nsys_export import NsysExport


def test_a_process_has_its_own_ranges_and_work(tmp_path: Path):
    """GIVEN process 300 on device 0, 200 on device 1, each with a range, and 100, which uses no device"""
    export = NsysExport().range("launcher", 0, 90, 100)
    for pid, device, name in ((300, 0, "a"), (200, 1, "b")):
        export.range(f"range {name}", 10, 20, pid).call("cudaLaunchKernel", 11, 12, 7, pid)
        export.kernel(f"kernel {name}", 30, 40, 7, pid, deviceId=device)
    trace = load(export.write(tmp_path / "r.sqlite"))
    assert tuple(on_devices(trace)) == (300, 200)
    own = of_process(trace, 200)
    assert own.device_names().tolist() == ["kernel b"]
    assert own.host_names().tolist() == ["range b", "cudaLaunchKernel"]
    assert len(own.flows) == 0
    assert own.facts == trace.facts
