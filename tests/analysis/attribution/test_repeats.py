"""Work launched before the window, matched with what repeats it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import Attribution, Phase, attribute
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.attribution.scopes import ScopeSource
from perfkit.trace.columns import MISSING, Trace
from perfkit.trace.load import load
from tests.builders import TraceBuilder
from tests.corpus import corpus_file

LAYER = (("norm", "mean"), ("attn", "gemm"), ("attn", "flash"), ("attn", "gemm"), ("mlp", "gemm"), ("mlp", "gelu"))


def forward(layers: int = 8) -> list[tuple[str, str]]:
    """(module, kernel) of a pass: embedding, layers of six kernels, and a last norm that launches what theirs do."""
    inside = [(f"layers.{number}.{module}", kernel) for number in range(layers) for module, kernel in LAYER]
    return [("embedding", "gather"), *inside, ("norm", "mean"), ("head", "gemm_head")]


class Stream:
    """Kernels one after the other; those before the window have no launch."""

    def __init__(self) -> None:
        self.trace = TraceBuilder()
        self.now = 0

    def before(self, work: list[tuple[str, str]], stream: int = 7) -> Stream:
        for _, kernel in work:
            self.trace.event(kernel, self.now, self.now + 5, stream=stream)
            self.now += 10
        return self

    def inside(self, work: list[tuple[str, str]], stream: int = 7, scope: str = "perfkit::") -> Stream:
        for module, kernel in work:
            if module:
                self.trace.annotation(f"{scope}{module}", self.now, self.now + 5)
            self.trace.launched(kernel, self.now + 1, self.now, self.now + 5, stream=stream)
            self.now += 10
        return self

    def components(self) -> list[str]:
        """Of each event before the window; "" where nothing tells."""
        found = attribute(self.trace.build())
        return [component(found, int(twin)) for twin in found.events.twin[: self.count]]

    @property
    def count(self) -> int:
        return sum(row["correlation"] == MISSING for row in self.trace.device)


def component(found: Attribution, event: int) -> str:
    path = found.events.path[event] if event != NONE else NONE
    return re.sub(r"(?<![A-Za-z])\d+", "*", found.paths[path]) if path != NONE else ""


def starred(work: list[tuple[str, str]]) -> list[str]:
    return [re.sub(r"\d+", "*", module) for module, _ in work]


def test_the_end_of_a_pass_has_the_components_of_the_next():
    """GIVEN the last 20 kernels of a pass, then two passes WHEN matched THEN each has its component, without a layer"""
    tail = forward()[-20:]
    assert Stream().before(tail).inside(forward() * 2).components() == starred(tail)


def test_one_pass_in_the_window_is_enough_for_modules():
    """GIVEN one pass, at whose end the names come again and nothing follows WHEN matched THEN it is that end"""
    tail = forward()[-40:]
    assert Stream().before(tail).inside(forward()).components() == starred(tail)


def test_layers_in_the_middle_of_a_pass():
    """GIVEN layers 1 and 2 before the window, the rest of the pass inside WHEN matched THEN by the layers after them"""
    work = forward(20)
    assert Stream().before(work[7:19]).inside(work[19:]).components() == starred(work[7:19])


def test_what_follows_tells_a_norm_of_a_layer_from_the_last_one():
    """GIVEN layers before the window WHEN the last norm launches what theirs do THEN none of theirs is called so"""
    work = forward(16)
    for cut in range(1, 48):
        found = Stream().before(work[:cut]).inside(work[cut:]).components()
        assert all(given in ("", true) for given, true in zip(found, starred(work), strict=False))


def test_names_that_mean_two_things_have_no_component():
    """GIVEN one sequence in two modules WHEN it ran before the window, in another place THEN nobody knows whose"""
    kernels = [f"k{number}" for number in range(40)]
    a, b = [[(module, kernel) for kernel in kernels] for module in ("encoder", "decoder")]
    after = [("", f"x{number}") for number in range(32)]
    assert set(Stream().before(a).inside([*after, *a, *after, *b, *after]).components()) == {""}
    assert set(Stream().before(a).inside([*after, *a, *after, *a, *after]).components()) == {"encoder"}


def test_what_follows_must_follow_again():
    """GIVEN a decoder's names in the window WHEN an encoder launched them before it THEN what follows differs"""
    work = [("decoder", f"k{number}") for number in range(40)]
    after, other = ([("", f"{letter}{number}") for number in range(32)] for letter in "xy")
    assert set(Stream().before(work).inside([*after, *work, *other, *work, *other]).components()) == {""}
    assert set(Stream().before(work).inside([*after, *work, *after]).components()) == {"decoder"}


