"""The plain reference against the golden numbers of the corpus, and against small traces worked out by hand.

The golden numbers are in nanoseconds. An earlier prototype computed them, and they were checked there against
independent tools (TraceLens, HTA); see docs/attribution.md.
"""

from __future__ import annotations

import copy
import functools
import itertools
import os
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from . import attribution_reference as ref
from . import random_traces

Event = dict[str, Any]


@functools.cache
def corpus_events(name: str) -> list[Event]:
    return ref.load(Path(os.environ["PERFKIT_TRACE_CORPUS"]) / "kineto" / f"{name}.json.gz")


@functools.cache
def corpus_result(name: str) -> ref.Result:
    return ref.attribute(corpus_events(name))


needs_corpus = pytest.mark.skipif(not os.environ.get("PERFKIT_TRACE_CORPUS"), reason="PERFKIT_TRACE_CORPUS is not set")


def total(gpu: list[ref.Gpu]) -> int:
    return sum(g.end - g.ts for g in gpu)


# -- the corpus ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Golden:
    gpu: int
    kernels: int
    gpu_ns: int
    kernel_ns: int
    busy_ns: int
    no_launch_ns: int
    phases: dict[str, int]
    nodes: int
    flows: int
    backward_share: dict[str, float]
    scoped_percent: float
    top: list[tuple[str, int]]


V100 = "v100_training"
A100 = "a100_ddp_training"
RESNET = "mi300_resnet_checkpoint_training"
QWEN = "h100_qwen_0.5b_inference"
BERT = "h100_bert_small_inference"
TRITON = "mi300_compiled_triton"

GOLDEN = {
    V100: Golden(
        gpu=6095,
        kernels=4350,
        gpu_ns=472_454_441,
        kernel_ns=468_153_602,
        busy_ns=472_454_441,
        no_launch_ns=0,
        phases={"forward": 150_546_916, "backward": 316_374_723, "optimizer": 5_532_802},
        nodes=905,
        flows=905,
        backward_share={"seq": 98.36, "accumulate": 0.8, "none": 0.85},
        scoped_percent=99.43,
        top=[("## forward ##", 464_060_501), ("## optimizer ##", 5_532_802), ("## backward ##", 186_591)],
    ),
    A100: Golden(
        gpu=3774,
        kernels=2700,
        gpu_ns=165_185_838,
        kernel_ns=162_532_340,
        busy_ns=157_500_014,
        no_launch_ns=0,
        phases={
            "communication": 46_876_493,
            "forward": 38_706_904,
            "backward": 77_524_163,
            "optimizer": 2_078_278,
        },
        nodes=543,
        flows=543,
        backward_share={"seq": 96.36, "accumulate": 1.67, "none": 1.97},
        scoped_percent=98.71,
        top=[("## forward ##", 114_610_099), ("## optimizer ##", 2_078_278), ("## backward ##", 90_334)],
    ),
    RESNET: Golden(
        gpu=3653,
        kernels=2995,
        gpu_ns=100_230_072,
        kernel_ns=97_255_826,
        busy_ns=84_002_056,
        no_launch_ns=31_834_405,
        phases={
            "communication": 71_516_523,
            "unlaunched": 7_518_192,
            "forward": 6_490_117,
            "backward": 10_390_729,
            "recompute": 4_209_958,
            "optimizer": 90_756,
            "other": 13_797,
        },
        nodes=213,
        flows=213,
        backward_share={"seq": 87.56, "accumulate": 4.43, "none": 8.0},
        scoped_percent=95.24,
        top=[("BatchNorm2d_0", 1_707_768), ("DistributedDataParallel_0", 818_850), ("Conv2d_19", 698_642)],
    ),
    QWEN: Golden(
        gpu=1707,
        kernels=1465,
        gpu_ns=45_647_300,
        kernel_ns=45_432_698,
        busy_ns=45_647_300,
        no_launch_ns=13_741_827,
        phases={"unlaunched": 13_741_827, "forward": 31_905_473},
        nodes=0,
        flows=0,
        backward_share={},
        scoped_percent=100.0,
        top=[("Qwen2Attention_13", 525_533), ("Qwen2Attention_0", 521_792), ("Qwen2Attention_18", 520_926)],
    ),
    BERT: Golden(
        gpu=61,
        kernels=60,
        gpu_ns=309_437,
        kernel_ns=307_197,
        busy_ns=309_437,
        no_launch_ns=0,
        phases={"forward": 309_437},
        nodes=0,
        flows=0,
        backward_share={},
        scoped_percent=100.0,
        top=[("Linear_25", 41_280), ("BertSdpaSelfAttention_0", 10_080), ("BertSdpaSelfAttention_1", 9_120)],
    ),
    TRITON: Golden(
        gpu=12,
        kernels=12,
        gpu_ns=12_549_021,
        kernel_ns=12_549_021,
        busy_ns=12_549_021,
        no_launch_ns=0,
        phases={"other": 12_549_021},
        nodes=0,
        flows=0,
        backward_share={},
        scoped_percent=0.0,
        top=[],
    ),
}
ALL_CORPUS = [*GOLDEN, "a100_small_iterations", "cpu_only"]
WITH_BACKWARD = [V100, A100, RESNET]


