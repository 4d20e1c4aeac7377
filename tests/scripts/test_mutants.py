"""scripts/mutants on a package of a few lines, whose mutants are known."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest

from scripts.mutation import main, report
from scripts.mutation.baseline import Baseline, Store
from scripts.mutation.selection import Selector
from scripts.mutation.sites import Site, sample, sites_of
from scripts.mutation.verdicts import Patience, Verdict
from scripts.mutation.workers import Request, Worker

SOURCE = '''"""Numbers, of which 3 < 4 is said here only."""

import os
import time

LIMIT = 10


def clipped(n: int, least: int = 0) -> int:
    """At least `least` and at most LIMIT."""
    if n < least:
        return least
    return min(n, LIMIT)


def total(n: int) -> int:
    found = 0
    while n > 0:
        found += n
        n -= 1
    return found


def nobody_asks(n: int) -> int:
    return n + 1
'''
TESTS = """import os
import subprocess
import sys

from perfkit.schema import tiny


def test_clipped():
    assert [tiny.clipped(n) for n in (-1, 5, 11)] == [0, 5, 10]


def test_total_in_a_process():
    run = [sys.executable, "-c", "from perfkit.schema import tiny; print(tiny.total(3))"]
    assert subprocess.run(run, capture_output=True, text=True, timeout=500).stdout == "6\\n"
"""
FILE = "perfkit/schema/tiny.py"
BOUNDARY = f"{FILE}::clipped::comparison::< -> <= in n < least"
ENDLESS = f"{FILE}::total::arithmetic::-= -> += in n -= 1"
COUNTS_ZERO = f"{FILE}::total::comparison::> -> >= in n > 0"
UNREACHED = f"{FILE}::nobody_asks::arithmetic::+ -> - in n + 1"


@pytest.fixture
def project(tmp_path):
    """A tree with one module and its tests."""
    root = tmp_path / "project"
    for folder in ("perfkit/schema", "tests/schema"):
        (root / folder).mkdir(parents=True)
    for package in ("perfkit", "perfkit/schema", "tests", "tests/schema"):
        (root / package / "__init__.py").touch()
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "-q"\n')
    (root / FILE).write_text(SOURCE)
    (root / "tests/schema/test_tiny.py").write_text(TESTS)
    return root


def tried(project, *flags, **seams):
    """Run scripts/mutants on the project; exit code and verdicts by id."""
    code = main.main(["--root", str(project), *flags], **seams)
    kept = project / ".mutants" / "results.jsonl"
    lines = kept.read_text().splitlines() if kept.exists() else []
    return code, {one["id"]: one for one in map(json.loads, lines)}


def changes(source):
    """What sites_of finds in a source: kind and change."""
    return [(site.kind, site.id.split("::")[3]) for site in sites_of("a.py", source.encode())]


# Sites


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("x = a < b", ("comparison", "< -> <= in a < b")),
        ("x = a is not b", ("comparison", "is not -> is in a is not b")),
        ("x = (a) not  in (b)", ("comparison", "not in -> in in (a) not in (b)")),
        ("x = a and b", ("logic", "and -> or in a and b")),
        ("x = not (a or b)", ("not", "not (a or b) -> (a or b)")),
        ("x = a // b", ("arithmetic", "// -> % in a // b")),
        ("x = mask & other", ("arithmetic", "& -> | in mask & other")),
        ("f(0)", ("constant", "0 -> 1 in f(0)")),
        ("f(2.5)", ("constant", "2.5 -> 5.0 in f(2.5)")),
        ("f(0.0)", ("constant", "0.0 -> 1.0 in f(0.0)")),
        ("f(on=True)", ("boolean", "True -> False in f(on=True)")),
        ("f(a, b)", ("swap", "a, b -> b, a in f")),
        ("f(a, b)", ("drop", "f(a, b) -> pass")),
        ("def f():\n  raise E", ("drop", "raise E -> pass")),
        ("def f():\n  x[i] = y", ("drop", "x[i] = y -> pass")),
        ("def f() -> int | None:\n  return g", ("return", "g -> None")),
        ("def f() -> bool:\n  return g(x)", ("return", "g(x) -> not (g(x))")),
        ("def f(n=1): ...", ("constant", "1 -> 2 in def f(n=1): ...")),
        ("if a.b: pass", ("guard", "a.b -> not (a.b)")),
        ("x += y", ("arithmetic", "+= -> -= in x += y")),
    ],
)
def test_a_change_of_each_kind_is_found(source, wanted):
    # WHEN / THEN
    assert wanted in changes(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""1 < 2"""',
        "x: Literal[1, 2]",
        "def f(a: 'b < c') -> Annotated[int, 3]: ...",
        "if TYPE_CHECKING:\n  f(1)",
        "__all__ = [1]",
        'x = f"{a < 1}"',
        "@dataclass(frozen=True)\nclass A: ...",
        "assert a < 1",
        "x = 'a' + b",
        "x = root / 'a'",
        "x = zip(a, strict=True)",
        "x = isinstance(a, b)",
        "x: int | None = a",
        "def f():\n  raise AssertionError(x)",
    ],
)
def test_what_is_no_behaviour_is_left_alone(source):
    # WHEN / THEN
    assert changes(source) == []