def tower(name: str, layers: int) -> list[tuple[str, str]]:
    """Layers of four kernels, the same in every tower."""
    names = (("attn", "qkv"), ("attn", "flash"), ("mlp", "up"), ("mlp", "down"))
    return [(f"{name}.layers.{number}.{module}", kernel) for number in range(layers) for module, kernel in names]


def once(name: str, count: int) -> list[tuple[str, str]]:
    """As many kernels, each another one."""
    return [(name, f"k{number}") for number in range(count)]


@pytest.mark.parametrize(("cut", "steps", "layers"), [(24, 1, 24), (12, 1, 12), (6, 1, 12), (6, 1, 24), (6, 2, 24)])
def test_two_towers_of_equal_kernels(cut, steps, layers):
    """GIVEN the last layers of a decoder, then an encoder and the decoder WHEN both launch the same THEN nobody knows

    In a shorter window fewer shifts by a layer have room, and all of those put the first layers into the encoder.
    """
    encoder, decoder = tower("encoder", layers), tower("decoder", layers)
    found = Stream().before(decoder[-4 * cut :]).inside((encoder + decoder) * steps).components()
    assert set(found) == {""}


@pytest.mark.parametrize(("first", "second"), [(59, 59), (200, 59), (200, 10), (200, 1)])
def test_one_name_in_two_modules(first, second):
    """GIVEN a kernel over and over, in A and then in B WHEN 40 ran before them THEN any shift is as good, B's, too"""
    a, b = [("A", "gemm")] * first, [("B", "gemm")] * second
    assert set(Stream().before(b[:1] * 40).inside(a + b).components()) == {""}


def test_a_place_that_begins_before_the_window():
    """GIVEN half of an encoder WHEN its other half follows, then a longer decoder THEN it may be either's

    It has room in the decoder only; that it stands in the encoder is known by shifting it by one layer.
    """
    encoder, decoder, loss = tower("encoder", 24), tower("decoder", 40), once("loss", 40)
    half = len(encoder) // 2
    found = Stream().before(encoder[:half]).inside(encoder[half:] + loss + decoder + loss).components()
    assert set(found) == {""}


@pytest.mark.parametrize("left", [40, 36])
def test_a_place_that_the_end_of_the_window_cuts_off(left):
    """GIVEN 40 names in an encoder, and in a decoder, of which the window has 36 THEN before it they may be either's"""
    encoder, decoder, loss = once("encoder", 40), once("decoder", 40), [("", f"x{number}") for number in range(32)]
    found = Stream().before(decoder).inside([*loss, *encoder, *loss, *decoder[:left]]).components()
    assert set(found) == {""}
    assert set(Stream().before(encoder).inside([*loss, *encoder, *loss]).components()) == {"encoder"}


def test_the_end_of_a_decoder_whose_encoder_is_longer_in_the_window():
    """GIVEN the last 20 names of either WHEN an encoder and a decoder follow THEN nothing after the decoder speaks"""
    encoder, decoder = once("encoder", 40), once("decoder", 40)
    assert set(Stream().before(decoder[-20:]).inside(encoder + decoder).components()) == {""}


def test_what_follows_must_be_in_the_same_components():
    """GIVEN teacher, projection, student, projection, all of equal kernels WHEN the window ends in the student

    THEN the projection before the window is not the teacher's: a student follows that, and a teacher this.
    """
    teacher, student = tower("teacher", 12), tower("student", 12)
    own, other = once("teacher.proj", 4), once("student.proj", 4)
    assert set(Stream().before(student[-24:] + other).inside(teacher + own + student[:32]).components()) == {""}


def test_a_last_norm_at_the_end_of_the_window_is_no_contradiction():
    """GIVEN a window of one pass, whose last norm launches what those of its layers do WHEN the end of a pass ran
    before it THEN it is that end: that the norm of each layer is the last one, and layers follow, speaks for nothing"""
    work = forward()[:-1]
    assert Stream().before(work[-40:]).inside(work).components() == starred(work[-40:])


