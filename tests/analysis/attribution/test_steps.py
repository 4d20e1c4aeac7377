"""Which ranges are steps where neither torch.profiler nor perfkit wrote any (rule 16)."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.attribution.steps import StepSource, spelled
from perfkit.analysis.reports.trace import report
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.summary import summary
from perfkit.trace.columns import HostKind, Thread
from perfkit.trace.load import load
from tests.builders import TraceBuilder
from tests.corpus import corpus_file


def loop(*names: str, thread: int = 0) -> TraceBuilder:
    """One range after the other, 100 ns each, with a launch in each of them."""
    b = TraceBuilder()
    for number, name in enumerate(names):
        b.annotation(name, 100 * number, 100 * number + 90, thread=thread)
        b.launched("k", 100 * number + 10, 100 * number + 20, 100 * number + 30, thread=thread)
    return b


def steps(b: TraceBuilder) -> tuple[StepSource, list[str]]:
    found = attribute(b.build())
    return found.host.step_source, [step.name for step in found.steps]


@pytest.mark.parametrize(
    "names",
    [
        ("iteration 1", "iteration 2"), ("step_3", "step_4"), ("training_step_7", "training_step_8"), ("step", "step"),
        ("train_step 3", "train_step 4"), ("Epoch: 0", "Epoch: 1"), ("step[DECODE bs=8]", "step[DECODE bs=16]"),
        ("step[DECODE bs=8]", "step[EXTEND bs=1]"), ("[step 1]", "[step 2]"), ("batch#0", "batch#1"),
        ("trainStep 1", "trainStep 2"), ("iter12", "iter13"), ("[pl][profile]run_training_batch",) * 2,
        ("execute_context_0(0)_generation_16(16)", "execute_context_1(512)_generation_3(3)"), ("eval_step",) * 2,
    ],
)  # fmt: skip
def test_ranges_that_are_called_steps_are_steps(names):
    assert steps(loop(*names)) == (StepSource.NAMED, list(names))


@pytest.mark.parametrize(
    "names",
    [
        ("layers[0]", "layers[1]"), ("layer_0", "layer_1"), ("layer", "layer"), ("TransformerBlock",) * 3,
        ("block 0", "block 1"), ("model.layers.0.attn", "model.layers.1.attn"), ("attention", "attention"),
        ("optimizer step", "optimizer step"), ("load_batch", "load_batch"), ("## wait_for_batch ##",) * 2,
        ("BatchNorm2d", "BatchNorm2d"), ("decoder", "decoder"), ("backward", "backward"), ("forward_step_0", "loss"),
        ("nccl:all_reduce", "nccl:all_reduce"), ("Optimizer.step#SGD.step",) * 2, ("cub::Sum", "cub::Sum"),
        ("conv1", "conv2"), ("request 1", "request 2"), ("iteration 1", "epilogue"),
    ],
)  # fmt: skip
def test_parts_of_steps_what_stands_between_them_and_what_does_not_repeat_are_no_steps(names):
    assert steps(loop(*names)) == (StepSource.NONE, [])


def test_the_outermost_that_repeat_are_the_steps():
    """GIVEN one run of two iterations of two layers and a decode each THEN the iterations are steps"""
    b = TraceBuilder().annotation("train", 0, 1000)
    for number in (0, 1):
        at = 500 * number
        b.annotation(f"iteration {number}", at, at + 400).annotation("decode", at + 200, at + 300)
        b.annotation("layer 0", at, at + 100).annotation("layer 1", at + 100, at + 200)
    assert steps(b) == (StepSource.NAMED, ["iteration 0", "iteration 1"])


def test_what_torch_or_perfkit_wrote_as_steps_comes_first():
    b = loop("step 0", "step 1").range("perfkit.step::0", 500, 600)
    assert steps(b) == (StepSource.PERFKIT, ["perfkit.step::0"])
    assert steps(b.step(0, 700, 800)) == (StepSource.PROFILER, ["ProfilerStep#0"])


def test_of_two_threads_the_one_with_more_time_in_steps_has_them():
    b = loop("step 0", "step 1").annotation("batch 0", 0, 120, thread=1).annotation("batch 1", 130, 240, thread=1)
    assert steps(b)[1] == ["step 0", "step 1"]  # the other launches nothing: it prepares them
    assert steps(b.launched("k", 140, 150, 160, thread=1))[1] == ["batch 0", "batch 1"]


def test_a_range_beside_backward_is_a_part_of_the_step():
    assert steps(loop("forward", "backward", "ema_step", "forward", "backward", "ema_step"))[0] is StepSource.NONE
    assert steps(loop("train_step", "validation_step", "train_step", "validation_step"))[0] is StepSource.NAMED


def test_every_process_has_steps_of_its_own():
    b = loop("step 0", "step 1").annotation("step 0", 5, 75, thread=1).annotation("step 1", 105, 195, thread=1)
    trace = dataclasses.replace(b.build(), threads=(Thread(1, 1), Thread(2, 2)))
    assert [(step.name, step.thread) for step in attribute(trace).steps] == [
        ("step 0", 0), ("step 1", 0), ("step 0", 1), ("step 1", 1),
    ]  # fmt: skip


def test_ranges_of_one_name_are_steps_where_they_hold_what_is_launched():
    """GIVEN ten requests with a launch each WHEN one and two more lie between them THEN two of twelve are too many"""
    b = loop(*["request"] * 10).launched("copy", 95, 95, 99)
    assert steps(b) == (StepSource.REPEATED, ["request"] * 10)
    assert steps(b.launched("copy", 195, 195, 199)) == (StepSource.NONE, [])


def test_without_calls_operators_tell_and_without_either_nothing_speaks_against_it():
    b = TraceBuilder().annotation("request", 0, 50).annotation("request", 100, 150)
    assert steps(b) == (StepSource.REPEATED, ["request", "request"])
    assert steps(b.range("aten::mm", 60, 70)) == (StepSource.NONE, [])


def test_two_names_that_repeat_are_no_steps():
    assert steps(loop("encode", "rank", "encode", "rank")) == (StepSource.NONE, [])
    assert steps(loop("request", "load data", "request", "load data")) == (
        StepSource.NONE,
        [],
    )  # half is launched there


def test_a_named_step_is_no_part_of_the_paths_in_it():
    """GIVEN steps with a layer, and work in a step alone THEN the layer's path begins with the layer"""
    b = loop("step 0", "step 1").annotation("layer 0", 30, 60).launched("k", 40, 40, 45)
    trace = b.build()
    found = attribute(trace)
    assert found.path_names(found.events.path, found.events.phase).tolist() == ["step 0", "step 1", "layer 0"]


