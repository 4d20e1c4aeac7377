"""What in the pages is made anew from the code: tables of flags, rules and tables, and the output of cheap commands.

`python -m tests.docs.pages` writes both into README.md and docs/*.md, and is how to mend a page that its test rejects.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import os
import re
import shlex
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Literal
from unittest.mock import patch

from cyclopts import Parameter

from perfkit import cli
from perfkit.analysis.costs.hardware.lookup import PARTS
from perfkit.analysis.costs.hardware.part import Part
from perfkit.analysis.findings.performance.catalogue import LOOKS
from perfkit.analysis.reports import recorded_memory
from perfkit.analysis.reports.trace import TABLES
from perfkit.commands.analyze import AnalyzeOptions
from perfkit.commands.attention import AttentionOptions
from perfkit.commands.compare import CompareOptions
from perfkit.commands.doctor import DoctorOptions
from perfkit.commands.explain import ExplainOptions
from perfkit.commands.history import HistoryOptions
from perfkit.commands.inputs.flags import RunFlags
from perfkit.commands.memory import MemoryOptions
from perfkit.commands.report import ReportOptions
from perfkit.commands.run import RunOptions
from perfkit.commands.study import StudyOptions
from perfkit.commands.sweep import SweepOptions
from perfkit.schema.ceilings import Precision
from perfkit.schema.finding import CLEAN, Rule, Topic

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
OPTIONS = {
    "run": (RunFlags, RunOptions),
    "sweep": (SweepOptions,),
    "attention": (AttentionOptions,),
    "analyze": (AnalyzeOptions,),
    "memory": (MemoryOptions,),
    "compare": (CompareOptions,),
    "report": (ReportOptions,),
    "explain": (ExplainOptions,),
    "history": (HistoryOptions,),
    "study": (StudyOptions,),
    "doctor": (DoctorOptions,),
}
"""Command -> the dataclasses that its own flags come from."""
PAGE_OF = {"memory": "memory_snapshots"}
"""Commands whose page has another name than theirs: `memory.md` is about memory before anything runs."""
WIDTH = 120
"""Characters in a line of output shown in a page."""
MEASURES = ("saved in traces/", "results in ")
"""A line of output that shows that a command measured something: too dear to run in a test, and never the same."""

_SLOWLY = re.compile(r"^.*, \d+ s so far\n", re.MULTILINE)
"""What is told every ten seconds, where a machine is that slow."""
_FLAGS = re.compile(r"(<!-- flags: (\w+)(?: (\w+))? -->\n).*?(<!-- end -->)", re.DOTALL)
_MADE = re.compile(r"(<!-- (?!end)([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = re.compile(r" \| head -n (\d+)$")
_CONSOLE = re.compile(r"(```console\n)(.*?)(```)", re.DOTALL)
_BY_NAME = {options.__name__: options for found in OPTIONS.values() for options in found}


@dataclass(frozen=True)
class Flag:
    """One flag, as the command line has it."""

    name: str
    values: str
    default: str
    group: str
    text: str

    @property
    def row(self) -> str:
        """Its row in a table."""
        return f"| `{self.name}` | {self.values} | {self.default} | {self.text} |"


def flags(options: type[Any]) -> Iterator[Flag]:
    """The flags of a dataclass of options, in order."""
    hints = typing.get_type_hints(options, include_extras=True)
    said = {name: text for name, hint in hints.items() if (text := _help(hint))}
    texts = said if len(said) == len(hints) else _field_texts(options) | said
    for field in dataclasses.fields(options):
        kind, group = _unwrapped(hints[field.name])
        yield Flag(
            name="--" + field.name.replace("_", "-"),
            values=_values(kind),
            default=_default(field.default),
            group=group,
            text=" ".join(texts[field.name].split()).replace("|", "\\|"),
        )
        for alias in _aliases(hints[field.name]):
            yield Flag(alias, _values(kind), "-", group, f"The same as --{field.name.replace('_', '-')}.")


def _field_texts(options: type[Any]) -> dict[str, str]:
    """The text under each field."""
    [body] = [
        node.body
        for node in ast.parse(textwrap.dedent(inspect.getsource(options))).body
        if isinstance(node, ast.ClassDef)
    ]
    texts = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            assert isinstance(text.value, ast.Constant)
            texts[field.target.id] = str(text.value.value)
    return texts


def _unwrapped(hint: Any) -> tuple[Any, str]:
    """The type proper, and the group of the help it is in."""
    group = ""
    if typing.get_origin(hint) is typing.Annotated:
        hint, *notes = typing.get_args(hint)
        groups: list[Any] = [note.group for note in notes if isinstance(note, Parameter)]
        group = next((one.name for several in groups for one in several), "")
    if typing.get_origin(hint) in (typing.Union, UnionType):
        [hint] = [part for part in typing.get_args(hint) if part is not type(None)]
    return hint, group


def _aliases(hint: Any) -> tuple[str, ...]:
    """Further names of a flag, which its Parameter lists after the first."""
    notes = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
    return tuple(name for note in notes if isinstance(note, Parameter) for name in tuple(note.name or ())[1:])


def _help(hint: Any) -> str:
    """The text that its Parameter has; else, of a class that is written by hand, it is under the field."""
    notes = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
    return next((note.help for note in notes if isinstance(note, Parameter) and note.help), "")


def _values(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        members = typing.get_args(kind)
        return "paths" if members[0] is Path else "names" if Ellipsis in members else f"{len(members)} texts"
    return {bool: "(switch)", int: "number", float: "number", str: "text", Path: "path"}[kind]


def _default(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{value}`"


def flag_table(options: type[Any], group: str) -> str:
    """A Markdown table of the flags of one group."""
    lines = ["| flag | values | default | |", "|---|---|---|---|"]
    return "\n".join([*lines, *(flag.row for flag in flags(options) if flag.group == group)]) + "\n"


def rules() -> dict[str, Rule]:
    """Every rule of the code, `NAME = Rule(...)` at the top of a module, by name; topic by topic, file by file.

    Read, not imported: some of the modules need PyTorch, which documents do not.
    """
    found = [
        (node.targets[0].id, Rule(*map(ast.literal_eval, node.value.args)))  # type: ignore[attr-defined]
        for file in sorted((ROOT / "perfkit").rglob("*.py"))
        for node in ast.parse(file.read_bytes()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if getattr(node.value.func, "id", "") == "Rule"
    ]
    topics = typing.get_args(Topic)
    named = dict(sorted(found, key=lambda one: topics.index(one[1].topic)))
    assert len({rule.id for rule in named.values()}) == len(found), "rules share a name"
    return named


def rule_table() -> str:
    """A Markdown table of the rules that make findings."""
    lines = ["| rule | about | finds |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{rule.id}` | {rule.topic} | {rule.doc} |" for rule in rules().values())]) + "\n"


def integrity_table() -> str:
    """A Markdown table of what a trace asks caution for."""
    lines = ["| integrity | |", "|---|---|"]
    asking = (rule for rule in rules().values() if rule.topic == "integrity" and rule != CLEAN)
    return "\n".join([*lines, *(f"| {rule.title} | {rule.doc} |" for rule in asking)]) + "\n"


def trace_tables() -> str:
    """A Markdown table of the tables of a trace."""
    lines = ["| table | a row is | columns |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{table.name}` | {table.row} | {table.columns} |" for table in TABLES)]) + "\n"


def memory_tables() -> str:
    """A Markdown table of the tables of a recording of memory."""
    lines = ["| table | a row is |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{table.name}` | {table.row} |" for table in recorded_memory.TABLES)]) + "\n"


def hardware_table() -> str:
    """A Markdown table of the devices whose peaks are known: TFLOP/s and GB/s."""
    precisions = typing.get_args(Precision)
    head = ["device", "memory", "units", "MHz", *precisions, "GB/s", "links"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(_hardware_row(part, precisions) for part in PARTS)]) + "\n"


def _hardware_row(part: Part, precisions: tuple[Precision, ...]) -> str:
    hardware = part.hardware()
    clocks = part.mhz if isinstance(part.mhz, tuple) else (part.mhz,)
    cells = [
        part.name,
        f"{part.gib:g} GB",
        str(part.multiprocessors),
        " / ".join("-" if mhz is None else str(mhz) for mhz in clocks),
        *("-" if (peak := hardware.peak(of)) is None else f"{peak.flops_per_s * 1e-12:.1f}" for of in precisions),
        "-" if part.gb_per_s is None else f"{part.gb_per_s:g}",
        ", ".join(f"{link.kind} {link.bytes_per_s * 1e-9:.4g}" for link in hardware.links) or "-",
    ]
    return "| " + " | ".join(cells) + " |"


def hardware_sources() -> str:
    """A Markdown list of the documents behind the table, each with its devices."""
    devices: dict[str, list[str]] = {}
    for part in PARTS:
        devices.setdefault(f"{part.source}; {part.chip.source}", []).append(part.name)
    lines = ["| documents: the card's; the chip's | devices |", "|---|---|"]
    return (
        "\n".join([*lines, *(f"| {of} | {', '.join(dict.fromkeys(names))} |" for of, names in devices.items())]) + "\n"
    )


def performance_table() -> str:
    """A Markdown table of what each performance rule looks for and what it says is at stake, from its docstring."""
    lines = ["| rule | looks for | at stake |", "|---|---|---|"]
    for look in LOOKS:
        paragraphs = (inspect.getdoc(look.find) or "").split("\n\n")
        stake = next(text for text in paragraphs if "at stake" in text.lower())
        stake = " ".join(stake.removeprefix("At stake: ").split())
        lines.append(f"| `{look.rule.id}` | {look.rule.doc} | {stake[:1].lower()}{stake[1:].rstrip('.')} |")
    return "\n".join(lines) + "\n"


MADE = {
    "rules": rule_table,
    "integrity": integrity_table,
    "tables of a trace": trace_tables,
    "tables of memory": memory_tables,
    "hardware": hardware_table,
    "sources of hardware": hardware_sources,
    "performance": performance_table,
}
"""What stands between `<!-- NAME -->` and `<!-- end -->` of a page."""


@dataclass(frozen=True)
class Shown:
    """A command in a console block, and the output under it."""

    command: str
    output: str

    @property
    def is_own(self) -> bool:
        """Whether it is perfkit's."""
        return shlex.split(self.command)[:1] == ["perfkit"]

    @property
    def is_cheap(self) -> bool:
        """Whether a test can run it here and compare."""
        return (
            self.is_own
            and not any(text in self.output for text in MEASURES)
            and "$" not in os.path.expandvars(self.command)
        )


