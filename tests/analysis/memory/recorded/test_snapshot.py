"""Kind, phase and block of each piece of a snapshot, by stacks and lifetimes; real snapshots against closed forms."""

from __future__ import annotations

import gzip
import pickle
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import LABELS, Kind, Lifetimes
from perfkit.analysis.memory.recorded import account, kinds, live, snapshot, tables
from perfkit.trace.columns import MISSING
from perfkit.trace.snapshot.columns import Annotation
from tests.analysis.memory.recorded import training
from tests.analysis.memory.recorded.snapshots import CALL, ENGINE, MAIN, block, columns, event, pickled
from tests.corpus import corpus_file
from tests.reference import memory_replay


def told(lives: Lifetimes) -> dict[int, tuple[str, str, str]]:
    """Kind, scope and phase of the piece at each address; of the last one where there were several."""
    scopes = tables.texts(lives.scope, lives.scopes)
    rows = zip(lives.address.tolist(), lives.kind.tolist(), scopes, lives.phase.tolist(), strict=True)
    return {address: (LABELS[Kind(kind)], scope, Phase(phase).label) for address, kind, scope, phase in rows}


def test_a_training_step_is_told_by_its_stacks():
    """GIVEN stacks with a loop over two blocks, an engine and an optimizer THEN each piece has its kind and block."""
    lives = snapshot.lifetimes(columns(training.step()))
    found = told(lives)
    assert found[1] == ("parameters", "", "other")
    assert found[5] == ("activations", "", "forward")
    assert found[10] == ("activations", "block 0", "forward")
    assert found[21] == ("activations", "block 1", "forward")
    assert found[22] == ("temporaries", "block 1", "forward")
    assert found[31] == ("activations", "", "forward")  # the loss: between forward and backward
    assert found[40] == ("gradients", "", "backward")
    assert found[41] == ("gradients", "block 1", "backward")
    assert found[42] == ("gradients", "block 0", "backward")
    assert found[50] == ("temporaries", "", "backward")
    assert found[60] == ("optimizer state", "", "optimizer")
    assert found[90] == ("temporaries", "", "optimizer")
    assert [span.phase for span in lives.spans] == [Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER]
    assert {span.step for span in lives.spans} == {0}
    assert lives.reasons == ()


def test_the_operator_and_the_line_of_the_program_are_the_stack_s():
    """GIVEN a softmax called by attn.py, called by block.py, THEN those are its operator and its place."""
    lives = snapshot.lifetimes(columns(training.step()))
    row = lives.address.tolist().index(10)
    assert lives.operators[lives.operator[row]] == "aten::softmax"
    assert lives.places[lives.stack[row]] == "attn.py(7): softmax < block.py(3): forward"


def test_states_that_lived_before_are_told_by_the_sizes_of_gradients():
    """GIVEN a later step, before which parameters and two states of each lived, THEN the sums of kinds are right."""
    older = [
        block(100 * copy + number, size) for copy in (1, 2, 3) for number, size in enumerate((1000, 100, 100, 1000))
    ]
    raw = pickled([*training.forward(), *training.backward()], blocks=[*older, block(999, 7)])
    lives = snapshot.lifetimes(columns(raw))
    sums = {LABELS[Kind(kind)]: int(lives.size[lives.kind == kind].sum()) for kind in np.unique(lives.kind).tolist()}
    assert (sums["parameters"], sums["optimizer state"], sums["not told"]) == (2200, 4400, 7)
    assert lives.reasons == (kinds.BEFORE,)


def test_without_frames_of_c_plus_plus_what_has_no_stack_is_autograd_s():
    """GIVEN stacks of Python alone, which autograd's thread has none of, THEN what has none is of backward."""
    events = [event("alloc", 8, 100, CALL, MAIN), event("alloc", 16, 50), event("free_completed", 8, 100)]
    assert told(snapshot.lifetimes(columns(pickled(events)))) == {
        8: ("activations", "", "forward"), 16: ("gradients", "", "backward"),
    }  # fmt: skip


def test_annotations_tell_where_stacks_do_not():
    """GIVEN an annotation of an optimizer's step round an allocation without a stack, THEN it is the optimizer's."""
    events = [event("alloc", 8, 100, time_us=1), event("alloc", 16, 50, time_us=5)]
    annotations = [Annotation("Optimizer.step#AdamW.step", 0, 4_000, 9_000)]
    found = told(snapshot.lifetimes(columns(pickled(events), annotations)))
    assert (found[8][0], found[16][0]) == ("not told", "optimizer state")