@pytest.mark.corpus
@needs_corpus
@pytest.mark.parametrize("name", GOLDEN)
class TestGolden:
    def test_sums(self, name: str) -> None:
        golden, gpu = GOLDEN[name], corpus_result(name).gpu
        kernels = [g for g in gpu if g.kind == "kernel"]
        assert (len(gpu), len(kernels)) == (golden.gpu, golden.kernels)
        assert (total(gpu), total(kernels)) == (golden.gpu_ns, golden.kernel_ns)
        assert ref.busy_ns(gpu) == golden.busy_ns
        assert total([g for g in gpu if g.launch is None]) == golden.no_launch_ns

    def test_phases(self, name: str) -> None:
        result = corpus_result(name)
        phases = {phase: result.phase_total(phase) for _, phase in result.rows}
        assert phases == GOLDEN[name].phases

    def test_nodes(self, name: str) -> None:
        golden, result = GOLDEN[name], corpus_result(name)
        assert (result.nodes_linked, result.nodes_total) == (golden.nodes, golden.nodes)
        assert result.flows == golden.flows

    def test_backward_share(self, name: str) -> None:
        result = corpus_result(name)
        by_how = result.how_by_phase.items()  # `scope` is what stands in `## backward ##` outside every node
        backward = {how: ns for (phase, how), (_, ns) in by_how if phase == "backward" and how != "scope"}
        share = {how: 100 * ns / sum(backward.values()) for how, ns in backward.items()}
        assert share == pytest.approx(GOLDEN[name].backward_share, abs=0.0051)

    def test_scoped_share(self, name: str) -> None:
        launched = [g for g in corpus_result(name).gpu if g.launch is not None and not g.is_communication]
        scoped = [g for g in launched if g.scope != ref.UNATTRIBUTED and g.how != "optimizer"]  # as it was counted
        assert 100 * total(scoped) / total(launched) == pytest.approx(GOLDEN[name].scoped_percent, abs=0.0051)

    def test_top_scopes(self, name: str) -> None:
        assert corpus_result(name).top_scopes(3) == GOLDEN[name].top


@pytest.mark.corpus
@needs_corpus
@pytest.mark.parametrize("name", ALL_CORPUS)
class TestInvariants:
    def test_rows_add_up(self, name: str) -> None:
        result = corpus_result(name)
        rows = result.rows.values()
        if result.cpu_only:
            assert sum(row[1] for row in rows) == result.wall_ns > 0
            return
        assert sum(row[0] for row in rows) == len(result.gpu)
        assert sum(row[1] for row in rows) == total(result.gpu)
        assert sum(row[2] for row in rows) == ref.busy_ns(result.gpu)
        assert all(0 <= row[2] <= row[1] for row in rows)

    def test_external_id_names_the_innermost_op(self, name: str) -> None:
        """An oracle for the forest: torch itself records the op in which a launch happened."""
        if name == "a100_small_iterations":
            pytest.skip("an old trace: External id is the correlation")
        checked = 0
        for event in corpus_result(name).gpu:
            if event.launch is not None and event.launch.external_id is not None:
                op = next(h for h in ref.chain(event.leaf) if h.cat == "cpu_op")
                assert op.external_id == event.launch.external_id
                checked += 1
        expected = {V100: 6095, A100: 3774, RESNET: 2685, QWEN: 1198}
        assert checked == expected.get(name, checked)


