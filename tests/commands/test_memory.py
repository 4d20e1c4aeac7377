"""`perfkit memory`, and what other commands do with recordings of memory, as a user meets them."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from perfkit import cli
from perfkit.analysis.memory import model as memory_model
from perfkit.schema import record as records
from perfkit.schema.memory import notes as memory_notes
from perfkit.schema.memory.notes import Held, Inventory, MemoryNotes
from perfkit.schema.record import MemoryPeaks
from tests import runs
from tests.analysis.memory.recorded import training
from tests.analysis.memory.recorded.snapshots import block, event, pickled
from tests.commands.test_analyze import trace
from tests.corpus import corpus_file

__all__ = ["trace"]

PEAK = 10_308
"""Of the step made by hand (tests/analysis/memory/recorded/test_tables.py): in the optimizer, at its last temporary."""


def perfkit(capsys, *arguments: Any) -> tuple[int, str, str]:
    code = cli.main([str(argument) for argument in arguments])
    return (code, *capsys.readouterr())


def document(capsys, *arguments: Any) -> dict[str, Any]:
    code, out, _ = perfkit(capsys, "memory", *arguments, "--format", "json")
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture
def snapshot(tmp_path) -> Path:
    path = tmp_path / "step.pickle"
    path.write_bytes(pickle.dumps(training.step()))
    return path


def run_folder(path: Path, *, with_memory: bool = True) -> Path:
    """A run on a CPU whose trace says 300 B made in forward and freed in backward, beside 1000 B of parameters."""
    path.mkdir()

    def event(name: str, start: int, **more: Any) -> dict[str, Any]:
        return {"ph": "X", "cat": "user_annotation", "name": name, "pid": 1, "tid": 1, "ts": start, "args": {}} | more

    def memory(start: int, size: int) -> dict[str, Any]:
        said = {"Addr": 7, "Bytes": size, "Device Type": 0, "Device Id": -1, "Total Allocated": 0}
        return event("[memory]", start, ph="i", s="t", cat="cpu_instant_event", args=said)

    events = [
        event("perfkit.step::0", 0, dur=100), event("perfkit.phase::forward", 1, dur=39),
        event("perfkit::mlp", 5, dur=20), event("aten::mm", 6, dur=10, cat="cpu_op"), memory(8, 300),
        event("perfkit.phase::backward", 50, dur=40), memory(60, -300),
    ]  # fmt: skip
    (path / "a.pt.trace.json").write_text(json.dumps({"traceEvents": events, "profile_memory": 1}))
    artifacts = {"trace": "a.pt.trace.json"} | ({"memory": memory_notes.FILE} if with_memory else {})
    records.save(runs.saved(artifacts=artifacts), path)
    held = (Held(address=99, size=1000, kind="parameters", name="mlp.weight", scope="mlp"),)
    memory_notes.save(MemoryNotes(inventories=(Inventory(step=0, moment="before", held=held),)), path)
    return path


# --- what it shows -------------------------------------------------------------------------------------------------


def test_the_answer_first_then_the_tables(snapshot, capsys):
    code, out, err = perfkit(capsys, "memory", snapshot)
    assert (code, err) == (0, "")
    assert out.startswith("peak 10.1 KiB in optimizer at ")
    for title in ("The peak of each phase", "By kind", "The largest at the peak", "What blocks keep for backward"):
        assert title in out


def test_json_has_the_peak_and_rows_that_add_up_to_it(snapshot, capsys):
    found = document(capsys, snapshot)
    assert found["summary"]["peak_bytes"] == PEAK
    assert found["summary"]["rounding_bytes"] >= 0
    assert found["summary"]["reserved_bytes"] is not None
    assert sum(row["bytes"] for row in found["tables"]["peak"]["rows"]) == PEAK
    assert {"kind", "scope", "bytes"} <= set(found["tables"]["peak"]["rows"][0])
    assert found["tables"]["largest"]["rows"]


@pytest.mark.parametrize("packing", ["gz", "zip"])
def test_it_is_unpacked_where_it_is_packed(snapshot, packing, tmp_path, capsys):
    packed = tmp_path / f"step.pickle.{packing}"
    if packing == "gz":
        packed.write_bytes(gzip.compress(snapshot.read_bytes()))
    else:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(snapshot, "step.pickle")
    assert document(capsys, packed)["summary"]["peak_bytes"] == PEAK


def test_another_moment(snapshot, capsys):
    """GIVEN --at step:0 THEN it is that step's peak; a moment that there is not is one line."""
    assert document(capsys, snapshot, "--at", "step:0")["summary"]["at_bytes"] == PEAK
    code, _, err = perfkit(capsys, "memory", snapshot, "--at", "noon")
    assert code == 2
    assert err == "perfkit: --at noon: not a moment; write peak, 12.5ms or step:3\n"


