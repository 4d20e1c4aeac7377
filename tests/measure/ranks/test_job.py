"""One record for a job, of what its ranks measured."""

from __future__ import annotations

import threading
from pathlib import Path

from torch._C._distributed_c10d import HashStore

from perfkit.launch.torchrun import Place
from perfkit.measure.ranks import job
from perfkit.measure.ranks.session import Session
from perfkit.schema import record as records
from perfkit.schema.record import Failure, RankResult, RunRecord
from tests.runs import sample, saved


def result(rank: int, **changes: object) -> RankResult:
    """What rank 1 and others say."""
    fields = {"hostname": "there", "device": "cpu", "device_name": "a CPU", "status": "ok", "steps": (sample(0.03),)}
    return RankResult(rank=rank, **{**fields, **changes})  # type: ignore[arg-type]


def test_the_record_is_rank_0s_with_what_the_others_measured_beside_it():
    whole = job.joined(saved(artifacts={"trace": "x.json"}), [result(1), result(2)], None)
    assert whole.steps == saved().steps
    assert whole.artifacts == {"trace": "rank0/x.json"}
    assert [one.rank for one in whole.ranks] == [1, 2]
    assert whole.status == "ok"


def test_the_rank_that_failed_first_is_the_jobs_failure():
    """GIVEN rank 2 ran out of memory, and so rank 0 lost its connection"""
    broken = Failure(phase="measured step 2, backward", message="RuntimeError: Connection closed by peer")
    cause = Failure(phase="measured step 2, forward", message="out of memory", requested=64)
    others = [result(2, status="oom", failure=cause)]
    whole = job.joined(saved(status="interrupted", failure=broken), others, (2, "out of memory"))
    assert whole.status == "oom"
    assert whole.failure is not None
    assert (whole.failure.message, whole.failure.requested) == ("rank 2: out of memory", 64)
    assert job.joined(saved(status="oom", failure=cause), [], (0, "out of memory")).failure == cause
    unsaid = job.joined(saved(status="interrupted", failure=broken), [], (2, "ValueError: bad"))
    assert unsaid.failure is not None
    assert (unsaid.status, unsaid.failure.message) == ("interrupted", "rank 2: ValueError: bad")


def test_ranks_measure_in_folders_of_their_own_and_leave_one_record(tmp_path: Path):
    store, ended = HashStore(), {}

    def run(own: Path) -> RunRecord:
        (own / "trace.json").touch()
        measured = saved(artifacts={"trace": "trace.json"})
        records.save(measured, own)
        return measured

    def rank(number: int) -> None:
        session = Session(Place(number, 2, number, 2), store)
        folder = job.folder_of(session, lambda: tmp_path)
        ended[number] = job.measure(session, folder, run)

    threads = [threading.Thread(target=rank, args=(number,)) for number in (1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json"))
    assert files == ["rank0/trace.json", "rank1/trace.json", "record.json"]
    assert records.load(tmp_path) == ended[0]
    assert ended[0].ranks[0].artifacts == {"trace": "rank1/trace.json"}
    assert ended[1].ranks == ()