@pytest.mark.corpus
@needs_corpus
@pytest.mark.parametrize("name", WITH_BACKWARD)
class TestLinks:
    def test_links_equal_the_flows(self, name: str) -> None:
        result = corpus_result(name)
        flows = [e for e in corpus_events(name) if e.get("cat") == "fwdbwd"]
        starts = {e["id"]: (e["pid"], e["tid"], ref.to_ns(e["ts"])) for e in flows if e["ph"] == "s"}
        ends = {(e["pid"], e["tid"], ref.to_ns(e["ts"])): e["id"] for e in flows if e["ph"] == "f"}
        seen = 0
        for node in result.host:
            flow = ends.get((*node.thread, node.ts))
            if flow is not None and node.is_node:
                assert node.link is not None
                assert (*node.link.thread, node.link.ts) == starts[flow]
                seen += 1
        assert seen == len(starts)

    def test_same_rows_without_the_flows(self, name: str) -> None:
        events = [e for e in corpus_events(name) if e.get("cat") != "fwdbwd"]
        assert ref.attribute(events).rows == corpus_result(name).rows

    def test_same_rows_when_the_outer_node_has_no_sequence_number(self, name: str) -> None:
        """Rule 5: how a record_function in a hook changes evaluate_function."""
        events = copy.deepcopy(corpus_events(name))
        for event in events:
            if event["name"].startswith(ref.EVALUATE_PREFIX):
                event["args"].pop("Sequence number", None)
                event["args"].pop("Fwd thread id", None)
        assert ref.attribute(events).rows == corpus_result(name).rows


@pytest.mark.corpus
@needs_corpus
class TestDetails:
    @pytest.mark.parametrize(
        ("scope", "forward", "recompute", "backward"),
        [
            ("BatchNorm2d_0", 497.6, 0, 1210.1),
            ("Conv2d_19", 161.0, 161.5, 376.2),
            ("Conv2d_18", 163.1, 161.2, 323.4),
            ("BatchNorm2d_2", 185.1, 166.9, 271.7),
        ],
    )
    def test_resnet_layers(self, scope: str, forward: float, recompute: float, backward: float) -> None:
        found = {
            phase: row[1] / 1000
            for (path, phase), row in corpus_result(RESNET).rows.items()
            if path.rsplit("/", 1)[-1] == scope
        }
        expected = {"forward": forward, "recompute": recompute, "backward": backward}
        assert found == pytest.approx({k: v for k, v in expected.items() if v}, abs=0.051)

    def test_resnet_recompute(self) -> None:
        recompute = [g for g in corpus_result(RESNET).gpu if g.phase == "recompute"]
        assert (len(recompute), total(recompute)) == (615, 4_209_958)
        assert total([g for g in recompute if g.kind == "memset"]) == 87_735

    def test_resnet_recompute_goes_to_the_forward_path(self) -> None:
        rows = corpus_result(RESNET).rows
        forward = {path for path, phase in rows if phase == "forward"}
        assert {path for path, phase in rows if phase == "recompute"} <= forward

    @pytest.mark.parametrize(("name", "count"), [(V100, 805), (A100, 483), (RESNET, 186)])
    def test_unattributed_backward_is_the_ddp_finaliser(self, name: str, count: int) -> None:
        lost = [g for g in corpus_result(name).gpu if g.phase == "backward" and g.how == "none"]
        for event in lost:
            names = [h.name for h in ref.chain(event.leaf)]
            assert any(n.startswith("torch.distributed.ddp.reducer::copy_bucket_to_grad") for n in names)
        assert len(lost) == count

    def test_exclusive_classes(self) -> None:
        """Compute, exposed communication and exposed copies equal those of TraceLens and HTA."""
        by_class = {
            name: [sum(g.exclusive_ns for g in corpus_result(name).gpu if g.priority == p) for p in (0, 1, 2)]
            for name in (A100, V100)
        }
        assert by_class == {
            A100: [116_046_564, 39_529_327, 1_924_123],
            V100: [468_739_037, 0, 3_715_404],
        }

    def test_exclusive_classes_of_what_tracelens_keeps(self) -> None:
        """TraceLens drops events without a launch, and hipMemset, which has no flow event."""
        kept = [copy.copy(g) for g in corpus_result(RESNET).gpu if g.launch is not None and g.kind != "memset"]
        ref.set_exclusive(kept)
        by_class = [sum(g.exclusive_ns for g in kept if g.priority == p) for p in (0, 1, 2)]
        assert by_class == [19_234_094, 35_283_137, 1_583_624]

    @pytest.mark.parametrize(("name", "compute"), [(V100, 468_153_602), (A100, 115_655_847)])
    def test_compute_as_hta_counts_it(self, name: str, compute: int) -> None:
        gpu = corpus_result(name).gpu
        kernels = [g for g in gpu if g.kind == "kernel" and not g.is_communication]
        assert ref.busy_ns(kernels) == compute

    def test_idle_as_hta_counts_it(self) -> None:
        gpu = corpus_result(A100).gpu
        assert max(g.end for g in gpu) - min(g.ts for g in gpu) - ref.busy_ns(gpu) == 503_050_991

    @pytest.mark.parametrize("name", [V100, A100, RESNET, QWEN])
    @pytest.mark.parametrize("independent", [True, False])
    def test_whole_microseconds_move_nothing(self, name: str, independent: bool) -> None:
        """Floored start and duration (the hard case), or floored start and end (what Kineto used to do)."""
        floored = []
        for event in corpus_events(name):
            new = dict(event)
            if "ts" in event:
                new["ts"] = ref.to_ns(event["ts"]) // 1000
            if "dur" in event:
                end = (ref.to_ns(event["ts"]) + ref.to_ns(event["dur"])) // 1000
                new["dur"] = ref.to_ns(event["dur"]) // 1000 if independent else end - new["ts"]
            floored.append(new)
        before, after = corpus_result(name), ref.attribute(floored)
        assert [(g.scope, g.phase, g.how) for g in after.gpu] == [(g.scope, g.phase, g.how) for g in before.gpu]


