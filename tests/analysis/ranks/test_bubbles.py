"""Waiting of pipelines' stages, of which it is known how long they wait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perfkit.analysis.ranks import job
from perfkit.analysis.ranks.bubbles import Pipeline, Received, pipeline_of, waits_for
from tests.analysis import columns
from tests.analysis.ranks.pipelines import BACKWARD, FORWARD, Recorder, write
from tests.analysis.ranks.synthetic import Planted
from tests.analysis.ranks.test_job import sides


@pytest.mark.parametrize("recorder", ["gloo", "nccl", "batched"])
@pytest.mark.parametrize(("stages", "early"), [(2, 0), (4, 0), (4, 700)])
def test_a_rank_waits_for_what_its_stage_has_to(tmp_path: Path, stages: int, early: int, recorder: Recorder):
    """GIVEN equal stages. Stage k waits k forward passes until the first message is there, and n - 1 - k forward and
    backward passes between the two; from the second step on it also waits for the backward passes of the k stages
    before it. To begin to receive early, beside work, changes nothing"""
    judged = job.judged(sides(write(tmp_path, stages, recorder, microbatches=4, early=early)))
    [table] = judged.tables
    both = 1000 * (FORWARD + BACKWARD)
    rows = table.frame.set_index(["rank", "step"])
    for rank in range(stages):
        later = rows.loc[rank].iloc[1:]
        assert rows.loc[(rank, "ProfilerStep#0"), "wait_ns"] == rank * FORWARD * 1000 + (stages - 1 - rank) * both
        assert later["wait_ns"].tolist() == [(stages - 1) * both] * 2
        assert later["first_wait_ns"].tolist() == [rank * both if rank else (stages - 1) * both] * 2
        assert (later["step_ns"] - later["wait_ns"]).tolist() == [4 * both] * 2  # the account closes: the rest is work
    ideal = (stages - 1) / (4 + stages - 1)
    assert rows["ideal_share"].tolist() == [ideal] * 3 * stages
    assert rows["microbatches"].tolist() == [4] * 3 * stages
    assert rows.drop("ProfilerStep#0", level="step")["wait_share"].tolist() == pytest.approx([ideal] * 2 * stages)
    columns.assert_regular(table)


def test_the_sentence_names_the_best_that_the_microbatches_give(tmp_path: Path):
    """GIVEN 4 stages, 4 microbatches, 1 ms forward, 2 ms backward. The last two of three steps wait 9 ms of 21 ms, step
    0 waits 9, 7, 5 and 3 ms of 21, 19, 17 and 15 ms. Mean: (24 + 72) / 12 = 8 ms of (72 + 168) / 12 = 20 ms"""
    [finding] = job.judged(sides(write(tmp_path, 4))).findings
    assert finding.what == (
        "pipeline of 4 stages: ranks wait for other stages for 8.000 ms of a step of 20.00 ms (40%, mean of 4 ranks);"
        " 3/7 = 43% is what 4 microbatches give at best without interleaving"
    )
    assert finding.advice.startswith("more microbatches a step (8 give 3/11 = 27% at best)")
    assert (finding.rule.id, finding.cost.ns, finding.cost.share) == ("pipeline-bubbles", 8_000_000, pytest.approx(0.4))
    assert dict(finding.evidence[0].key) == {"rank": 0, "step": "ProfilerStep#0"}


def test_some_ranks_of_a_pipeline_wait_and_nothing_is_said_of_the_best(tmp_path: Path):
    judged = job.judged(sides(write(tmp_path, 4, kept=2)))
    [finding] = judged.findings
    assert finding.what.startswith("ranks wait for messages of single ranks for ")
    assert finding.what.endswith("mean of 2 of 4 ranks)")
    assert judged.tables[0].frame["ideal_share"].isna().all()


def test_without_steps_microbatches_are_not_counted(tmp_path: Path):
    """GIVEN 2 stages for 3 steps that nothing marks: 12 receives of either. From the first message to the last"""
    paths = write(tmp_path, 2)
    for path in paths:
        path.write_text(path.read_text().replace("ProfilerStep#", "turn "))
    judged = job.judged(sides(paths))
    assert judged.tables[0].frame["step"].tolist() == ["outside steps"] * 2
    assert judged.tables[0].frame["microbatches"].isna().all()
    assert " a step" not in judged.findings[0].what
    assert "at best" not in judged.findings[0].what


def test_a_message_of_another_shape_leaves_microbatches_uncounted(tmp_path: Path):
    """GIVEN rank 1 of 2 receives a message of another shape once in the first of 3 steps"""
    paths = write(tmp_path, 2)
    paths[1].write_text(paths[1].read_text().replace("[[8, 8]]", "[[2, 8]]", 1))
    [table] = job.judged(sides(paths)).tables
    assert table.frame["microbatches"].isna().tolist() == [False] * 3 + [True, False, False]
    assert table.frame["ideal_share"].isna().all()


def test_ranks_that_only_meet_in_collectives_have_no_bubbles(tmp_path: Path):
    judged = job.judged(sides(Planted(2, slow={(1, "layer", 0): 9_000_000}).write(tmp_path, {"layer": 500_000})))
    assert "bubbles" not in [table.name for table in judged.tables]
    assert "pipeline-bubbles" not in [finding.rule.id for finding in judged.findings]


def test_waiting_in_a_collective_does_not_count_twice(tmp_path: Path):
    """GIVEN 4 stages, a reduction at each of 3 steps' ends: stage k comes k backward passes before stage 0, and the
    transfer takes 0.5 ms. Meanwhile stage k waits for the next step's first message, k passes in either direction"""
    judged = job.judged(sides(write(tmp_path, 4, "nccl", reduce=500)))
    tables = {table.name: table.frame for table in judged.tables}
    assert [finding.rule.id for finding in judged.findings] == ["job", "pipeline-bubbles"]
    assert judged.findings[0].what.startswith("4 ranks: 3 collectives match;")
    assert tables["ranks"]["wait_ns"].tolist() == [3 * 1000 * rank * BACKWARD for rank in range(4)]
    assert tables["ranks"]["cost_ns"].isna().all()  # stage 0 is last by the pipeline's order, and is no straggler
    assert tables["ranks"]["transfer_ns"].tolist() == [3 * 500_000] * 4
    later = tables["bubbles"].query("step == 'ProfilerStep#1' and rank > 0")
    assert later["first_wait_ns"].tolist() == [1000 * (rank * FORWARD - 500) for rank in (1, 2, 3)]


