"""The README and docs/ against the code: flags, sizes, commands, output, links, names of fields and columns."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perfkit.analysis.reports.trace import report
from perfkit.analysis.time.cells import REASONS
from perfkit.cli import build_app
from perfkit.commands.compare import CompareOptions
from perfkit.commands.inputs.flags import SWEEP_ALIASES, RunFlags
from perfkit.commands.run import RunOptions
from perfkit.commands.sweep import SweepOptions
from perfkit.measure import doctor
from perfkit.render import findings
from perfkit.render.writers import WRITERS
from perfkit.schema import ceilings, range_names, record, sweep
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import CLEAN, Finding
from perfkit.schema.parts.measurement import Measurement
from perfkit.schema.parts.step import Step
from perfkit.schema.parts.workloads import SIZES, Own, Transformer
from perfkit.trace.load import load
from tests.builders import TraceBuilder
from tests.corpus import corpus_file
from tests.docs import pages

NAMES = [page.relative_to(pages.ROOT).as_posix() for page in pages.PAGES]
COMMANDS = [name for name in build_app() if not name.startswith("-")]
REFUSALS = ("perfkit: ",)
"""How the output of a command begins that was refused: by perfkit, or by its command line."""
_FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def text_of(name: str) -> str:
    return (pages.ROOT / name).read_text(encoding="utf-8")


def prose_of(name: str) -> str:
    return _FENCE.sub("", text_of(name))


# --- commands and flags ------------------------------------------------------------------------------------------


def test_every_command_has_a_page_that_the_readme_links():
    """GIVEN the command line WHEN looking for pages THEN each command has one"""
    assert COMMANDS
    for command in COMMANDS:
        assert f"(docs/{pages.PAGE_OF.get(command, command)}.md)" in text_of("README.md")


@pytest.mark.parametrize("command", pages.OPTIONS)
def test_every_flag_stands_on_its_page_with_its_default(command: str):
    """GIVEN the dataclasses of options WHEN reading the page THEN it has each flag's row, as it would be made now"""
    page = text_of(f"docs/{pages.PAGE_OF.get(command, command)}.md")
    for options in pages.OPTIONS[command]:
        for flag in pages.flags(options):
            assert flag.row in page, "run python -m tests.docs.pages"


@pytest.mark.parametrize("command", pages.OPTIONS)
def test_every_page_has_the_flags_that_the_command_line_has(command: str):
    """GIVEN what the command line really takes WHEN compared with the dataclasses THEN none is missing"""
    app = build_app()
    arguments = app[command].assemble_argument_collection(default_parameter=app.default_parameter)
    parsed = [argument for argument in arguments if argument.parse]  # the others are for tests
    real = {name for argument in parsed for name in argument.names if name.startswith("--")}
    flags = {flag.name for options in pages.OPTIONS[command] for flag in pages.flags(options)}
    own = {name for name in flags if name.startswith("--")}  # others are short for these
    assert own | (grid_flags() if command == "sweep" else set()) == real


def grid_flags() -> set[str]:
    """Flags that a sweep shares with a run, whose page has them, and their second names; not `--apply`, of a run."""
    return {flag.name for flag in pages.flags(RunFlags)} - {"--apply"} | set(SWEEP_ALIASES.values())


@pytest.mark.parametrize(
    ("options", "name"), [(RunOptions, "--output"), (SweepOptions, "--tables"), (CompareOptions, "--output")]
)
def test_flags_that_write_tables_name_every_extension(options: type[Any], name: str):
    [text] = [flag.text for flag in pages.flags(options) if flag.name == name]
    assert set(re.findall(r"\.[a-z]+", text)) == {writer.extension for writer in WRITERS}


def test_sizes_are_those_of_the_code():
    """GIVEN the sizes WHEN reading their table THEN shapes and counted parameters are right"""
    page = text_of("docs/run.md")
    for name, shape in SIZES.items():
        assert f"| {name} | {shape} | {shape.parameters(RunConfig().transformer.vocab_size):,} |" in page


# --- commands shown ----------------------------------------------------------------------------------------------