def test_one_table_a_file_and_a_picture(snapshot, tmp_path, capsys):
    page, picture, viewer = (tmp_path / name for name in ("memory.html", "memory_timeline.svg", "viewer.pickle"))
    flags = ("--table", "kinds", "-o", page, "--plot", picture, "--export-viewer", viewer)
    code, out, err = perfkit(capsys, "memory", snapshot, *flags)
    assert code == 0
    assert "By kind" in out
    assert "The largest" not in out
    assert "memory-timeline" in page.read_text()
    assert b"<svg" in picture.read_bytes()
    assert err == f"wrote {viewer}: drop it on https://pytorch.org/memory_viz\n"
    assert document(capsys, viewer)["summary"]["peak_bytes"] == PEAK
    assert perfkit(capsys, "memory", snapshot, "-o", tmp_path / "m.csv", "--table", "peak")[0] == 0
    assert (tmp_path / "m.csv").read_text().startswith("kind,scope,bytes")


def test_several_devices_the_highest_first(tmp_path, capsys):
    path = tmp_path / "two.pickle"
    path.write_bytes(pickle.dumps(pickled([event("alloc", 0, 10)], [event("alloc", 0, 30)])))
    found = document(capsys, path)
    assert (found["summary"]["device"], found["summary"]["peak_bytes"]) == ("cuda:1", 30)
    assert [row["device"] for row in found["tables"]["devices"]["rows"]] == ["cuda:1", "cuda:0"]


def test_a_run_by_its_folder(tmp_path, capsys):
    """GIVEN a run on a CPU THEN 1000 B of parameters and 300 of activations at the peak, which its notes tell."""
    found = document(capsys, run_folder(tmp_path / "run"))
    assert found["summary"]["kinds"] == {"parameters": 1000, "activations": 300}
    assert found["summary"]["reserved_bytes"] is None
    assert any(finding["rule"] == "residual-stream" for finding in found["findings"])


# --- what is none ----------------------------------------------------------------------------------------------------


