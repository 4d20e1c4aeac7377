"""The icicle's boxes: widths add up, alike modules without room are one, and what is drawn has its name."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from perfkit.render.plots import icicle
from perfkit.schema.page.figures import Tree

TREE = Tree(
    labels=("all", "layers", "head", "layers.0", "layers.1", "layers.1.attn"),
    parents=(-1, 0, 0, 1, 1, 4),
    phases=("forward", "backward"),
    own=((0, 0), (10, 0), (20, 40), (30, 0), (15, 0), (25, 60)),
)


def named(tree: Tree, steps: int = 1) -> dict[tuple[str, str], tuple[int, float, float]]:
    """Label and phase -> level, left and width in ns."""
    return {
        (box.label, box.phase): (box.level, round(box.left * 1e9, 3), round(box.width * 1e9, 3))
        for box in icicle.boxes(tree, steps)
    }


def test_phases_stand_side_by_side_and_modules_below_what_contains_them():
    """GIVEN 100 ns of forward and 100 of backward THEN 200 in all, and each box below its parent, the larger first"""
    assert named(TREE) == {
        ("all", ""): (0, 0, 200),
        ("forward", "forward"): (1, 0, 100),
        ("layers", "forward"): (2, 0, 80),
        ("layers.0", "forward"): (3, 0, 30),
        ("layers.1", "forward"): (3, 30, 40),
        ("attn", "forward"): (4, 30, 25),
        ("head", "forward"): (2, 80, 20),
        ("backward", "backward"): (1, 100, 100),
        ("layers", "backward"): (2, 100, 60),
        ("layers.1", "backward"): (3, 100, 60),
        ("attn", "backward"): (4, 100, 60),
        ("head", "backward"): (2, 160, 40),
    }


def test_times_are_those_of_one_step():
    assert named(TREE, steps=4)["all", ""] == (0, 0, 50)


def test_layers_too_narrow_to_be_named_are_one():
    """GIVEN 30 layers with a part each, 1/30 of the width THEN one box for them, and one for their parts"""
    layers = [f"layers.{number}" for number in range(30)]
    tree = Tree(
        labels=("all", "layers", *layers, *(f"{layer}.attn" for layer in layers)),
        parents=(-1, 0, *([1] * 30), *range(2, 32)),
        phases=("forward",),
        own=((0,), (0,), *([(1,)] * 30), *([(2,)] * 30)),
    )
    drawn = named(tree)
    assert drawn["layers.* x30", "forward"] == (3, 0, 90)
    assert drawn["attn", "forward"] == (4, 0, 60)


def test_layers_are_one_in_each_phase_or_in_none():
    """GIVEN layers that have room for their names by all phases together, and hardly any time in forward

    THEN they are boxes of their own in forward, too, as they are in backward
    """
    layers = [f"layers.{number}" for number in range(4)]
    tree = Tree(
        labels=("all", "layers", *layers),
        parents=(-1, 0, *([1] * 4)),
        phases=("forward", "backward"),
        own=((0, 0), (0, 0), *([(2, 250)] * 4)),
    )
    drawn = {key for key in named(tree) if key[0].startswith("layers.")}
    assert drawn == {(layer, phase) for layer in layers for phase in tree.phases}


def test_an_icicle_has_a_time_axis_and_names():
    axes = Figure(figsize=(8, 3)).subplots()
    icicle.draw(axes, TREE, 3)
    assert axes.get_xlabel() == "time, mean of 3 steps"
    assert axes.get_xlim() == pytest.approx((0, 200e-9 / 3))
    assert any(text.get_text().startswith("forward 33.33 ns (50.0%)") for text in axes.texts)
    assert len(axes.patches) == 12