def test_each_mutant_of_perfkit_compiles_and_differs_in_one_place():
    # GIVEN a file with most of what Python has
    path = Path(main.ROOT) / "perfkit/analysis/statistics/stats.py"
    source = path.read_bytes()

    # WHEN
    sites = sites_of("perfkit/analysis/statistics/stats.py", source)

    # THEN
    assert len({site.id for site in sites}) == len(sites) > 50
    for site in sites:
        mutant = site.apply(source)
        ast.parse(mutant)
        assert mutant != source
        assert mutant[: site.start] == source[: site.start]
        assert mutant[len(mutant) - (len(source) - site.end) :] == source[site.end :]


def test_offsets_count_bytes_where_a_line_is_not_ascii():
    # GIVEN
    source = 'x = "µs" if a < b else "ns"\n'.encode()

    # WHEN
    [site] = [site for site in sites_of("a.py", source) if site.kind == "comparison"]

    # THEN
    assert site.apply(source).decode() == 'x = "µs" if a <= b else "ns"\n'


def test_an_edit_elsewhere_leaves_ids_as_they_are():
    # GIVEN
    before = {site.id for site in sites_of(FILE, SOURCE.encode())}

    # WHEN lines and a function come before them
    edited = SOURCE.replace("LIMIT = 10\n", "LIMIT = 10\n\n\ndef more(n: int) -> bool:\n    return n < 7\n")
    after = {site.id for site in sites_of(FILE, edited.encode())}

    # THEN
    assert before < after


def test_equal_changes_in_one_function_are_told_apart():
    # WHEN
    sites = sites_of("a.py", b"def f(a, b):\n  return (a < b) + (a < b)\n")

    # THEN
    assert [site.id for site in sites if site.kind == "comparison"] == [
        "a.py::f::comparison::< -> <= in a < b",
        "a.py::f::comparison::< -> <= in a < b::2",
    ]


def test_a_seed_gives_its_sample_and_a_larger_one_adds_to_it():
    # GIVEN
    sites = sites_of(FILE, SOURCE.encode())

    # WHEN
    few, more = sample(sites, 1, 5), sample(sites, 1, 9)

    # THEN
    assert sample(sites[::-1], 1, 5) == few == more[:5]
    assert sample(sites, 2, 5) != few
    assert set(sample(sites, 1, None)) == set(sites)


# Runs