def test_few_names_tell_nothing():
    """GIVEN fewer names than a sequence needs, and no more after them WHEN matched THEN they have no component"""
    work = [("net", f"k{number}") for number in range(31)]
    assert set(Stream().before(work).inside(work).components()) == {""}
    work.append(("net", "k31"))
    assert set(Stream().before(work).inside(work).components()) == {"net"}


def test_other_ranges_than_modules_must_be_seen_twice():
    """GIVEN ranges of the user's, which may name the same work otherwise each time WHEN seen once THEN not matched"""
    work = [("warm", f"k{number}") for number in range(40)]
    once = Stream().before(work).inside(work, scope="")
    assert set(once.components()) == {""}
    assert set(once.inside(work, scope="").components()) == {"warm"}


def test_streams_stand_for_themselves():
    """GIVEN copies on a stream of their own among the kernels WHEN matched THEN each stream by its own order"""
    work = forward()
    copies = [("loader", f"copy {number}") for number in range(33)]
    stream = Stream().before(copies, stream=9).before(work[-20:]).inside(copies * 2, stream=9).inside(work * 2)
    assert stream.components() == starred([*copies, *work[-20:]])


def test_lost_launches_in_the_window_are_not_matched():
    stream = Stream().inside(forward()).before(forward()[-20:]).inside(forward() * 2)
    assert set(attribute(stream.trace.build()).events.twin) == {NONE}


def test_time_stays_unlaunched_and_without_a_scope():
    found = attribute(Stream().before(forward()[-20:]).inside(forward() * 2).trace.build())
    assert set(found.events.phase[:20]) == {Phase.UNLAUNCHED}
    assert set(found.events.path[:20]) == {NONE}
    assert (found.events.twin[20:] == NONE).all()


def test_a_name_a_thousand_times_over_is_soon_done():
    """GIVEN more places than are worth comparing WHEN matched THEN nothing is said"""
    work = [("net", "k")] * 3000
    assert set(Stream().before(work).inside(work * 2).components()) == {""}


# --- the truth: launches taken away -------------------------------------------------------------------------------


def without_launches(trace: Trace, rows: np.ndarray) -> Trace:
    correlation, external = trace.device.correlation.copy(), trace.device.external_id.copy()
    correlation[rows] = external[rows] = MISSING
    return replace(trace, device=replace(trace.device, correlation=correlation, external_id=external))


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "some"),
    [
        ("h100_qwen_0.5b_inference", 300), ("mi300_resnet_checkpoint_training", 300), ("v100_training", 300),
        ("a100_ddp_training", 300), ("h100_bert_small_inference", 0), ("a100_small_iterations", 0),
    ],
)  # fmt: skip
def test_every_component_is_the_true_one(name, some):
    """GIVEN a real trace WHEN the launches of its first events are taken away THEN each component is the true one

    And at least `some` of the first 500 have one, where the trace is long enough to repeat itself.
    """
    trace = load(corpus_file(f"kineto/{name}.json.gz"))
    true = attribute(trace)
    launched = np.argsort(trace.device.start, kind="stable")
    launched = launched[true.events.launch[launched] != NONE]
    for count in (1, 2, 5, 13, 31, 32, 77, 200, 500, 777, 1000, 1500):
        gone = launched[: min(count, len(launched) // 2)]
        found = attribute(without_launches(trace, gone))
        matched = gone[found.events.twin[gone] != NONE]
        for event in matched.tolist():
            assert component(found, int(found.events.twin[event])) == component(true, event)
        if count == 500:
            assert len(matched) >= some


@pytest.mark.corpus
def test_a_model_that_ran_before_the_window():
    """GIVEN the inference of Qwen WHEN matched THEN all 509 events, 13,741,827 ns (docs), by 24 layers of one kind"""
    trace = load(corpus_file("kineto/h100_qwen_0.5b_inference.json.gz"))
    found = attribute(trace)
    assert found.scope_source is ScopeSource.MODULE
    matched = np.flatnonzero(found.events.twin != NONE)
    assert len(matched) == 509
    assert int((trace.device.end - trace.device.start)[matched].sum()) == 13_741_827
    assert {component(found, int(twin)).split("/")[0] for twin in found.events.twin[matched]} == {"Qwen2Model_*"}