def test_a_send_is_no_collective_with_another_ranks_send(tmp_path: Path):
    """GIVEN two stages: as many sends of one as of the other, and as many receives"""
    assert [len(side.calls) for side in sides(write(tmp_path, 2))] == [0, 0]


def test_a_wait_is_from_the_last_work_to_the_message():
    """GIVEN work from 10 to 20 and from 30 to 40: messages there at 8, 15 (in work), 27, 28 (with another), 40, 50"""
    start, end = np.array([2, 5, 12, 25, 35, 45]), np.array([8, 15, 27, 28, 40, 50])
    waits = waits_for(start, end, np.array([10, 30]), np.array([20, 40]))
    assert [part.tolist() for part in waits] == [[2, 20, 45], [8, 28, 50]]


def _received(sources: tuple[int, ...], microbatches: list[int]) -> Received:
    frame = pd.DataFrame({"receives": [len(sources) * max(one, 1) for one in microbatches]})
    return Received(frame.assign(microbatches=microbatches), sources)


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ([_received((1,), [8]), _received((0, 2), [8]), _received((1,), [8])], Pipeline(3, 8)),
        ([_received((), [-1]), _received((0,), [8]), _received((1,), [8])], Pipeline(3, 8)),
        ([_received((2,), [8]), _received((0,), [8]), _received((1,), [8])], None),
        ([_received((1,), [8]), _received((0, 2), [8]), _received((1,), [4])], None),
        ([_received((1,), [8]), _received((0, 2), [-1]), _received((1,), [8])], None),
        ([_received((-1,), [8]), _received((0, 2), [8]), _received((1,), [8])], None),
        ([_received((1,), [8]), _received((0,), [8])], None),
    ],
    ids=["training", "forward alone", "a ring", "numbers differ", "shapes differ", "no source", "a rank is missing"],
)
def test_a_pipeline_is_a_chain_of_all_ranks(received: list[Received], expected: Pipeline | None):
    assert pipeline_of(range(len(received)), 3, received) == expected


PROGRAM = """
import sys, time, torch, torch.distributed as dist
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
from torch.profiler import ProfilerActivity, profile, record_function
rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
stage = PipelineStage(torch.nn.Linear(64, 64), rank, 2, torch.device("cpu"))
pipeline = ScheduleGPipe(stage, 4, loss_fn=torch.nn.functional.mse_loss)
batch = torch.ones(32, 64)
def step():
    if rank == 0:
        time.sleep(0.1)
        pipeline.step(batch)
    else:
        pipeline.step(target=batch)
step()
with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
    for number in range(3):
        with record_function(f"ProfilerStep#{number}"):
            step()
recorded.export_chrome_trace(f"{folder}/rank{rank}.json")
"""


@pytest.mark.slow
def test_pytorchs_pipeline_is_read_and_its_microbatches_are_counted(tmp_path: Path):
    """GIVEN two processes with gloo, 4 microbatches; the first stage sleeps for 100 ms before each step"""
    processes = [subprocess.Popen([sys.executable, "-c", PROGRAM, str(rank), str(tmp_path)]) for rank in (0, 1)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    judged = job.judged(sides([tmp_path / "rank0.json", tmp_path / "rank1.json"]))
    [table], [finding] = judged.tables, judged.findings
    assert table.frame["microbatches"].tolist() == [4] * 6
    assert finding.what.startswith("pipeline of 2 stages: ranks wait for other stages for ")
    assert "; 1/5 = 20% is what 4 microbatches give at best" in finding.what
    second = table.frame.query("rank == 1")
    assert second["first_wait_ns"].iloc[1:].min() > 80e6  # the first step may begin while the other rank sleeps
    assert (table.frame["wait_ns"] <= table.frame["step_ns"]).all()