def test_known_mutants_are_noticed_or_survive(project, capsys):
    # GIVEN little patience with what hangs
    little = Patience(seconds=5.0, times=1.0)
    before = {file: file.read_bytes() for file in project.rglob("*") if file.is_file()}

    # WHEN
    code, found = tried(project, "--all", "--at-least", "99", patience=little)

    # THEN all have a verdict
    assert code == 1
    assert len(found) == len(sites_of(FILE, SOURCE.encode()))
    assert found[ENDLESS]["verdict"] == "timeout"
    noticed = {name for name, one in found.items() if one["verdict"] != "survived"}
    # n < least and n <= least give the same number; total adds a zero more; and none asks for nobody_asks.
    assert set(found) - noticed == {
        BOUNDARY,
        COUNTS_ZERO,
        UNREACHED,
        f"{FILE}::nobody_asks::constant::1 -> 2 in n + 1",
    }
    assert found[BOUNDARY]["reached"]
    assert not found[UNREACHED]["reached"]
    # What only another process reaches is known to be reached, and noticed there.
    added = found[f"{FILE}::total::arithmetic::+= -> -= in found += n"]
    assert added["reached"]
    assert added["by"] == "tests/schema/test_tiny.py::test_total_in_a_process"
    # THEN each survivor is shown, and the working tree is as it was
    shown = capsys.readouterr().out
    assert f"{FILE}:11: comparison in clipped survived\n    - if n < least:\n    + if n <= least:\n" in shown
    assert "4 survived, 0 equivalent" in shown
    assert "were noticed, less than 99%" in shown
    assert {file: file.read_bytes() for file in before} == before


def test_a_resumed_run_tries_what_has_changed(project, capsys):
    # GIVEN
    ids = (BOUNDARY, UNREACHED)
    _, first = tried(project, "--id", *ids)
    assert {one["verdict"] for one in first.values()} == {"survived"}

    # WHEN nothing has changed, and the last line was torn
    results = project / ".mutants" / "results.jsonl"
    results.write_text(results.read_text() + '{"id": "perf')
    capsys.readouterr()
    _, second = tried(project, "--resume", "--id", *ids)

    # THEN
    assert "2 of 2 verdicts kept" in capsys.readouterr().err
    assert second == first

    # WHEN a test of one is added
    (project / "tests/schema/test_tiny.py").write_text(
        f"{TESTS}\n\ndef test_the_rest():\n    assert tiny.nobody_asks(1) == 2\n"
    )
    _, third = tried(project, "--resume", "--id", *ids)

    # THEN
    assert third[UNREACHED]["verdict"] == "noticed"
    assert third[BOUNDARY]["verdict"] == "survived"
    assert third[BOUNDARY]["tests"] != first[BOUNDARY]["tests"]


def test_equivalent_mutants_are_counted_apart(project, capsys):
    # GIVEN
    listed = project / main.EQUIVALENT
    listed.parent.mkdir(parents=True)
    listed.write_text(f'{json.dumps(BOUNDARY)} = "the smaller of two equal numbers is both"\n')

    # WHEN
    code, found = tried(project, "--id", BOUNDARY, UNREACHED, "--equivalent-at-most", "5")

    # THEN
    assert code == 1
    assert set(found) == {UNREACHED}
    shown = capsys.readouterr().out
    assert "1 survived, 1 equivalent" in shown
    assert "50.0% are listed as equivalent, more than 5%" in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"perfkit/gone.py::f::drop::f() -> pass" = "why"', "no longer exists"),
        (f"{json.dumps(BOUNDARY)} = ''", "has no reason"),
        ("= 1", "equivalent.toml"),
    ],
)
def test_a_list_of_equivalents_that_is_wrong_stops_the_run(project, capsys, text, said):
    # GIVEN
    listed = project / main.EQUIVALENT
    listed.parent.mkdir(parents=True)
    listed.write_text(text)

    # WHEN
    code, _ = tried(project, "--all")

    # THEN
    assert code == 2
    assert said in capsys.readouterr().err