# -- by hand -------------------------------------------------------------------------------------------------


class Trace:
    """Events with times in nanoseconds."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.correlations = 0

    def host(self, name: str, ts: int, end: int, cat: str = "cpu_op", tid: int = 1, **args: Any) -> None:
        args.setdefault("Ev Idx", len(self.events))
        self.add(name, cat, 1, tid, ts, end, args)

    def op(self, name: str, ts: int, end: int, seq: int, fwd: int = 0, tid: int = 1) -> None:
        arguments: dict[str, Any] = {"Sequence number": seq, "Fwd thread id": fwd}
        self.host(name, ts, end, tid=tid, **arguments)

    def node(self, name: str, ts: int, end: int, seq: int, fwd: int, tid: int = 1) -> None:
        self.op(ref.EVALUATE_PREFIX + name, ts, end, seq, fwd, tid)
        self.op(name, ts + 1, end - 1, seq, fwd, tid)

    def kernel(self, name: str, launch: int, dur: int, tid: int = 1) -> None:
        """A kernel launched in [launch, launch + 1)."""
        self.correlations += 1
        corr: dict[str, Any] = {"correlation": self.correlations}
        self.add("cudaLaunchKernel", "cuda_runtime", 1, tid, launch, launch + 1, corr)
        self.gpu(name, 1000 * launch, 1000 * launch + dur, **corr)

    def gpu(self, name: str, ts: int, end: int, cat: str = "kernel", device: int = 0, **args: Any) -> None:
        self.add(name, cat, device, 7, ts, end, {"device": device, "stream": 7, **args})

    def add(self, name: str, cat: str, pid: int, tid: int, ts: int, end: int, args: Event) -> None:
        self.events.append(
            {
                "ph": "X",
                "cat": cat,
                "name": name,
                "pid": pid,
                "tid": tid,
                "ts": Decimal(ts) / 1000,
                "dur": Decimal(end - ts) / 1000,
                "args": args,
            }
        )

    def totals(self) -> dict[tuple[str, str], int]:
        return {key: row[1] for key, row in ref.attribute(self.events).rows.items()}


def test_the_last_started_forward_op_wins() -> None:
    trace = Trace()
    trace.host("perfkit::a", 0, 100)
    trace.op("aten::peeks", 10, 20, seq=5)
    trace.host("perfkit::b", 101, 200)
    trace.op("aten::mul", 110, 120, seq=5)
    trace.node("MulBackward0", 300, 350, seq=5, fwd=1, tid=2)
    trace.kernel("k", 310, 7, tid=2)
    assert trace.totals() == {("b", "backward"): 7}


def test_accumulate_grad_follows_the_node_before_it() -> None:
    trace = Trace()
    trace.host("perfkit::a", 0, 100)
    trace.op("aten::mul", 10, 20, seq=5)
    trace.node("MulBackward0", 300, 350, seq=5, fwd=1, tid=2)
    trace.host(ref.EVALUATE_PREFIX + "torch::autograd::AccumulateGrad", 360, 380, tid=2)
    trace.kernel("k", 370, 7, tid=2)
    result = ref.attribute(trace.events)
    assert result.rows == {("a", "backward"): (1, 7, 7)}
    assert result.how == {"accumulate": (1, 7)}


def test_flows_settle_what_sequence_numbers_leave_open() -> None:
    """Two forward threads both count from 0, and the order of their ids is the reverse of that of their tids."""
    trace = Trace()
    for tid, name in ((1, "a"), (2, "b")):
        trace.host(f"perfkit::{name}", 0, 100, tid=tid)
        trace.op("aten::mul", 10, 20, seq=0, tid=tid)
    trace.node("MulBackward0", 300, 350, seq=0, fwd=2, tid=3)
    trace.kernel("k", 310, 7, tid=3)
    trace.node("MulBackward0", 400, 450, seq=0, fwd=1, tid=3)
    trace.kernel("k", 410, 9, tid=3)
    for number, (forward_tid, ts) in enumerate([(1, 301), (2, 401)]):
        common = {"cat": "fwdbwd", "name": "fwdbwd", "id": number, "pid": 1}
        trace.events.append({"ph": "s", "tid": forward_tid, "ts": Decimal("0.010"), **common})
        trace.events.append({"ph": "f", "tid": 3, "ts": Decimal(ts) / 1000, **common})
    assert trace.totals() == {("a", "backward"): 7, ("b", "backward"): 9}


def recomputed(joined: bool) -> Trace:
    """One block of two layers, recomputed inside the node of its second layer."""
    trace = Trace()

    def scope(name: str, ts: int, end: int, tid: int = 1) -> None:
        full = name if joined else "perfkit::" + name
        trace.host(full, ts, end, tid=tid, cat="user_annotation" if joined else "cpu_op")

    scope("model", 0, 100)
    scope("block", 10, 90)
    scope("lin1", 20, 30)
    trace.op("aten::mm", 21, 29, seq=1)
    scope("lin2", 40, 50)
    trace.op("aten::mm", 41, 49, seq=2)
    trace.node("MmBackward0", 200, 300, seq=2, fwd=1, tid=2)
    scope("block", 210, 250, tid=2)
    scope("lin1", 220, 230, tid=2)
    trace.op("aten::mm", 221, 229, seq=1, tid=2)
    trace.kernel("k", 222, 5, tid=2)
    trace.kernel("k", 260, 11, tid=2)
    trace.node("MmBackward0", 310, 320, seq=1, fwd=1, tid=2)
    trace.kernel("k", 315, 13, tid=2)
    return trace


def test_recompute_with_nested_names() -> None:
    assert recomputed(joined=True).totals() == {
        ("model/block/lin1", "recompute"): 5,
        ("model/block/lin2", "backward"): 11,
        ("model/block/lin1", "backward"): 13,
    }


def test_recompute_with_qualified_names() -> None:
    assert recomputed(joined=False).totals() == {
        ("lin1", "recompute"): 5,
        ("lin2", "backward"): 11,
        ("lin1", "backward"): 13,
    }


def test_double_backward_is_no_recompute() -> None:
    trace = Trace()
    trace.host("perfkit::a", 0, 100)
    trace.op("aten::mul", 10, 20, seq=1)
    trace.node("MulBackward0", 200, 300, seq=1, fwd=1)
    trace.op("aten::mul", 210, 220, seq=9)
    trace.kernel("k", 211, 5)
    trace.node("MulBackward0", 400, 500, seq=9, fwd=1)
    trace.kernel("k", 450, 7)
    assert trace.totals() == {("a", "backward"): 12}


def test_forward_op_in_a_node_without_a_later_node_is_recompute() -> None:
    trace = Trace()
    trace.host("perfkit::a", 0, 100)
    trace.op("aten::mul", 10, 20, seq=1)
    trace.node("MulBackward0", 200, 300, seq=1, fwd=1)
    trace.op("aten::mul", 210, 220, seq=9)
    trace.kernel("k", 211, 5)
    assert trace.totals() == {("a", "recompute"): 5}


def test_an_annotation_that_only_backward_knows_is_transparent() -> None:
    trace = Trace()
    trace.host("a", 0, 100, cat="user_annotation")
    trace.op("aten::mul", 10, 20, seq=1)
    trace.node("MulBackward0", 200, 300, seq=1, fwd=1)
    trace.host("hook", 210, 220, cat="user_annotation")
    trace.kernel("k", 211, 5)
    assert trace.totals() == {("a", "backward"): 5}


def test_special_rows() -> None:
    trace = Trace()
    trace.host("perfkit::a", 0, 100)
    trace.kernel("ncclDevKernel_AllReduce", 10, 5)
    trace.gpu("ncclDevKernel_AllReduce", 200_000, 200_006, correlation=77)
    trace.gpu("k", 300_000, 300_007, correlation=78)
    trace.kernel("k", 150, 8)
    assert trace.totals() == {
        ("<communication>", "communication"): 11,
        ("<unattributed>", "unlaunched"): 7,
        ("<unattributed>", "other"): 8,
    }


def test_perfkit_phases() -> None:
    trace = Trace()
    for number, phase in enumerate(["zero_grad", "forward", "loss", "backward", "optimizer"]):
        trace.host(f"perfkit.phase::{phase}", 100 * number, 100 * number + 90, cat="user_annotation")
        trace.kernel("k", 100 * number + 10, number + 1)
    assert trace.totals() == {
        ("zero_grad", "optimizer"): 1,
        ("optimizer", "optimizer"): 5,
        ("<unattributed>", "forward"): 5,
        ("<unattributed>", "backward"): 4,
    }


def test_exclusive_time() -> None:
    trace = Trace()
    trace.gpu("copy", 0, 100, cat="gpu_memcpy")
    trace.gpu("ncclKernel", 10, 50)
    trace.gpu("first", 20, 30)
    trace.gpu("second", 25, 40)
    trace.gpu("elsewhere", 20, 30, device=1)
    trace.gpu("inside the first", 22, 28)
    gpu = ref.attribute(trace.events).gpu
    assert {g.name: g.exclusive_ns for g in gpu} == {
        "copy": 60,
        "ncclKernel": 20,
        "first": 10,
        "second": 10,
        "elsewhere": 10,
        "inside the first": 0,
    }
    assert ref.busy_ns(gpu) == 110


def test_cpu_only_rows_add_up_to_the_steps() -> None:
    trace = Trace()
    trace.host("outside", 0, 99)
    trace.host("ProfilerStep#1", 100, 300, cat="user_annotation")
    trace.host("perfkit::a", 110, 200)
    trace.op("aten::mul", 120, 150, seq=1)
    trace.node("MulBackward0", 210, 250, seq=1, fwd=1)
    trace.host("Optimizer.step#SGD.step", 260, 290, cat="user_annotation")
    trace.host("aten::mm", 0, 400, tid=2)
    result = ref.attribute(trace.events)
    assert {key: row[1] for key, row in result.rows.items()} == {
        ("<unattributed>", "other"): 40,
        ("a", "forward"): 90,
        ("a", "backward"): 40,
        ("optimizer", "optimizer"): 30,
    }
    assert result.wall_ns == 200


def test_crossing_ranges_keep_the_sum() -> None:
    trace = Trace()
    trace.host("ProfilerStep#1", 100, 301, cat="user_annotation")
    trace.host("enter", 110, 200, cat="python_function")
    trace.host("body", 150, 290, cat="user_annotation")
    trace.host("aten::mm", 190, 195)
    result = ref.attribute(trace.events)
    assert {key: row[1] for key, row in result.rows.items()} == {
        ("<unattributed>", "other"): 201 - 140,
        ("body", "other"): 140,
    }


def test_external_ids_that_are_correlations_are_not_used() -> None:
    external: dict[str, Any] = {"External id": 50}

    def scope(launch_external_id: int) -> dict[tuple[str, str], int]:
        trace = Trace()
        trace.host("perfkit::a", 0, 100)
        trace.host("aten::mm", 10, 20, **external)
        correlation = {"correlation": 60, "External id": launch_external_id}
        trace.add("cudaFree", "cuda_runtime", 1, 1, 30, 40, correlation)
        trace.gpu("launch is missing", 1000, 1005, correlation=50, **external)
        return trace.totals()

    assert scope(launch_external_id=50) == {("a", "forward"): 5}
    assert scope(launch_external_id=60) == {("<unattributed>", "unlaunched"): 5}


# -- random traces -------------------------------------------------------------------------------------------

SEEDS = range(200)


@functools.cache
def random_result(seed: int) -> ref.Result:
    return ref.attribute(random_traces.generate(seed))


def test_random_traces_are_the_same_for_the_same_seed() -> None:
    assert all(random_traces.generate(seed) == random_traces.generate(seed) for seed in range(20))


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_random_traces_survive_their_file(tmp_path: Path, name: str) -> None:
    for seed in range(40):
        random_traces.write_json(random_traces.generate(seed), tmp_path / name)
        assert ref.load(tmp_path / name) == random_traces.generate(seed)


def test_random_traces_reach_every_outcome() -> None:
    results = [random_result(seed) for seed in SEEDS]
    assert {phase for result in results for _, phase in result.rows} == {
        "forward",
        "recompute",
        "backward",
        "optimizer",
        "communication",
        "other",
        "unlaunched",
    }
    assert {how for r in results for how in r.how} == {
        "scope",
        "seq",
        "guess",
        "accumulate",
        "annotation",
        "parameter",
        "optimizer",
        "none",
        "nolaunch",
    }
    assert {(r.scope_source, r.cpu_only) for r in results} == {
        (source, cpu_only) for source in ("perfkit", "nn_module", "annotation") for cpu_only in (True, False)
    }


def test_random_rows_add_up() -> None:
    for seed in SEEDS:
        result = random_result(seed)
        rows = result.rows.values()
        if result.cpu_only:
            assert sum(row[1] for row in rows) == result.wall_ns
        else:
            assert sum(row[0] for row in rows) == len(result.gpu)
            assert sum(row[1] for row in rows) == total(result.gpu)
            assert sum(row[2] for row in rows) == ref.busy_ns(result.gpu)


def test_parents_by_the_letter_of_rule_2() -> None:
    for seed in SEEDS:
        result = random_result(seed)
        tol = ref.tolerance(result.host, result.gpu)
        for thread in {h.thread for h in result.host}:
            ranges = sorted((h for h in result.host if h.thread == thread), key=ref.forest_order)
            for number, host in enumerate(ranges):
                containing = [
                    p
                    for p in ranges[:number]
                    if not p.is_runtime and p.end + tol >= host.end and (p.end > host.ts or p.ts == host.ts)
                ]
                assert host.parent is (containing[-1] if containing else None)


def test_exclusive_time_instant_by_instant() -> None:
    """Nothing changes between two neighbouring starts or ends, so one check of each such piece is enough."""
    for seed in SEEDS:
        gpu = random_result(seed).gpu
        expected = dict.fromkeys(gpu, 0)
        for device in {g.device for g in gpu}:
            members = [g for g in gpu if g.device == device]
            edges = sorted({edge for g in members for edge in (g.ts, g.end)})
            for start, end in itertools.pairwise(edges):
                there = [g for g in members if g.ts <= start and end <= g.end]
                if there:
                    winner = min(there, key=lambda g: (g.priority, g.ts, g.file_index))
                    expected[winner] += end - start
        assert {g: g.exclusive_ns for g in gpu} == expected