def shell_lines(name: str) -> Iterator[str]:
    """Every perfkit command in a page's blocks, without what a shell does round it, and those in its tables."""
    rows = "".join(line for line in prose_of(name).splitlines(keepends=True) if line.startswith("|"))
    yield from re.findall(r"`(perfkit [a-z]+ [^`]*)`", rows)
    for language, body in _FENCE.findall(text_of(name)):
        if language in ("bash", "console", "text"):
            for line in body.splitlines():
                for part in re.split(r";|&&|\|\||\bdo\b|[|>#]", line.removeprefix("$ ")):
                    if re.match(r"perfkit\s+\w", part.strip()):
                        yield part.strip().replace("$n", "5").replace("$size", "small")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_shown_is_one(name: str):
    """GIVEN the commands in a page's blocks WHEN parsed THEN the command line takes them, or is shown to refuse

    What a refusal says is tested where all output shown is.
    """
    refused = {shown.command for shown in pages.shown_commands(text_of(name)) if shown.output.startswith(REFUSALS)}
    for command in set(shell_lines(name)) - refused:
        typed = shlex.split(command)[1:]
        build_app().parse_args(typed[: [*typed, "--"].index("--")], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_named_is_one(name: str):
    """GIVEN flags in a page's prose, tables included WHEN looked up THEN some command or script has or uses them"""
    files = [*(pages.ROOT / "scripts").rglob("*.py"), pages.ROOT / "perfkit" / "measure" / "nsys" / "program.py"]
    scripts = "".join(file.read_text(encoding="utf-8") for file in files)
    own = {flag.name for found in pages.OPTIONS.values() for options in found for flag in pages.flags(options)}
    own |= grid_flags()
    prose = prose_of(name)
    if name.startswith("docs/coming_from/"):
        prose = re.sub(r"^\|[^|]*\|", "|", prose, flags=re.MULTILINE)  # the first column is the other tool's
    for flag in set(re.findall(r"(?<![\w-])--[a-z][\w-]+", prose)):
        known = own | {"--debug", "--no-color", "--help", "--nproc-per-node"}  # the last is torchrun's
        assert flag in known or f'"{flag}"' in scripts or f"no `{flag}`" in prose, flag


@pytest.mark.parametrize("name", NAMES)
def test_output_of_cheap_commands_is_what_they_print(name: str):
    """GIVEN commands with their output WHEN run THEN they print just that"""
    for shown in pages.shown_commands(text_of(name)):
        if shown.is_cheap:
            code, output = pages.run(shown.command)
            assert output == shown.output, f"{shown.command}: run python -m tests.docs.pages"
            assert code == (2 if "perfkit: " in output or "Error" in output else 0)


def test_the_readme_begins_with_the_two_commands():
    """GIVEN the script that runs the README's commands WHEN looking for them THEN the first two bash blocks are they"""
    blocks = [body for language, body in _FENCE.findall(text_of("README.md")) if language == "bash"]
    assert blocks[0].endswith("-m perfkit.run\n")
    assert blocks[1].endswith("scripts/check\n")


def test_the_readme_names_scripts_that_exist():
    """GIVEN the scripts that the README names WHEN looked for THEN they are there and can be run"""
    for script in re.findall(r"\bscripts/[\w-]+", text_of("README.md")):
        file = pages.ROOT / script
        assert file.is_file()
        assert file.stat().st_mode & 0o111


def run_python(name: str, folder: Path) -> str:
    """What the Python of a page prints, run as one program beside the samples."""
    blocks = [body for language, body in _FENCE.findall(text_of(name)) if language == "python"]
    (folder / "traces").symlink_to(pages.ROOT / "traces")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=folder,
        env=pages.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readmes_python_runs(tmp_path: Path):
    """GIVEN the README's example WHEN run THEN the table of phases, a layer's time, the first finding, and a file"""
    out = run_python("README.md", tmp_path)
    for line in (
        r"Phases, mean of 2 steps",
        r"\d+ +\S+ +(forward|backward|optimizer) +\d+",
        r"trace-totals: [\d.]+ ms a step .*",
    ):
        assert re.search(f"^{line}$", out, re.MULTILINE), line
    assert (tmp_path / "report.html").is_file()


def test_the_python_of_its_page_runs(tmp_path: Path):
    """GIVEN docs/python.md WHEN its blocks are run THEN the own model's time, two traces compared, a run measured"""
    out = run_python("docs/python.md", tmp_path)
    assert re.search(r"^ *\d+ +0 +backward +\d+$", out, re.MULTILINE)
    assert "ns\n" in out
    assert "\nPhases" in out
    assert "\nWall time by phase" in out
    assert (tmp_path / "own_run" / "record.json").is_file()


def test_the_loop_of_its_page_runs(tmp_path: Path):
    """GIVEN the loop of docs/your_model.md WHEN run THEN it prints its phases; the models there need a library"""
    loop = next(body for language, body in _FENCE.findall(text_of("docs/your_model.md")) if language == "python")
    done = subprocess.run(
        [sys.executable, "-c", loop], cwd=tmp_path, env=pages.environment(), capture_output=True, text=True, check=True
    )
    assert re.search(r"^backward +[\d.]+ +[\d.]+%", done.stdout, re.MULTILINE)
    assert (tmp_path / "traces" / "my-run" / "record.json").is_file()


@pytest.mark.parametrize("framework", ["lightning", "transformers", "accelerate"])
def test_the_script_of_a_frameworks_page_runs(framework: str, tmp_path: Path):
    """GIVEN the page's script WHEN run THEN it prints the phases of five steps, of a saved run"""
    pytest.importorskip(framework)
    [script] = [body for language, body in _FENCE.findall(text_of(f"docs/{framework}.md")) if language == "python"]
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=pages.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Wall time by phase, mean of 5 steps" in done.stdout
    assert re.search(r"^backward +[\d.]+ +[\d.]+%", done.stdout, re.MULTILINE)
    assert list((tmp_path / "traces").glob("*/record.json"))


# --- links and words ---------------------------------------------------------------------------------------------


def anchors(name: str) -> set[str]:
    """The anchors that a page's headings have, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str):
    """GIVEN a page's links WHEN followed THEN there are a file and a heading"""
    for target in re.findall(r"\]\(([^)]+)\)", prose_of(name)):
        if not re.match(r"https?:", target):
            file, _, anchor = target.partition("#")
            page = ((pages.ROOT / name).parent / file).resolve() if file else pages.ROOT / name
            assert page.is_file(), target
            assert not anchor or anchor in anchors(page.relative_to(pages.ROOT).as_posix()), target


@pytest.mark.parametrize("name", NAMES)
def test_lines_of_prose_are_not_too_long(name: str):
    """GIVEN a page WHEN looking at its prose THEN no line is over 120 characters, tables and output aside"""
    for line in prose_of(name).splitlines():
        assert len(line) <= 120 or line.startswith("|"), line


# --- files that perfkit writes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        record.RunRecord, record.StepSample, record.MemoryPeaks, record.Failure, record.AnnotationCost,
        record.Environment, RunConfig, Transformer, Own, Step, Measurement, ceilings.Ceilings, ceilings.Timing,
    ],
    ids=lambda kind: kind.__name__,
)  # fmt: skip
def test_every_field_of_a_record_is_documented(kind: Any):
    """GIVEN what a record holds WHEN reading its page THEN every field is named"""
    page = text_of("docs/record_format.md")
    for name in inspect.signature(kind).parameters:
        assert f"`{name}`" in page, name