def test_an_equivalent_mutant_that_a_test_notices_is_an_error(project, capsys):
    # GIVEN
    changed = f"{FILE}::LIMIT::constant::10 -> 11 in LIMIT = 10"
    listed = project / main.EQUIVALENT
    listed.parent.mkdir(parents=True)
    listed.write_text(f'{json.dumps(BOUNDARY)} = "right"\n{json.dumps(changed)} = "wrong"\n')

    # WHEN
    code, _ = tried(project, "--check-equivalent", "--id", BOUNDARY, changed)

    # THEN
    assert code == 2
    assert "test_clipped notices" in capsys.readouterr().err


def test_a_test_that_fails_without_a_mutant_notices_nothing(project, capsys):
    # GIVEN a test that fails always, and one that fails in all runs but the measured
    (project / "tests/schema/test_tiny.py").write_text(
        f"{TESTS}\n\ndef test_always():\n    assert tiny.nobody_asks(1) == 3\n"
        "\n\ndef test_flaky():\n    assert tiny.nobody_asks(1)\n    assert 'MUTATION_TEST' in os.environ\n"
    )

    # WHEN
    _, found = tried(project, "--id", UNREACHED)

    # THEN
    assert found[UNREACHED]["verdict"] == "survived"
    shown = capsys.readouterr().out
    assert "fails without a mutant, and was left out: tests/schema/test_tiny.py::test_always: assert 2 == 3" in shown
    assert "was left out: tests/schema/test_tiny.py::test_flaky\n" in shown


def test_what_is_left_when_the_time_is_up_is_said(project, capsys):
    # WHEN
    code, found = tried(project, "--all", "--budget", "0s", "--at-least", "0")

    # THEN
    assert found == {}
    assert code == 1
    shown = capsys.readouterr().out
    assert "not tried for lack of time" in shown
    assert "--resume" in shown


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--under", "perfkit/nowhere"], "perfkit/nowhere does not exist"),
        (["--id", "nothing"], "there is no mutant nothing"),
        (["--under", "tests"], "nothing to change below tests"),
    ],
)
def test_what_is_not_there_is_refused(project, capsys, flags, said):
    # WHEN / THEN
    assert tried(project, *flags) == (2, {})
    assert said in capsys.readouterr().err


# Workers


@pytest.fixture
def worker(project, tmp_path):
    with Worker(project, tmp_path / "worker", None) as made:
        yield made


def test_code_compiled_for_one_version_is_never_taken_for_another(project, worker):
    # GIVEN versions of one size, all written within a second
    request = Request(["tests/schema/test_tiny.py"])
    outcomes = []

    # WHEN
    for limit in (10, 11, 10, 12, 10):
        worker.change(FILE, SOURCE.replace("LIMIT = 10", f"LIMIT = {limit}").encode())
        outcomes.append(worker.run(request).outcome)

    # THEN
    assert outcomes == ["passed", "failed", "passed", "failed", "passed"]


def test_what_kills_and_deletes_reaches_its_own_worker_only(project, worker):
    # GIVEN
    if not worker.protected:
        pytest.skip("needs namespaces (unshare)")
    kept = project / "kept"
    kept.write_text("here")
    worker.change(
        "tests/schema/test_tiny.py",
        b"import contextlib, os, pathlib, pytest, signal, tempfile\n\n"
        b"def test_deletes():\n"
        b"    with pytest.raises(OSError, match='Read-only'):\n"
        b"        pathlib.Path(%r).unlink()\n"
        b"    assert tempfile.mkdtemp()\n\n"
        b"def test_kills():\n"
        b"    with contextlib.suppress(ProcessLookupError):\n"
        b"        os.kill(-1, signal.SIGKILL)\n"
        b"    os.kill(0, signal.SIGKILL)\n" % str(kept),
    )

    # WHEN
    outcome = worker.run(Request(["tests/schema/test_tiny.py"]))

    # THEN the test process is gone, and nothing else
    assert (outcome.outcome, outcome.test) == ("crashed", "tests/schema/test_tiny.py::test_kills")
    assert outcome.tests["tests/schema/test_tiny.py::test_deletes"][0] == "passed"
    assert kept.read_text() == "here"

    # WHEN it is used again
    worker.change("tests/schema/test_tiny.py", TESTS.encode())

    # THEN
    assert worker.run(Request(["tests/schema/test_tiny.py"])).outcome == "passed"


