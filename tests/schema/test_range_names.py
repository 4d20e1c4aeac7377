"""The grammar of range names: what is printed is what is parsed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.schema import range_names
from perfkit.schema.range_names import RangeName, parse_nvtx, parse_trace

NAMES = [
    (range_names.module("layers.3.attn"), "perfkit::layers.3.attn", "layers.3.attn"),
    (range_names.module("Transformer"), "perfkit::Transformer", "Transformer"),
    (range_names.recompute("layers.3"), "perfkit.recompute::layers.3", "recompute::layers.3"),
    (range_names.backward("layers.3"), "perfkit.backward::layers.3", "backward::layers.3"),
    (range_names.gradient("layers.3.attn"), "perfkit.grad::layers.3.attn", "grad::layers.3.attn"),
    (range_names.phase("backward"), "perfkit.phase::backward", "phase::backward"),
    (range_names.step(3), "perfkit.step::3", "step::3"),
    (range_names.step(0, warmup=True), "perfkit.warmup::0", "warmup::0"),
    (range_names.MEASURE, "perfkit.measure::", "measure"),
    (range_names.module("measure"), "perfkit::measure", "module::measure"),
    (range_names.module("layers.measure"), "perfkit::layers.measure", "layers.measure"),
]


@pytest.mark.parametrize(("name", "in_trace", "in_nvtx"), NAMES)
def test_names_are_spelled_as_documented_and_read_back(name, in_trace, in_nvtx):
    assert (name.trace_text, name.nvtx_text) == (in_trace, in_nvtx)
    assert (parse_trace(in_trace), parse_nvtx(in_nvtx)) == (name, name)


PATHS = st.lists(st.from_regex(r"[A-Za-z_0-9]+", fullmatch=True), min_size=1, max_size=5).map(".".join)


@given(st.sampled_from(["module", "recompute", "backward", "grad", "phase", "step", "warmup"]), PATHS)
def test_every_name_survives_the_round_trip(kind, label):
    name = RangeName(kind, label)
    assert parse_trace(name.trace_text) == name
    assert parse_nvtx(name.nvtx_text) == name


@pytest.mark.parametrize(
    "text", ["aten::mm", "ProfilerStep#3", "perfkit", "perfkit.other::x", "perfkit.measured", "my perfkit::x", ""]
)
def test_foreign_names_in_a_trace_are_not_ours(text):
    assert parse_trace(text) is None


@pytest.mark.parametrize("text", ["aten::mm", "module::x", "layers.0"])
def test_in_our_nvtx_domain_whatever_is_no_phase_or_step_is_a_module(text):
    assert parse_nvtx(text) == RangeName("module", text)


def test_a_stamp_says_step_phase_and_the_innermost_range_and_is_read_back():
    """GIVEN ranges open inside each other, a foreign one among them THEN the stamp has three of them, or those there"""
    names = [range_names.step(3), range_names.phase("forward"), range_names.module("layers.3"),
             range_names.module("layers.3.attn")]  # fmt: skip
    open_ranges = [range_names.MEASURE.trace_text, *(name.trace_text for name in names), "aten::mm"]
    text = range_names.stamp(open_ranges)
    assert text == "perfkit.step::3 > perfkit.phase::forward > perfkit::layers.3.attn"
    assert range_names.parse_stamp(text) == (*names[:2], names[3])
    alone = range_names.backward("layers.3")
    assert range_names.parse_stamp(range_names.stamp([alone.trace_text])) == (alone,)
    assert range_names.stamp([]) == ""


@pytest.mark.parametrize("label", ["experts.für", 'a"b', "a\\b", "x > y", "50%25", "日本"])
def test_a_trace_has_only_characters_that_pytorch_writes_right(label):
    name = range_names.module(label)
    assert set(name.trace_text).isdisjoint('"\\>')
    assert name.trace_text.isascii()
    assert range_names.parse_trace(name.trace_text) == name
    assert range_names.parse_stamp(range_names.stamp([range_names.step(0).trace_text, name.trace_text]))[1] == name


@pytest.mark.parametrize("text", ["", "mine", "perfkit.step::3 > mine", "a > b"])
def test_what_others_stamp_is_not_ours(text):
    assert range_names.parse_stamp(text) == ()
