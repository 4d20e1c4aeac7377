"""A page's colours are those of pictures and terminals."""

from __future__ import annotations

import re
from pathlib import Path

from perfkit.render import colours
from perfkit.render.html import style


def test_what_stands_for_something_has_its_colour_in_the_page():
    """GIVEN phases, a cause with a dash, a side WHEN the rules are written THEN they have perfkit's own colours"""
    rules = style.style()
    for name in ("forward", "backward", "launch-starved", "side-b"):
        assert f"--key-{name}: {colours.OF[name].hex};" in rules
    assert f"--key-exposed-copies: {colours.OF['exposed copies'].hex};" in rules
    assert f"--c1: {colours.PALETTE[1].hex};" in rules


def test_black_is_the_colour_of_the_text():
    """GIVEN the palette, which has black WHEN written THEN it is the theme's text, which is white on dark"""
    assert "#000000" not in style.style()
    assert f"--c{colours.PALETTE.index(colours.BLACK)}: var(--text);" in style.style()


def test_no_file_has_colours_of_figures_of_its_own():
    """GIVEN the files of both themes THEN neither names a key or a place of the palette"""
    themes = [path.read_text("utf-8") for path in Path(style.__file__).parent.glob("assets/*.css")]
    assert len(themes) == 3
    assert [re.findall(r"--(?:key-|c\d|heat)", theme) for theme in themes] == [[], [], []]
