"""The fast attribution against the slow reference, which was written from the rules alone: equal rows, everywhere."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from perfkit.analysis.attribution.attribute import Attribution, Phase, attribute
from perfkit.analysis.time.account import Selection, account_for
from perfkit.trace.columns import Trace
from perfkit.trace.load import load
from tests.corpus import corpus_file
from tests.reference import attribution_reference as reference
from tests.reference import random_traces

RANDOM_TRACES = 500
CORPUS = (
    "v100_training",
    "a100_ddp_training",
    "mi300_resnet_checkpoint_training",
    "h100_qwen_0.5b_inference",
    "h100_bert_small_inference",
    "mi300_compiled_triton",
    "a100_small_iterations",
    "cpu_only",
    "cpu_dlrm_old_format",
    "cpu_rank_non_gpu",
    "sampled_rank0",
    "particle_transformer",
    "b300_moe_decode",
    "mi300_moe_decode",
    "sglang_decode_capture",
    "sglang_decode_replay",
)

Rows = dict[tuple[str, str], tuple[int, int]]


def fast_rows(trace: Trace, found: Attribution) -> Rows:
    """(scope, phase) -> (total, exclusive), without empty rows."""
    account = account_for(trace, found, Selection(steps="all"))
    scopes = [account.scopes[index] for index in account.scope]
    rows: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for scope, phase, total, exclusive in zip(
        scopes, account.phase, account.total.tolist(), account.exclusive.tolist(), strict=True
    ):
        row = rows[scope, Phase(phase).label]
        row[0] += total
        row[1] += exclusive
    return {key: (row[0], row[1]) for key, row in rows.items() if any(row)}


def slow_rows(result: reference.Result) -> Rows:
    return {key: (row[1], row[2]) for key, row in result.rows.items() if row[1] or row[2]}


def test_random_traces_give_equal_rows(tmp_path: Path) -> None:
    """GIVEN random traces WHEN both implementations attribute them THEN every row is equal, and the links too"""
    differing = []
    file = tmp_path / "random.json"
    for seed in range(RANDOM_TRACES):
        events = random_traces.generate(seed)
        random_traces.write_json(events, file)
        slow = reference.attribute(reference.load(file))
        trace = load(file)
        found = attribute(trace)
        linked = int((found.links.target[found.links.numbered] >= 0).sum())
        if fast_rows(trace, found) != slow_rows(slow) or linked != slow.nodes_linked:
            differing.append(seed)
    assert not differing


@pytest.mark.corpus
@pytest.mark.parametrize("name", CORPUS)
def test_real_traces_give_equal_rows(name: str) -> None:
    """GIVEN a real trace WHEN both implementations attribute it THEN every row is equal"""
    file = corpus_file(f"kineto/{name}.json.gz")
    trace = load(file)
    assert fast_rows(trace, attribute(trace)) == slow_rows(reference.attribute(reference.load(file)))
