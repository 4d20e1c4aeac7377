"""`--plot`: pictures by name, each into a file of its own."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
from cyclopts import Parameter

from perfkit.commands.console import plots
from perfkit.commands.inputs import completing
from perfkit.commands.inputs.paths import out_of_tables
from perfkit.errors import UsageError
from perfkit.render import files
from perfkit.schema.page import pictures
from perfkit.schema.page.pictures import Picture
from perfkit.schema.printable import printable

if TYPE_CHECKING:
    from perfkit.analysis.reports.page.pictures import Plot

_Source = TypeVar("_Source")


class Wanted(msgspec.Struct, frozen=True):
    """One picture."""

    name: str
    """Empty: the first that what is shown has."""
    path: Path
    is_told: bool
    """The file was named, so that nobody must be told where it is."""


class _Offer(msgspec.Struct, frozen=True):
    """A picture that can be drawn here."""

    name: str
    build: Callable[[], Picture]


def plot_flag(names: Sequence[str]) -> Parameter:
    """`--plot` of a command that draws these."""
    said = f"Also draw: {', '.join(names)}; each into NAME.png, or the .png, .svg or .pdf file named after it."
    return Parameter(help=said, consume_multiple=(1, None), completer=completing.names(names))


class Plots:
    """The pictures that `--plot` asks for. Nothing is drawn where none is."""

    def __init__(self, words: Sequence[str], names: Sequence[str]) -> None:
        """`names`: what the command can draw at all.

        Raises UsageError for another name, and where no file can be written.
        """
        self._wanted = wanted(words, names)
        self._offers: list[list[_Offer]] = []

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def offer(self, some: Sequence[Plot[_Source]], source: _Source) -> None:
        """What can be drawn of a source. A later source has the word where two have a picture of one name."""
        self._offers.append([_Offer(plot.name, lambda build=plot.build: build(source)) for plot in some])  # type: ignore[misc]

    def draw(self) -> None:
        """Draw all that can be drawn of what was asked for.

        Then raises UsageError for the first that was not offered, or has nothing to show.
        """
        problems = [problem for problem in map(self._drawn, self._wanted) if problem]
        if problems:
            raise UsageError(f"--plot {problems[0]}")

    def _drawn(self, one: Wanted) -> str:
        """Draw one; what hinders it, or nothing."""
        by_name = {offer.name: offer for some in self._offers for offer in some}
        name = one.name or next((some[0].name for some in self._offers), "")
        if name not in by_name:
            there = f"choose from {', '.join(by_name)}" if by_name else "name one trace, run or sweep"
            return f"{name or one.path}: there is nothing here to draw it of; {there}"
        try:
            picture = by_name[name].build()
        except UsageError as error:
            return f"{name}: {error}"
        plots.draw(picture, one.path)
        if not one.is_told:
            print(f"wrote {printable(str(one.path))}", file=sys.stderr)
        return ""


def out_of_pictures(words: Sequence[str], names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Values of --plot, and the paths to read among them, for it takes all that follows: `--plot icicle FILE`."""
    files_to_write = [word for word in words if Path(word).suffix.lower() in pictures.EXTENSIONS]
    return out_of_tables(words, (*names, *files_to_write))


def wanted(words: Sequence[str], names: Sequence[str]) -> tuple[Wanted, ...]:
    """`icicle`, `icicle out.svg`, or a file alone: the picture of its name, else the first there is."""
    found: list[Wanted] = []
    for word in words:
        path = Path(word)
        if path.suffix.lower() in pictures.EXTENSIONS:
            if found and not found[-1].is_told:
                found[-1] = Wanted(found[-1].name, path, is_told=True)
            else:
                found.append(Wanted(path.stem if path.stem in names else "", path, is_told=True))
        elif word in names:
            found.append(Wanted(word, pictures.default_file(word), is_told=False))
        else:
            raise UsageError(f"--plot {_not_known(word, names)}")
    for one in found:
        files.check_place(one.path, pictures.EXTENSIONS)
    paths = [one.path.resolve() for one in found]
    if len(set(paths)) < len(paths):
        raise UsageError("--plot names the same file twice: name another")
    return tuple(found)


def _not_known(word: str, names: Sequence[str]) -> str:
    if Path(word).suffix:
        return f"{word}: the extension chooses the format: use {', '.join(pictures.EXTENSIONS)}"
    if "," in word:
        return f"{word}: put spaces between names, no commas"
    close = difflib.get_close_matches(word.lower().replace("-", "_"), names, 1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"{word}: there is no picture of that name{meant}; choose from {', '.join(names)}"
