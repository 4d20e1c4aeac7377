from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from perfkit.render.shorten import middle, shorten

ELEMENTWISE = (
    "void at::native::vectorized_elementwise_kernel<4, at::native::BinaryFunctor<float, float, float, "
    "at::native::binary_internal::{0}<float> >, std::array<char*, 3ul> >(int, at::native::BinaryFunctor<"
    "float, float, float, at::native::binary_internal::{0}<float> >, std::array<char*, 3ul>)"
)


def test_the_middle_gives_way():
    assert middle("vectorized_elementwise_kernel", 16) == "vectorized…ernel"
    assert middle("vectorized_elementwise_kernel", 16, "...") == "vectorize...rnel"
    assert middle("short", 5) == "short"


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("layers.11.attention.q_proj", "layer…ion.q_proj"),
        ("layers.*.attention.q_proj", "layer…ion.q_proj"),
        ("Model_0/Block_3/Attention_3/Linear_7", "Model…3/Linear_7"),
        ("void at::native::kernel<float, 4>(int, float)", "void at::n…loat)"),
    ],
)
def test_of_a_modules_path_the_end_stays(path, short):
    assert middle(path, 16) == short


def test_wide_characters_take_two_cells():
    assert middle("日本語のカーネル", 9) == "日本語…ル"


def test_names_that_would_look_alike_show_where_they_differ():
    # GIVEN
    names = [ELEMENTWISE.format(functor) for functor in ("MulFunctor", "AddFunctor", "DivFunctor")]

    # WHEN
    short = shorten(names, 48)

    # THEN
    assert short == [
        "void at::native::vector…MulFunctor<float> >, st…",
        "void at::native::vector…AddFunctor<float> >, st…",
        "void at::native::vector…DivFunctor<float> >, st…",
    ]


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
def test_very_little_room(width):
    assert all(cell_len(name) <= width for name in shorten(["abcdefghij", "abcdXfghij", "日本語のカーネル"], width))


@given(st.lists(st.text(max_size=60)), st.integers(1, 50), st.sampled_from(["…", "..."]))
def test_never_wider_than_the_room(names, width, mark):
    short = shorten(names, width, mark)
    assert all(cell_len(text) <= width for text in short)
    assert all(text == name for text, name in zip(short, names, strict=True) if cell_len(name) <= width)