def test_a_run_s_own_stamps_say_step_phase_and_layer():
    """GIVEN perfkit's stamps, with the layer alone on autograd's thread, THEN they are the step, phase and scope."""
    stamps = (
        "perfkit.step::2 > perfkit.phase::forward > perfkit::layers.1.attn",
        "perfkit.backward::layers.1.attn",
        "perfkit.step::3 > perfkit.phase::optimizer",
    )
    events = [event("alloc", 8 * row, 8, user_metadata=text) for row, text in enumerate(stamps)]
    lives = snapshot.lifetimes(columns(pickled(events)))
    assert list(told(lives).values()) == [
        ("activations", "layers.1.attn", "forward"), ("gradients", "layers.1.attn", "backward"),
        ("optimizer state", "", "optimizer"),
    ]  # fmt: skip
    assert lives.step.tolist() == [2, 2, 3]


def test_recomputed_activations_live_in_backward():
    """GIVEN a module's call inside the engine, THEN what outlives the recomputation is an activation."""
    again = (CALL, "lib/torch/utils/checkpoint.py(9): recompute_fn", ENGINE)
    events = [
        event("alloc", 8, 1, CALL, MAIN), event("alloc", 16, 2, *again), event("alloc", 24, 3, *again),
        event("free_completed", 24, 3, *again), event("alloc", 32, 4, ENGINE), event("free_completed", 16, 2, ENGINE),
        event("free_completed", 32, 4, ENGINE), event("free_completed", 8, 1, ENGINE),
    ]  # fmt: skip
    found = told(snapshot.lifetimes(columns(pickled(events))))
    assert (found[16], found[24][0], found[32][0]) == (("activations", "", "recompute"), "temporaries", "temporaries")


def test_without_stacks_nothing_is_told_but_the_peak():
    """GIVEN no stacks, stamps or annotations, THEN all is of no kind, for a reason."""
    lives = snapshot.lifetimes(columns(pickled([event("alloc", 8, 100)], blocks=[block(9, 5)])))
    assert set(lives.kind.tolist()) == {Kind.UNKNOWN}
    assert len(lives.reasons) == 1
    assert account.the_peak(lives).bytes == 105


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise AssertionError(f"{module}.{name}")


def corpus(name: str) -> tuple[dict[str, Any], Lifetimes]:
    with gzip.open(corpus_file(f"memory/{name}.pickle.gz")) as file:
        raw: dict[str, Any] = _Plain(file).load()
    for one in raw["segments"]:
        one["is_large"], one["pool"] = one["segment_type"] == "large", 0
    for events in raw["device_traces"]:
        for one in events:
            one["user_metadata"] = one.get("user_metadata") or ""
    return raw, snapshot.lifetimes(columns(raw))


NAMES = (
    "compile_annotations", "llama_2024_format", "medium_128_inference", "medium_128_training", "medium_512_inference",
    "medium_512_training",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_peaks_of_real_snapshots_are_those_of_a_replay(name: str):
    raw, lives = corpus(name)
    (peak,) = live.peaks(lives)
    assert peak.bytes == memory_replay.peak(raw, peak.device)
    assert lives.size[live.alive(lives, peak)].sum() == peak.bytes


def test_a_real_training_step_adds_up_to_what_its_shapes_say():
    """medium: 423,183,360 parameters of 4 B (vocabulary 10,000, width 1024, d_ff 4096, 24 blocks), Adam's states twice
    that; a block has 4 x 1024 x 1024 + 3 x 1024 x 4096 + 2 x 1024 of them, and as many gradients."""
    _, lives = corpus("medium_512_training")
    at = account.the_peak(lives)
    rows = live.alive(lives, at)
    sums = {Kind(kind): int(lives.size[rows][lives.kind[rows] == kind].sum()) for kind in range(8)}
    assert (sums[Kind.PARAMETERS], sums[Kind.OPTIMIZER]) == (4 * 423_183_360, 8 * 423_183_360)
    gradients = lives.size[(lives.kind == Kind.GRADIENTS) & (lives.scope == lives.scopes.index("block 7"))]
    assert gradients.sum() == 4 * (4 * 1024**2 + 3 * 1024 * 4096 + 2 * 1024)
    assert lives.scopes == tuple(f"block {number}" for number in range(24))
    assert lives.scope.min() == MISSING
