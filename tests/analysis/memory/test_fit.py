"""What fits, and what to change where it does not."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from perfkit.analysis.memory import fit as memory_fit
from perfkit.analysis.memory.fit import Prediction, predict, proposals, suggestions, two_changes
from perfkit.schema.config import RunConfig

GIB = 2**30


def config(device: str = "cuda", **fields: Any) -> RunConfig:
    return RunConfig.of(**{"model_size": "large", **fields}).resolved(device)


def pasted(base: dict[str, Any], command: str, device: str) -> RunConfig:
    """The configuration that a user gets who adds the flags to the command line."""
    fields = dict(base)
    words = shlex.split(command)
    while words:
        name = words.pop(0).removeprefix("--").replace("-", "_")
        value: Any = True if not words or words[0].startswith("--") else words.pop(0)
        fields[name] = int(value) if str(value).isdecimal() else value
    return RunConfig.of(**fields).resolved(device)


@pytest.mark.parametrize(
    ("peak", "verdict"),
    [(8.39, "fits"), (8.51, "borderline"), (9.99, "borderline"), (10.01, "will not fit")],
)
def test_verdicts_have_bands(peak, verdict):
    """0.5 GiB are beside the tensors: of 9.9 GiB + x, fits is below 90%, will not fit above 105%."""
    assert Prediction(config(), round(peak * GIB), 0, "", 10 * GIB, GIB // 2).verdict == verdict


def test_without_a_memory_there_is_no_verdict():
    assert predict(config()).verdict is None
    assert predict(config("cpu"), 20 * GIB).share == predict(config("cpu")).peak_bytes / (20 * GIB)


def test_what_gives_up_least_comes_first():
    # WHEN
    found = proposals(config(), 16 * GIB)

    # THEN
    assert [one.command for one in found] == [
        "--attention sdpa", "--checkpoint", "--batch-size 2", "--context-length 256", "--model-size medium",
    ]  # fmt: skip
    assert found[2].gives_up == "batch 4 -> 2 (2 to accumulate)"


CASES: list[tuple[dict[str, Any], float, str]] = [
    ({"model_size": "xl", "pass_type": "train"}, 40, "cuda"),
    ({"model_size": "10B", "pass_type": "train"}, 80, "cuda"),
    ({"model_size": "xl", "pass_type": "train", "batch_size": 32, "context_length": 4096}, 24, "cuda"),
    ({"model_size": "small", "batch_size": 7, "context_length": 1000}, 2, "cuda"),
    ({"model_size": "medium", "precision": "bf16", "attention": "sdpa", "checkpoint": True}, 4, "cpu"),
    ({"model_size": "tiny", "context_length": 200_000, "batch_size": 1}, 8, "cpu"),
    ({"model_size": "tiny", "d_model": 96, "num_heads": 6, "d_ff": 7, "batch_size": 1}, 0.001, "cpu"),
    ({"model_size": "tiny", "vocab_size": 10**9, "num_layers": 1}, 16, "cpu"),
    ({"model_size": "tiny", "d_model": 2**24, "num_heads": 2**10}, 16, "cpu"),
    ({"model_size": "10B", "pass_type": "forward"}, 16, "cpu"),
]


@pytest.mark.parametrize(("fields", "memory", "device"), CASES)
def test_what_is_proposed_fits_when_it_is_pasted(fields, memory, device):
    # WHEN
    found = proposals(config(device, **fields), round(memory * GIB))

    # THEN
    assert found
    for one in found:
        prediction = predict(pasted(fields, one.command, device), round(memory * GIB))
        assert prediction.verdict == "fits"
        assert prediction.peak_bytes == one.prediction.peak_bytes


@pytest.mark.parametrize(("fields", "memory", "device"), CASES)
def test_no_proposal_gives_up_as_much_as_another_and_more(fields, memory, device):
    flags = [set(one.flags) for one in proposals(config(device, **fields), round(memory * GIB))]
    assert not any(a < b for a in flags for b in flags)


def test_after_a_failure_that_was_not_foreseen_proposals_are_well_below_it():
    # GIVEN a step that should fit, and did not: something else takes memory
    failed = config("cpu", model_size="small")
    assert predict(failed, 64 * GIB).verdict == "fits"

    # WHEN
    ideas = suggestions(failed, 64 * GIB)

    # THEN
    assert len(ideas) == 2
    for idea in ideas:
        smaller = pasted({"model_size": "small"}, idea, "cpu")
        assert predict(smaller).peak_bytes < 0.8 * predict(failed).peak_bytes


@pytest.mark.parametrize(
    ("fields", "memory", "changes"),
    [
        ({"pass_type": "forward"}, 4, ("--model-size medium", "--model-size small")),
        ({"model_size": "medium", "pass_type": "train"}, 10, ("--checkpoint", "--precision bf16 --attention sdpa")),
    ],
)
def test_there_are_two_changes_to_try_also_where_parameters_alone_do_not_fit(fields, memory, changes):
    assert two_changes(config("cpu", **fields), memory * GIB) == changes


@pytest.mark.parametrize("available", [0, 1])
def test_nothing_available_is_no_reason_to_fail(available):
    assert suggestions(config("cpu"), available) == ()


def test_the_search_is_bounded(monkeypatch):
    # GIVEN a count of what is tried in the worst case: everything is, and nothing fits
    tried: list[RunConfig] = []

    def never(one: RunConfig, memory: int | None = None) -> Prediction:
        tried.append(one)
        return Prediction(one, 2**60, 0, "", memory)

    monkeypatch.setattr(memory_fit, "predict", never)

    # WHEN
    proposals(config(batch_size=1024, context_length=8192, pass_type="train"), 2**50)

    # THEN at a ms each it is a matter of seconds: 9 contexts, 11 batches, 3 kinds of checkpointing and 3 switches of
    # the model as it is; 3 smaller models with the switches; and those with each context, all else being at its least
    assert len(tried) == 9 * 11 * 3 * 2**3 - 1 + 3 * 3 * 2**3 + 3 * 9


@pytest.mark.parametrize(("pass_type", "optimizer"), [("forward", "adamw"), ("forward-backward", "adamw"),
                                                      ("train", "adamw-fused")])  # fmt: skip
def test_what_is_left_out_of_the_search_for_its_parameters_does_not_fit(pass_type, optimizer):
    """GIVEN a step with next to no activations WHEN its least is guessed THEN it is no more than its peak"""
    least = config(batch_size=1, context_length=16, vocab_size=100, pass_type=pass_type, optimizer=optimizer)
    assert 0.9 * predict(least).peak_bytes < memory_fit._least(least) <= predict(least).peak_bytes


def test_a_proposal_without_loss_says_so_and_others_join_what_they_give_up():
    # GIVEN a step that is only too large for Adam's temporary numbers
    train = config(pass_type="train", model_size="large", batch_size=1, context_length=32)
    found = {
        one.command: one.gives_up for one in proposals(train, round(17 * train.transformer.parameters / 0.9) + 2**29)
    }

    # THEN
    assert found["--optimizer adamw-fused"] == "nothing"


@pytest.mark.parametrize(("context", "shortest"), [(64, 32), (63, None), (100, 50), (512, 32)])
def test_a_context_is_halved_while_32_tokens_are_left(context, shortest):
    lengths = [step.changes.get("context_length") for step in memory_fit._contexts(config(context_length=context))]
    assert lengths[-1] == shortest


def test_a_batch_is_halved_to_one_sequence_with_what_to_accumulate():
    steps = list(memory_fit._batches(config(batch_size=7)))[1:]
    assert [step.gives_up for step in steps] == ["batch 7 -> 3 (3 to accumulate)", "batch 7 -> 1 (7 to accumulate)"]


@pytest.mark.parametrize(("peak", "memory", "verdict"), [(8, 10, "fits"), (9, 10, "borderline"), (21, 20, "borderline"),
                                                         (22, 20, "will not fit")])  # fmt: skip
def test_the_bands_begin_at_90_percent_and_end_with_105(peak, memory, verdict):
    assert Prediction(config("cpu"), peak, 0, "", memory).verdict == verdict


def test_each_number_of_a_model_of_ones_own_is_halved_by_itself_and_then_all():
    """GIVEN heads of an even width, of which there are 6: a width is a multiple of 12"""
    own = config("cpu", model_size="tiny", d_model=96, num_heads=6, d_ff=7, num_layers=4, vocab_size=10)
    halves = {"num_layers": 2, "d_ff": 3, "d_model": 48}
    quarters = {"num_layers": 1, "d_ff": 1, "d_model": 24}
    expected = [one for all_of in (halves, quarters) for one in (*({k: v} for k, v in all_of.items()), all_of)]
    assert list(memory_fit._halved(own))[:8] == expected


@pytest.mark.parametrize(("share", "is_most"), [(0.45, False), (0.55, True)])
def test_a_vocabulary_is_most_of_a_model_whose_two_tables_are_more_than_half_of_it(share, is_most):
    """GIVEN a model of P parameters beside the two tables of V x d each THEN share = 2 V d / (P + 2 V d)"""
    own = config("cpu", model_size="tiny", d_model=64, num_heads=4, d_ff=256, num_layers=4, vocab_size=1)
    tables = 2 * own.transformer.shape.d_model
    rest = own.transformer.parameters - tables
    own = config("cpu", model_size="tiny", d_model=64, num_heads=4, d_ff=256, num_layers=4,
                 vocab_size=round(share / (1 - share) * rest / tables))  # fmt: skip
    assert memory_fit._mostly_vocabulary(own) is is_most
    assert ("vocab_size" in next(memory_fit._halved(own))) is is_most


def test_a_smaller_model_is_named_by_its_flags():
    own = config("cpu", model_size="tiny", d_model=4, num_heads=2, d_ff=1000, num_layers=2, vocab_size=1)
    _, *smaller = memory_fit._models(own)
    assert [step.gives_up for step in smaller[:3]] == [
        "the model: num-layers 1", "the model: d-ff 500", "the model: num-layers 1, d-ff 500"]  # fmt: skip
    assert smaller[0].flags == ("--num-layers 1",)


def test_numbers_that_cannot_be_halved_are_left_out_and_one_alone_is_not_all():
    """GIVEN the least width of 2 heads, and 2 or 1 layers THEN d_ff and layers by themselves and both, or d_ff once"""
    own = {"model_size": "tiny", "d_model": 4, "num_heads": 2, "d_ff": 1000, "vocab_size": 1}
    both = list(memory_fit._halved(config("cpu", num_layers=2, **own)))
    assert both[:3] == [{"num_layers": 1}, {"d_ff": 500}, {"num_layers": 1, "d_ff": 500}]
    assert list(memory_fit._halved(config("cpu", num_layers=1, **own)))[:2] == [{"d_ff": 500}, {"d_ff": 250}]


DEEP: dict[str, Any] = {
    "model_size": "small", "num_layers": 200, "d_ff": 768, "attention": "sdpa", "vocab_size": 100, "batch_size": 16,
    "context_length": 2048,
}  # fmt: skip
"""Where the inputs of blocks are most of what checkpointing keeps."""


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 7, 12, 200])
def test_the_best_group_is_the_best_of_all(layers, nested):
    """GIVEN a deep model with a narrow MLP WHEN every size is tried THEN none is below it"""
    deep = config(
        model_size="small", num_layers=layers, d_ff=768, attention="sdpa", vocab_size=100, context_length=2048
    )
    best = memory_fit.best_group(deep, nested=nested)
    peaks = [
        predict(deep.changed(checkpoint_every=n, checkpoint_nested=nested)).peak_bytes for n in range(1, layers + 1)
    ]
    assert peaks[best - 1] == min(peaks)


def test_groups_are_proposed_where_they_need_less_than_single_blocks():
    # GIVEN
    deep = config(**DEEP)
    single = predict(deep.changed(checkpoint=True))
    memory = round((single.peak_bytes + single.beside_bytes) / 0.9)

    # WHEN
    commands = [one.command for one in proposals(deep, memory)]

    # THEN
    assert any("--checkpoint-every" in one for one in commands)
    assert not any(one == "--checkpoint" for one in commands)