class Command:
    """What a pickle of it would run."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_pickle_that_would_run_something_runs_nothing(tmp_path, capsys):
    """GIVEN a gadget, packed or not, WHEN any command reads it THEN one line, and nothing has run"""
    ran = tmp_path / "ran"
    path, packed = tmp_path / "evil.pickle", tmp_path / "evil"
    path.write_bytes(pickle.dumps({"segments": Command(f"touch {ran}")}))
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for arguments in (("memory", path), ("memory", packed), ("analyze", path), ("compare", path, packed)):
        code, out, err = perfkit(capsys, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
    assert not ran.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "x.pickle"), (b"no pickle at all\n", "x.pickle"), (pickle.dumps([1, 2]), "not a snapshot"),
     (pickle.dumps(training.step())[:-40], "x.pickle")],
)  # fmt: skip
def test_what_is_no_snapshot_is_one_line(content, said, tmp_path, capsys):
    path = tmp_path / "x.pickle"
    path.write_bytes(content)
    code, out, err = perfkit(capsys, "memory", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_what_cannot_work_says_what_to_do(trace, tmp_path, capsys):
    plain = tmp_path / "plain"
    plain.mkdir()
    records.save(runs.saved(), plain)
    for arguments, said in (
        ((), "name one snapshot, run or trace"),
        ((trace,), "has no allocations in it: record it with profile_memory=True"),
        ((plain,), "plain has no recording of memory: record it with perfkit run --profiler memory"),
        ((plain / "record.json",), f"name its folder, {plain}"),
        ((tmp_path / "none.pickle",), "does not exist"),
        ((trace, plain), "perfkit compare takes two"),
    ):
        code, out, err = perfkit(capsys, "memory", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert said in err


# --- other commands --------------------------------------------------------------------------------------------------


def test_two_snapshots_are_compared_by_their_peaks(snapshot, tmp_path, capsys):
    """GIVEN B with 1000 B more that live throughout THEN it is so much higher, and says of what kind"""
    raw = training.step()
    raw["segments"][0]["blocks"].append(block(900, 1000))
    other = tmp_path / "other.pickle"
    other.write_bytes(pickle.dumps(raw))
    code, out, err = perfkit(capsys, "compare", snapshot, other)
    assert (code, err) == (0, "")
    assert out.startswith("B's peak is 1000 B (9.70%) higher than A's: 11.0 KiB in optimizer")
    code, out, _ = perfkit(capsys, "compare", snapshot, other, "--format", "json")
    assert json.loads(out)["summary"]["difference_bytes"] == 1000
    refused = (
        ((snapshot, snapshot), "named for both sides"),
        ((snapshot, other, "--fail-on", "slower:2%"), "needs step times"),
    )
    for flags, said in refused:
        code, _, err = perfkit(capsys, "compare", *flags)
        assert code == 2
        assert said in err


def test_a_snapshot_is_not_compared_with_anything_else(snapshot, trace, capsys):
    for pair in ((snapshot, trace), (trace, snapshot)):
        code, _, err = perfkit(capsys, "compare", *pair)
        assert code == 2
        assert "is a recording of memory and" in err


def test_two_runs_that_recorded_memory_are_compared_by_it(tmp_path, capsys):
    code, out, _ = perfkit(capsys, "compare", run_folder(tmp_path / "a"), run_folder(tmp_path / "b"))
    assert code == 0
    assert out.startswith("A and B have the same peak, 1.3 KiB in forward of mlp")


def test_layers_of_a_run_have_memory_beside_time(tmp_path, capsys):
    """GIVEN a run that recorded memory THEN its rows of layers add up to the peak; others have no such column"""
    code, out, _ = perfkit(capsys, "analyze", run_folder(tmp_path / "run"), "--table", "groups", "--format", "json")
    assert code == 0
    rows = json.loads(out)["tables"]["groups"]["rows"]
    assert sum(row["peak_bytes"] for row in rows) == 1300
    assert sum(row["saved_bytes"] for row in rows) == 300
    plain = run_folder(tmp_path / "plain", with_memory=False)
    code, out, _ = perfkit(capsys, "analyze", plain, "--table", "groups", "--format", "json")
    assert "peak_bytes" not in json.loads(out)["tables"]["groups"]["rows"][0]


def test_a_page_has_the_timeline(snapshot, tmp_path, capsys):
    for source in (snapshot, run_folder(tmp_path / "run")):
        file = tmp_path / "page.html"
        code, _, err = perfkit(capsys, "report", source, "-o", file)
        assert code == 0, err
        assert "Memory timeline" in file.read_text()


def test_analyze_shows_a_snapshot_too(snapshot, capsys):
    code, out, _ = perfkit(capsys, "analyze", snapshot)
    assert code == 0
    assert out.startswith("peak 10.1 KiB in optimizer")


# --- real ones -------------------------------------------------------------------------------------------------------


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["medium_512_training", "llama_2024_format"])
def test_real_snapshots_have_the_peak_of_a_plain_replay(name, capsys):
    """Replayed here from the file's own events: see `summary.peak_bytes` in docs/memory_snapshots.md."""
    path = corpus_file(f"memory/{name}.pickle.gz")
    found = document(capsys, path)
    assert found["summary"]["peak_bytes"] == replayed(pickle.loads(gzip.decompress(path.read_bytes())))
    assert sum(row["bytes"] for row in found["tables"]["peak"]["rows"]) == found["summary"]["peak_bytes"]


def replayed(raw: dict[str, Any]) -> int:
    """The largest peak of all devices, one event after the other."""
    peaks = []
    for device, events in enumerate(raw["device_traces"]):
        live: dict[int, int] = {}
        before: dict[int, int] = {}
        seen: set[int] = set()
        for one in events:
            if one["action"] == "alloc":
                seen.add(one["addr"])
            elif one["action"] == "free_completed" and one["addr"] not in seen:
                before.setdefault(one["addr"], one["size"])
        for segment in raw["segments"]:
            address = segment["address"]
            for held in segment["blocks"]:
                at = held.get("address", address)
                address += held["size"]
                if segment["device"] == device and held["state"] != "inactive" and at not in seen:
                    before[at] = held["requested_size"]
        used = peak = sum(before.values())
        for one in events:
            if one["action"] == "alloc":
                live[one["addr"]] = one["size"]
                used += one["size"]
            elif one["action"] == "free_completed":
                used -= live.pop(one["addr"], before.pop(one["addr"], 0))
            peak = max(peak, used)
        peaks.append(peak)
    return max(peaks)