def shown_commands(text: str) -> Iterator[Shown]:
    """Every command of a page's console blocks."""
    for block in _CONSOLE.finditer(text):
        for part in re.split(r"^\$ ", block[2], flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield Shown(command, output)


def environment() -> dict[str, str]:
    """Of a command: lines of one length, no colours, perfkit from here."""
    return {**os.environ, "COLUMNS": str(WIDTH), "NO_COLOR": "1", "PYTHONPATH": str(ROOT), "KINETO_LOG_LEVEL": "99"}


def run(command: str) -> tuple[int, str]:
    """Exit code and output (standard output, then errors) of a perfkit command, run in the repository's root.

    Where the command ends with `| head -n N`, of standard output its first N lines.
    """
    out, err = io.StringIO(), io.StringIO()
    head = _HEAD.search(command)
    with (
        contextlib.chdir(ROOT),
        patch.dict(os.environ, environment()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = cli.main(shlex.split(os.path.expandvars(_HEAD.sub("", command)))[1:])
    lines = out.getvalue().splitlines(keepends=True)
    return code, "".join(lines[: int(head[1])] if head else lines) + _SLOWLY.sub("", err.getvalue())


def renewed(text: str) -> str:
    """A page with what is made of the code, and the output of its cheap commands, made anew."""

    def table(match: re.Match[str]) -> str:
        return match[1] + flag_table(_BY_NAME[match[2]], match[3] or "") + match[4]

    def console(match: re.Match[str]) -> str:
        commands = list(shown_commands(match[0]))
        return match[1] + "".join(f"$ {one.command}\n{_output(one)}" for one in commands) + match[3]

    def made(match: re.Match[str]) -> str:
        return match[1] + MADE[match[2]]() + match[3]

    text = _MADE.sub(made, _FLAGS.sub(table, text))
    return _CONSOLE.sub(console, text)


def _output(shown: Shown) -> str:
    return run(shown.command)[1] if shown.is_cheap else shown.output


def main() -> None:
    """Renew every page."""
    for page in PAGES:
        old = page.read_text(encoding="utf-8")
        new = renewed(old)
        if new != old:
            page.write_text(new, encoding="utf-8")
            print(f"{page.relative_to(ROOT)}: renewed")
    try:
        from tests.docs import notebook  # noqa: PLC0415 - it needs this module, and Jupyter

        notebook.PAGE.write_text(notebook.page(notebook.executed()), encoding="utf-8")
    except ImportError as error:
        print(f"docs/notebook.md: left as it is, for want of {error.name}: pip install -e '.[test]'")


if __name__ == "__main__":
    main()