def test_every_version_of_the_record_has_its_line():
    """GIVEN the format's version WHEN reading the history THEN each up to it has a line"""
    history = text_of("docs/record_format.md").partition("### History")[2]
    for version in range(1, record.FORMAT_VERSION + 1):
        assert f"| {version} |" in history


def test_every_range_name_is_documented():
    """GIVEN the grammar of range names WHEN reading the page THEN each kind is there, for traces and for NVTX"""
    page = text_of("docs/record_format.md")
    for name in (range_names.module("layers.3.attn"), range_names.phase("backward"), range_names.step(3)):
        assert f"`{name.trace_text}`" in page
        assert f"`{name.nvtx_text}`" in page


def every_report() -> Iterator[Any]:
    """Reports of traces with a device and without one, over two steps and two threads."""
    yield report(TraceBuilder().step(0, 0, 100).step(1, 100, 200).range("aten::mm", 10, 20).build())
    device = TraceBuilder().step(0, 0, 100).step(1, 100, 200).module("Model", 5, 90)
    device.range("aten::mm", 10, 20, sequence=1).launched("gemm", 15, 30, 40)
    device.node("MmBackward0", 50, 60, 1, thread=1).launched("gemm", 55, 60, 90, thread=1)
    yield report(device.build())


def test_the_json_of_a_trace_is_documented():
    """GIVEN reports of traces WHEN reading the page THEN every key, table and column is named"""
    page = text_of("docs/record_format.md")
    for found in every_report():
        for key in found.summary:
            assert f"`{key}`" in page, key
        for table in found.tables:
            assert f"| `{table.name}` |" in page, table.name
            lines = (line for line in page.splitlines() if line.startswith(f"| `{table.name}` |"))
            row = next(line for line in lines if "`" in line[20:])  # a record has a table `steps`, too, further down
            for column in table.columns:
                assert f"`{column.name}`" in row or column.name in prose_of("docs/attribution.md"), column.name


