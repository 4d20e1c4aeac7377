"""What a page looks like: its rules, in the colours of a theme, and those of figures, which render.colours has."""

from __future__ import annotations

import re
from pathlib import Path

from perfkit.render import colours

_ASSETS = Path(__file__).parent / "assets"


def style() -> str:
    """The page's CSS; on paper always in the light theme."""
    light, dark, rules = ((_ASSETS / name).read_text("utf-8") for name in ("light.css", "dark.css", "style.css"))
    return (
        f":root {{\n{light}{_of_figures()}}}\n:root[data-theme=dark] {{\n{dark}}}\n"
        f"@media (prefers-color-scheme: dark) {{ :root[data-theme=auto] {{\n{dark}}} }}\n"
        f"@media print {{ :root[data-theme] {{\n{light}}} }}\n{rules}"
    )


def _of_figures() -> str:
    """`--c0` and so on, the palette; `--key-forward` and so on, what has a colour of its own. `keyColor` reads them."""
    palette = {f"c{place}": _written(colour) for place, colour in enumerate(colours.PALETTE)}
    keys = {"key-" + re.sub(r"\W+", "-", name): _written(colour) for name, colour in colours.OF.items()}
    return "".join(f"  --{name}: {value};\n" for name, value in (palette | keys).items())


def _written(colour: colours.Colour) -> str:
    """Black is the text's own: it would not be seen on dark."""
    return "var(--text)" if colour is colours.BLACK else colour.hex