def test_a_process_that_a_test_leaves_is_ended(project, worker):
    # GIVEN
    if not worker.protected:
        pytest.skip("needs namespaces (unshare)")
    start = (
        b"import subprocess\n\ndef test_leaves():\n    subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
    )
    look = (
        b"import psutil\n\ndef test_looks():\n    assert 'sleep' not in [one.name() for one in psutil.process_iter()]\n"
    )

    # WHEN
    outcomes = []
    for source in (start, look):
        worker.change("tests/schema/test_tiny.py", source)
        outcomes.append(worker.run(Request(["tests/schema/test_tiny.py"])).outcome)

    # THEN
    assert outcomes == ["passed", "passed"]


def test_memory_that_a_mutant_asks_for_is_limited(project, worker):
    # GIVEN
    worker.change("tests/schema/test_tiny.py", b"def test_much():\n    assert bytearray(2**33)\n")

    # WHEN
    outcome = worker.run(Request(["tests/schema/test_tiny.py"], memory=2**32))

    # THEN
    assert (outcome.outcome, outcome.reason) == ("failed", "MemoryError")


def test_without_namespaces_files_that_kill_are_left_out(project, capsys, monkeypatch, tmp_path):
    # GIVEN a system that gives none, and a second file
    (tmp_path / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (project / "perfkit/schema/ends.py").write_text("import os\n\n\ndef end(pid: int) -> None:\n    os.kill(pid, 9)\n")
    changed = f"{FILE}::LIMIT::constant::10 -> 11 in LIMIT = 10"
    killed = "perfkit/schema/ends.py::end::constant::9 -> 10 in os.kill(pid, 9)"

    # WHEN
    _, found = tried(project, "--id", changed, killed)

    # THEN
    assert {name: one["verdict"] for name, one in found.items()} == {changed: "noticed"}
    shown = capsys.readouterr()
    assert "mutants of files that kill or delete are left out" in shown.err
    assert "1 mutants, 1 noticed" in shown.out


# What the tests reach


def test_a_baseline_holds_until_what_it_stands_on_changes(project, worker, tmp_path):
    # GIVEN a test with a helper, and a fixture that two tests share
    helper, tests = project / "tests" / "helper.py", "tests/schema/test_tiny.py"
    helper.write_text("WANTED = 6\n")
    text = (
        "import pytest\nfrom perfkit.schema import tiny\nfrom tests.helper import WANTED\n\n"
        "@pytest.fixture(scope='module')\ndef six():\n    return tiny.total(3)\n\n"
        "def test_first(six):\n    assert six == WANTED\n\n"
        "def test_second(six):\n    assert six\n\n"
        "def test_other():\n    assert tiny.clipped(3) == 3\n"
    )
    (project / tests).write_text(text)
    worker.change("tests/helper.py", helper.read_bytes())
    worker.change(tests, text.encode())

    def store(corpus=None):
        return Store(tmp_path / "kept", project, corpus)

    # WHEN
    made = store().make(tests, worker)

    # THEN what the fixture reaches is reached by both, and not by the third
    line = 1 + SOURCE.splitlines().index("        found += n")
    assert made.reaching(FILE, line, line) == {f"{tests}::test_first", f"{tests}::test_second"}
    assert store().load(tests) == made
    # THEN
    assert store(corpus="somewhere").load(tests) is None
    for file in (helper, project / FILE, project / tests):
        before = file.read_text()
        file.write_text(f"{before}\n")
        assert store().load(tests) is None
        file.write_text(before)
        assert store().load(tests) == made


def test_own_tests_come_first_then_one_of_each_function(tmp_path):
    # GIVEN two files of tests, of which one is the source's own; test_slow reaches the line, test_rest does not
    folder = tmp_path / "tests" / "schema"
    folder.mkdir(parents=True)
    own, other = "tests/schema/test_tiny.py", "tests/schema/test_a.py"
    reached = {
        own: {f"{own}::test_slow": 9.0, f"{own}::test_quick": 0.1, f"{own}::test_rest": 0.05},
        other: {
            f"{other}::test_f[0]": 2.0,
            f"{other}::test_f[1]": 1.0,
            f"{other}::test_g": 3.0,
            f"{other}::test_h": 70.0,
        },
    }
    baselines = {}
    for file, tests in reached.items():
        (tmp_path / file).touch()
        lines = {test: frozenset({2} if test.endswith("rest") else {1}) for test in tests}
        passed = {test: ("passed", seconds) for test, seconds in tests.items()}
        baselines[file] = Baseline(file, passed, {FILE: lines}, "")
    [site] = [site for site in sites_of(FILE, b"def f(): return a < b\n") if site.lines == (1, 1)]

    # WHEN
    selection = Selector(tmp_path, baselines, 60.0, beside=True).select(site)

    # THEN
    assert [list(batch.tests) for batch in selection.batches] == [
        [f"{own}::test_quick", f"{own}::test_slow", f"{own}::test_rest"],
        [f"{other}::test_f[1]", f"{other}::test_g"],
        [f"{other}::test_f[0]"],
    ]
    assert (selection.reached, selection.cut) == (True, 1)


def test_a_function_that_the_import_calls_belongs_to_all_tests_of_the_file(tmp_path):
    # GIVEN a line that only the import reaches, and a test that reaches another line of the file
    folder = tmp_path / "tests" / "schema"
    folder.mkdir(parents=True)
    tests = "tests/schema/test_tiny.py"
    (tmp_path / tests).touch()
    lines = {"": frozenset({1}), f"{tests}::test_uses": frozenset({2}), f"{tests}::test_other": frozenset()}
    passed = {test: ("passed", 0.1) for test in lines if test}
    baselines = {tests: Baseline(tests, passed, {FILE: lines}, "")}
    [site] = [site for site in sites_of(FILE, b"def f(): return a < b\n") if site.lines == (1, 1)]

    # WHEN
    selection = Selector(tmp_path, baselines, 60.0, beside=True).select(site)

    # THEN
    assert selection.reached
    assert selection.tests()[0] == f"{tests}::test_uses"


# The report


def verdict(site: Site, said: str) -> Verdict:
    return Verdict(site.id, said, "", "", True, 0, 1.0, "", "")


def test_limits_are_judged_by_file_and_over_all():
    # GIVEN 3 of 4 noticed in one file, 1 of 1 not in another
    sites = sites_of("perfkit/a/x.py", b"f(1, 2)\ng(3)\n")[:4] + sites_of("perfkit/b/y.py", b"y = a < b")
    run = report.Run(0, sites, {}, {})
    said = ["noticed", "noticed", "timeout", "survived", "survived"]
    run.verdicts = {site.id: verdict(site, one) for site, one in zip(sites, said, strict=True)}

    # WHEN / THEN
    assert report.faults(run, report.Limits()) == []
    assert report.faults(run, report.Limits(at_least=60.0, file_at_least=(75.0, 2))) == []
    assert report.faults(run, report.Limits(at_least=61.0, file_at_least=(76.0, 1))) == [
        "60.0% were noticed, less than 61%",
        "perfkit/a/x.py: 75% of 4 were noticed, less than 76%",
        "perfkit/b/y.py: 0% of 1 were noticed, less than 76%",
    ]
    assert report.faults(run, report.Limits(file_at_least=(76.0, 5))) == []
