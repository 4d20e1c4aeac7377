"""Rows beside what their sizes ask for: the published tables."""

from __future__ import annotations

import pytest

from perfkit.analysis.explained import card, judging
from perfkit.analysis.explained.judging import Judged
from perfkit.analysis.explained.reading import Defaults, read
from tests.analysis.explained import published

GIB = 2**30


def _judged(text: str, device: str, **defaults: object) -> dict[tuple[str, str, str], Judged]:
    rows = read(text, Defaults(**defaults))  # type: ignore[arg-type]
    found = judging.judge(rows, card.named(device))
    return {(one.row.name, one.row.part, one.row.config.step.precision): one for one in found}


def test_why_large_took_eighteen_seconds():
    """By hand: three times a forward pass are 12.33 TFLOP, and small and medium ran at 5.20 and 5.80 TFLOP/s."""
    # WHEN
    judged = _judged(published.LAPTOP, "RTX 4090 Laptop GPU")

    # THEN
    large = judged["large", "forward-backward", "fp32"]
    blocks = 36 * (8 * 2048 * 1280**2 + 6 * 2048 * 1280 * 5120 + 4 * 2048 * 512 * 1280)
    assert large.flops == 3 * (blocks + 2 * 2048 * 1280 * 10_000)
    assert large.expected == (pytest.approx(2.127, abs=0.001), pytest.approx(2.372, abs=0.001))
    assert large.need.tensors / GIB == pytest.approx(20.1, abs=0.05)
    assert large.own.tensors / GIB == pytest.approx(15.9, abs=0.05)
    assert (large.said, large.own.verdict) == ("spilled", "borderline")
    assert large.need.beyond == large.need.tensors + 2**29 - 16 * GIB
    assert large.lost == pytest.approx(17.8 - 2.372, abs=0.001)
    assert {one.said for one in judged.values() if one.row.status == "oom"} == {"out of memory"}
    assert {judged[size, "forward-backward", "fp32"].said for size in ("small", "medium")} == {"as expected"}


def test_an_a100_ran_a_step_that_takes_all_of_its_memory():
    # WHEN
    judged = _judged(published.A100, "A100-SXM4-40GB")

    # THEN
    odd = {key[:2]: one.said for key, one in judged.items() if one.said != "as expected"}
    assert odd == {("2.7B", "forward-backward"): "more than there is", ("xl", "train"): "out of memory"}
    assert judged["2.7B", "forward-backward", "fp32"].need.tensors / GIB == pytest.approx(40.0, abs=0.05)
    assert all(one.rate < one.peak for one in judged.values() if one.rate and one.peak)


def test_an_h100_was_faster_than_fp32_allows():
    # WHEN
    judged = _judged(published.H100, "H100 80GB HBM3")

    # THEN
    widest = judged["2.7B", "forward", "fp32"]
    assert widest.rate == pytest.approx(158e12, rel=0.005)
    assert widest.rate > 2 * (widest.peak or 0)
    assert not any(one.said in ("slow", "spilled") for one in judged.values())


@pytest.mark.parametrize("layer_ms", [(1.26, 1.29, 1.32), (1.32, 1.26, 1.3)])
def test_sizes_that_take_the_same_time_a_block_wait_for_the_host(layer_ms: tuple[float, ...]):
    # GIVEN
    layers = {"small": 12, "medium": 24, "large": 36}
    rows = [f"{size},{count * ms:.2f}" for (size, count), ms in zip(layers.items(), layer_ms, strict=True)]
    table = "\n".join(["model,forward_ms", *rows])

    # WHEN
    judged = _judged(table, "H100 80GB HBM3", context_length=128)

    # THEN
    assert {one.said for one in judged.values()} == {"launch-bound"}


def test_blocks_that_take_longer_the_wider_they_are_do_not_wait():
    judged = _judged(published.A100, "A100-SXM4-40GB")
    assert not any(one.said == "launch-bound" for one in judged.values())


def test_two_failures_of_a_5090_stay_unexplained():
    judged = _judged(published.RTX_5090, "RTX 5090")
    assert judged["large", "forward-backward", "fp32"].said == "oom unexplained"


def test_a_b200_has_bf16_rows_beside_fp32_ones_and_the_names_of_2026():
    # WHEN
    judged = _judged(published.B200, "B200", edition="2026")

    # THEN
    assert judged["xl", "forward", "fp32"].row.config.transformer.parameters == 3_406_809_600
    assert all(one.rate < one.peak for one in judged.values() if one.rate and one.peak)
    assert {one.said for key, one in judged.items() if key[2] == "fp32"} == {"as expected"}


def test_without_a_card_no_row_is_judged_by_its_memory():
    # WHEN
    found = judging.judge(read(published.LAPTOP, Defaults()), card.Card())

    # THEN
    assert [one.said for one in found][:3] == ["as expected", "as expected", "slow"]
    assert {one.need.verdict for one in found} == {None}