def test_the_formula_stands_beside_what_a_run_recorded(tmp_path, capsys):
    """GIVEN a run of tiny WHEN its peak is shown THEN a row a kind, that adds up to both; at another moment none."""
    run = run_folder(tmp_path / "run")
    rows = document(capsys, run)["tables"]["predicted"]["rows"]
    assert sum(row["measured_bytes"] for row in rows) == 1300
    assert {row["kind"]: row["measured_bytes"] for row in rows if row["measured_bytes"]} == {
        "parameters": 1000, "activations": 300,
    }  # fmt: skip
    assert sum(row["predicted_bytes"] for row in rows) == memory_model.estimate(runs.saved().config).peak
    assert all(row["why"] for row in rows if abs(row["difference_bytes"]) > 2)
    assert "predicted" not in document(capsys, run, "--at", "52us")["tables"]


# --- timelines of torch.profiler -----------------------------------------------------------------------------------


@pytest.fixture
def timeline(tmp_path) -> Path:
    path = tmp_path / "timeline.json.gz"
    row = [0, 300, 0, 0, 0, 700, 0, 0, 0]
    path.write_bytes(gzip.compress(json.dumps([[10, 20], [[0] * 9, row]]).encode()))
    return path


def test_a_timeline_of_the_profiler_has_a_peak_by_its_kinds(capsys, timeline):
    # WHEN
    found = document(capsys, timeline)

    # THEN
    assert found["summary"]["peak_bytes"] == 1000
    assert [(row["kind"], row["bytes"]) for row in found["tables"]["kinds"]["rows"]] == [
        ("activations", 700), ("parameters", 300)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "flags", [("--at", "3ms"), ("--plot", "memory_timeline"), ("-o", "p.html"), ("--export-viewer", "v.pickle")]
)
def test_what_a_timeline_cannot_give_is_refused_in_one_line(capsys, timeline, tmp_path, monkeypatch, flags):
    # GIVEN
    monkeypatch.chdir(tmp_path)

    # WHEN
    code, out, err = perfkit(capsys, "memory", timeline, *flags)

    # THEN
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "needs a snapshot or a run" in err


def test_notes_of_a_run_reach_the_snapshot_that_it_recorded(tmp_path, capsys):
    """GIVEN what a run on a GPU leaves: a snapshot, and notes that name the first parameter THEN its scope is told."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "memory.pickle").write_bytes(pickle.dumps(training.step()))
    held = (Held(address=1, size=1000, kind="parameters", name="words.weight", scope="words"),)
    memory_notes.save(MemoryNotes(inventories=(Inventory(step=0, moment="before", held=held),)), folder)
    records.save(runs.saved(artifacts={"snapshot": "memory.pickle", "memory": memory_notes.FILE}), folder)
    rows = document(capsys, folder)["tables"]["peak"]["rows"]
    assert ("parameters", "words", 1000) in [(row["kind"], row["scope"], row["bytes"]) for row in rows]


def test_of_a_job_there_are_the_peaks_of_its_ranks(tmp_path, capsys, monkeypatch):
    """GIVEN two ranks that recorded their memory WHEN their folder is named THEN a row each, and which to name"""
    monkeypatch.chdir(tmp_path)
    for rank, size in enumerate((1000, 3000)):
        folder = Path(f"job/rank_{rank}")
        folder.mkdir(parents=True)
        records.save(runs.saved(memory=MemoryPeaks(resident=size), artifacts={"memory": "memory.json"}), folder)
    found = document(capsys, "job")
    assert [(row["rank"], row["resident_bytes"]) for row in found["tables"]["rank_results"]["rows"]] == [
        (0, 1000), (1, 3000),
    ]  # fmt: skip
    assert "name one of them: job/rank_0, job/rank_1" in perfkit(capsys, "memory", "job")[1]
    code, out, err = perfkit(capsys, "memory", "job", "--at", "3ms")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "job has the peaks of 2 ranks: name one of them" in err