def test_steps_of_one_name_may_be_modules_and_stay_in_the_paths():
    b = loop("net", "net").annotation("fc", 30, 60).launched("k", 40, 40, 45)
    found = attribute(b.build())
    assert found.path_names(found.events.path, found.events.phase).tolist() == ["net", "net", "net/fc"]


def test_host_time_between_such_steps_stays_in_the_account():
    """GIVEN two steps of 90 ns, and 30 ns of data loading after them THEN all 210 ns of the thread count

    Steps that the profiler wrote follow one another without a gap; the user's may leave the half of a loop out.
    """
    b = TraceBuilder().annotation("step 0", 0, 90).annotation("step 1", 90, 180).annotation("data", 200, 230)
    trace = b.build()
    found = attribute(trace)
    assert summary(account_for(trace, found).partial)["total_ns"] == 210
    assert summary(account_for(trace, found, Selection(steps=1)).partial)["total_ns"] == 90
    said = report(trace).table("phases").remarks
    assert said[:2] == ("count: ranges", "no device work in this trace: host self time on the main thread")


@pytest.mark.parametrize(
    ("name", "common"),
    [("step 3", "step *"), ("step[DECODE bs=8]", "step*"), ("[step 12]", "[step *]"), ("run(a(b)) 1", "run(a*) *")],
)
def test_what_the_names_of_several_steps_have_in_common(name, common):
    assert spelled(name) == common


def test_no_annotation_no_step():
    assert steps(TraceBuilder()) == (StepSource.NONE, [])
    assert steps(TraceBuilder().range("step", 0, 10).range("step", 20, 30, HostKind.PYTHON)) == (StepSource.NONE, [])


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "count", "wall_ns"),
    [("resnet50_torch18_workers0", 6, 917_731_000), ("resnet50_torch19_workers4", 6, 769_484_000)],
)
def test_files_of_2021_have_steps(name, count, wall_ns):
    """Issue 11 has the first file's number; the second's is the sum of `dur` of its ProfilerStep# events."""
    found = attribute(load(corpus_file(f"kineto/{name}.json.gz")))
    assert found.host.step_source is StepSource.PROFILER
    assert (len(found.steps), sum(step.end - step.start for step in found.steps)) == (count, wall_ns)


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name",
    ["kineto/b300_moe_decode.json.gz", "kineto/mtia_inference.json.gz", "kineto/a100_small_iterations.json.gz",
     "nsys/rtx3090_2023_schema.sqlite", "nsys/h100_2gpu_1s.sqlite"],
)  # fmt: skip
def test_nothing_serves_as_a_step_where_nothing_repeats_as_one(name):
    assert attribute(load(corpus_file(name))).host.step_source is StepSource.NONE
