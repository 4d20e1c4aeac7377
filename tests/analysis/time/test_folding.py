"""Numbers in users' names: which fold, and which are a part of the word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.analysis.time.folding import folded, folded_paths, layer_of


@pytest.mark.parametrize(
    ("one", "other", "star"),
    [
        ("iteration 3", "iteration 4", "iteration *"), ("step_3", "step_12", "step_*"),
        ("layers[0]", "layers[1]", "layers[*]"),
        ("training_step_7", "training_step_8", "training_step_*"), ("layer_0", "layer_1", "layer_*"), ("0", "1", "*"),
        ("model.layers.0.attn", "model.layers.1.attn", "model.layers.*.attn"), ("layer3", "layer4", "layer*"),
        ("DecoderLayer3", "DecoderLayer4", "DecoderLayer*"), ("## step: 1 ##", "## step: 2 ##", "## step: * ##"),
        ("execute_context_0(0)_generation_16(16)", "execute_context_1(512)_generation_8(8)",
         "execute_context_*(*)_generation_*(*)"),
        ("step[DECODE bs=8]", "step[DECODE bs=16]", "step[DECODE bs=*]"), ("a/b 1", "a/b 2", "a/b *"),
    ],
)  # fmt: skip
def test_numbers_that_differ_fold(one, other, star):
    assert folded([one, other]) == {one: star, other: star}


@pytest.mark.parametrize(
    "names",
    [
        ("conv2d", "conv3d"), ("fp8", "fp16"), ("sha256", "sha512"), ("h100", "h200"), ("conv1", "conv2"),
        ("fc1", "fc2"), ("layers[0]", "layer[1]"), ("iteration 3",), ("mm 1024x1024", "mm 2048x2048"),
        ("x1y", "x2y"), ("v1", "v2"),
    ],
)  # fmt: skip
def test_numbers_that_are_a_part_of_the_word_or_stand_alone_do_not(names):
    assert folded(names) == {name: name for name in names}


def test_only_the_numbers_that_differ_fold():
    names = ["fp 8, layer 0", "fp 8, layer 1"]
    assert set(folded(names).values()) == {"fp 8, layer *"}


def test_paths_fold_among_those_whose_fronts_fold_into_one():
    """GIVEN iterations with a layer each, and another range with one THEN only the iterations' layers fold"""
    paths = [("iteration 0", "layer 0"), ("iteration 1", "layer 1"), ("iteration 1",), ("eval", "layer 0")]
    assert folded_paths(paths) == {
        ("iteration 0", "layer 0"): ("iteration *", "layer *"),
        ("iteration 1", "layer 1"): ("iteration *", "layer *"),
        ("iteration 1",): ("iteration *",),
        ("eval", "layer 0"): ("eval", "layer 0"),
    }
    assert folded_paths([]) == {}


@pytest.mark.parametrize(
    ("path", "starred", "layer", "group"),
    [
        (["enc", "layer 0", "attn"], ["enc", "layer *", "attn"], ["enc", "layer 0"], ["enc", "layer *"]),
        (["model.layers.10.attn"], ["model.layers.*.attn"], ["model.layers.10"], ["model.layers.*"]),
        (["layers[3].mlp.fc"], ["layers[*].mlp.fc"], ["layers[3]"], ["layers[*]"]),
        (["a", "layers[3]", "b 1"], ["a", "layers[*]", "b *"], ["a", "layers[3]"], ["a", "layers[*]"]),
        (["execute_3_of_4"], ["execute_*_of_4"], ["execute_3_of_4"], ["execute_*_of_4"]),
        (["enc", "attn"], ["enc", "attn"], ["enc"], ["enc"]),
        (["*.3.x"], ["*.*.x"], ["*.3"], ["*.*"]),
    ],
)
def test_the_layer_of_a_path(path, starred, layer, group):
    assert layer_of(path, starred) == (layer, group)


@given(st.lists(st.text(st.sampled_from("a_ 019[]"), max_size=6), max_size=8))
def test_whatever_folds_into_one_differs_in_numbers_alone(names):
    stars = folded(names)
    assert stars.keys() == set(names)
    for name, star in stars.items():
        alone = [other for other in stars if stars[other] == star]
        assert star == name or len(alone) > 1