def test_the_json_of_a_run_is_documented():
    """GIVEN the sample run WHEN shown as JSON THEN its keys, tables and the run's columns are named"""
    page = text_of("docs/record_format.md")
    _, output = pages.run("perfkit analyze traces/samples/tiny_train_cpu --format json")
    document = json.loads(output[: output.rindex("\n}\n") + 3])
    for key in document["summary"]:
        assert f"`{key}`" in page, key
    for column in document["tables"]["runs"]["columns"]:
        assert f"`{column['name']}`" in page, column["name"]
    for name in document["tables"]:
        assert f"| `{name}` |" in page


def test_every_reason_is_documented():
    for reason in REASONS:
        assert f"| `{reason}` |" in text_of("docs/attribution.md")


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("record_format", "rules"),
        ("record_format", "tables of a trace"),
        ("analyze", "integrity"),
        ("hardware", "hardware"),
        ("hardware", "sources of hardware"),
        ("findings", "performance"),
    ],
)
def test_what_is_made_of_the_code_is_on_its_page(page, name):
    """GIVEN rules and tables of the code WHEN reading their page THEN it has just the table that is made of them"""
    made = f"<!-- {name} -->\n{pages.MADE[name]()}<!-- end -->"
    assert made in text_of(f"docs/{page}.md"), "run python -m tests.docs.pages"


def test_every_key_of_a_finding_is_documented():
    page = text_of("docs/record_format.md")
    for key in findings.json_value(Finding(CLEAN, "clean")):
        assert f"| `{key}` |" in page, key


def test_the_rules_are_numbered():
    """GIVEN the rule numbers that the code refers to WHEN reading the page THEN each is a heading"""
    assert [int(n) for n in re.findall(r"^### (\d+)\. ", text_of("docs/attribution.md"), re.MULTILINE)] == list(
        range(1, 17)
    )
    for file in (pages.ROOT / "perfkit").rglob("*.py"):
        for number in re.findall(r"[Rr]ules? (\d+)", file.read_text(encoding="utf-8")):
            assert 1 <= int(number) <= 16, file


def test_every_column_of_a_sweep_is_documented():
    """GIVEN the columns of a results file WHEN reading its page THEN each is named, the configuration's by its ends"""
    page = text_of("docs/sweep.md")
    for column in sweep.COLUMNS:
        assert f"`{column}`" in page or column in sweep.CONFIG_FIELDS, column
    for outcome in typing.get_args(sweep.SweepOutcome):
        assert f"| `{outcome}` |" in page


@pytest.mark.corpus
def test_the_golden_numbers_are_those_of_the_traces():
    """GIVEN the table of real traces WHEN they are analysed THEN every number in it is right"""
    rows = re.findall(r"^\| (\w[\w.]*) \| ([\d,]+ \|.*) \|$", text_of("docs/attribution.md"), re.MULTILINE)
    assert len(rows) == 6
    for name, numbers in rows:
        found = report(load(corpus_file(f"kineto/{name}.json.gz")))
        totals = [found.summary[key] for key in ("gpu_events", "gpu_time_ns", "busy_ns")]
        totals += found.table("phases").frame["total_ns"].tolist()
        assert [int(number.replace(",", "")) for number in numbers.split(" | ")] == totals, name


def test_every_topic_of_the_doctor_is_documented():
    """GIVEN what doctor looks at WHEN reading its page THEN each topic has its row"""
    for ability in doctor.examine():
        assert f"| `{ability.topic}` |" in text_of("docs/doctor.md")
