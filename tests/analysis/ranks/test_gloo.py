"""Two processes with gloo, of which one is slow on purpose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from perfkit.analysis.ranks import job
from tests.analysis.ranks.test_job import sides
from tests.reference.test_ranks import assert_equal_files

PROGRAM = """
import sys, time, torch, torch.distributed as dist
from torch.profiler import ProfilerActivity, profile, record_function
rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64))
def step():
    out = model(torch.ones(8, 64)).sum()
    if rank == 1:
        time.sleep(0.1)
    out.backward()
step()
with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
    for number in range(4):
        with record_function(f"ProfilerStep#{number}"):
            step()
recorded.export_chrome_trace(f"{folder}/rank{rank}.json")
"""


def test_gloos_collectives_are_read_and_the_slow_rank_is_named(tmp_path: Path):
    """GIVEN rank 1 sleeps for 100 ms of each step. Gradients: 64 x 64 + 64 floats; buckets may be rebuilt in step 0"""
    processes = [subprocess.Popen([sys.executable, "-c", PROGRAM, str(rank), str(tmp_path)]) for rank in (0, 1)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    paths = [tmp_path / "rank0.json", tmp_path / "rank1.json"]
    assert assert_equal_files(paths) > 0
    judged = job.judged(sides(paths))
    tables = {table.name: table.frame for table in judged.tables}
    reduced = tables["exchanges"].query("collective == 'all_reduce'").to_dict("records")
    assert [(row["message_bytes"], row["ranks"], row["count"]) for row in reduced] == [(4 * (64 * 64 + 64), 2, 4)]
    (slow,) = (finding for finding in judged.findings if finding.rule.id == "straggler")
    assert slow.where == "rank 1"
    assert slow.cost.ns is not None
    assert 50e6 < slow.cost.ns < 200e6
