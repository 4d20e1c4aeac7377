"""`perfkit study` as a user meets it, with fakes in place of processes; one test has real ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from signal import Signals
from typing import NamedTuple

import pytest

from perfkit import cli
from perfkit.commands.attention import AttentionOptions
from perfkit.commands.study import Outside
from perfkit.errors import InterruptedRunError, UsageError
from perfkit.schema.campaign import Finished
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.report import Report
from tests import sweeps


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def processes() -> sweeps.FakeProcesses:
    return sweeps.FakeProcesses()


@pytest.fixture
def study(tmp_path, capsys, processes):
    """Runs `perfkit study` with a machine that has a CPU and 16 GiB, into tmp_path/study."""
    outside = Outside(execute=processes, find=lambda names: dict.fromkeys(names, ("cpu", 2**34)))

    def go(*arguments: str) -> Result:
        code = cli.main(["study", *arguments, "-o", str(tmp_path / "study")], outside=outside)
        return Result(code, *capsys.readouterr())

    return go


def keys(processes: sweeps.FakeProcesses) -> list[str]:
    return [turn.point.key for turn in processes.turns]


def test_attention_alone_is_that_commands_grid(tmp_path, capsys):
    """GIVEN a study of attention without a GPU, twice THEN the small grid is asked for, and the second time goes on"""
    asked: list[AttentionOptions] = []

    def measured(options: AttentionOptions) -> Report:
        asked.append(options)
        options.folder.mkdir(exist_ok=True)
        return Report("grid", {}, (), [Finding(Rule("a", "sweep", "a"), "context 1,024 takes 3 ms")])

    called: list[tuple[str, int, int, str]] = []
    outside = Outside(
        find=lambda names: dict.fromkeys(names, ("cpu", 2**34)), attention=measured,
        check=lambda *asked: called.append(asked),
    )  # fmt: skip
    for words in (["attention"], ["Q15", "Q17", "--function", "mine:attention"]):
        assert cli.main(["study", *words, "-o", str(tmp_path)], outside=outside) == 0
    assert capsys.readouterr().out.count("context 1,024 takes 3 ms") >= 3
    first, again, own, half = asked
    assert (first.folder, first.sequence, first.resume) == (tmp_path / "attention", (256, 512, 1024), False)
    assert (again.folder, again.resume, again.function) == (first.folder, True, None)
    assert (own.folder, own.function, own.precision) == (tmp_path / "attention_own_fp32", "mine:attention", "fp32")
    assert (half.folder, half.function, half.precision) == (tmp_path / "attention_own_bf16", "mine:attention", "bf16")
    assert called == [("mine:attention", 256, 16, "cpu")]


def test_a_function_that_cannot_be_measured_is_said_before_anything_runs(tmp_path, capsys, processes):
    def wrong(*_: object) -> None:
        raise UsageError("mine:f: it returned list, not a tensor")

    outside = Outside(execute=processes, find=lambda names: dict.fromkeys(names, ("cpu", 2**34)), check=wrong)
    words = ["study", "all", "--function", "mine:f", "-o", str(tmp_path / "study")]
    assert cli.main(words, outside=outside) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "perfkit: mine:f: it returned list, not a tensor"
    assert not processes.turns
    words[1] = "Q7"
    assert cli.main(words, outside=outside) == 2
    assert "--function mine:f is for Q17, which was not asked for" in capsys.readouterr().err


def test_attention_has_what_is_left_of_the_budget(tmp_path, capsys, processes):
    """GIVEN a budget of an hour THEN the grid has less; of a nanosecond THEN none begins, and the formula says"""
    asked: list[AttentionOptions] = []

    def measured(options: AttentionOptions) -> None:
        asked.append(options)

    outside = Outside(execute=processes, find=lambda names: dict.fromkeys(names, ("cpu", 2**34)), attention=measured)
    for time in ("1h", "0.000000001s"):
        assert cli.main(["study", "attention", "--budget", time, "-o", str(tmp_path)], outside=outside) == 0
    assert 3000 < asked[0].budget < 3600
    assert len(asked) == 1
    assert "this was not measured (the time budget had no room for it; a larger --budget has)" in (
        " ".join(capsys.readouterr().out.split())
    )


@pytest.mark.parametrize(
    ("error", "says"),
    [(UsageError("mine:attention: ValueError: boom"), "mine:attention: ValueError: boom"),
     (KeyError("x"), "perfkit broke with KeyError: 'x'; try perfkit study Q15, which says where")],
)  # fmt: skip
def test_a_question_that_breaks_does_not_end_the_others(tmp_path, capsys, error: Exception, says: str):
    """GIVEN attention alone that raises THEN its row says so, Q20 is answered, and the exit code is 1"""

    def broken(_: AttentionOptions) -> Report:
        raise error

    outside = Outside(find=lambda names: dict.fromkeys(names, ("cpu", 2**34)), attention=broken)
    assert cli.main(["study", "Q15", "Q20", "-o", str(tmp_path)], outside=outside) == 1
    out, err = capsys.readouterr()
    assert f"no answer: {says}" in out
    assert "large (forward-backward) takes 17.80 s" in out
    assert err.splitlines()[-1].startswith("perfkit: no answer to Q15")
    with (tmp_path / "answers.csv").open() as file:
        assert [row["question"] for row in csv.DictReader(file)] == ["Q15 attention", "Q20 large"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), InterruptedRunError(Signals.SIGINT, "; 1 of 2 cells are saved")]
)
def test_a_signal_while_it_answers_leaves_what_was_answered(tmp_path, capsys, error: BaseException):
    """GIVEN Q11, then Q15 that is interrupted, then Q20 THEN the first is shown, and Q20 is not begun"""

    def interrupted(_: AttentionOptions) -> Report:
        raise error

    outside = Outside(find=lambda names: dict.fromkeys(names, ("cpu", 2**34)), attention=interrupted)
    assert cli.main(["study", "Q11", "Q15", "Q20", "-o", str(tmp_path)], outside=outside) == 130
    out, err = capsys.readouterr()
    assert "the residual stream is" in out
    assert "Q20" not in out
    said = "1 of 2 cells are saved" if isinstance(error, InterruptedRunError) else "at Q15; 1 of 3 are answered"
    assert said in err.splitlines()[-1]


def test_alone_it_lists_the_questions(study, processes):
    result = study()
    assert result.code == 0
    assert result.out.splitlines()[0] == "The questions"
    assert sum(line.startswith("Q") for line in result.out.splitlines()) == 20
    assert (
        "Q1   phases        How long are forward, backward and the optimizer, and how much do they vary? (1 run)"
        in result.out
    )
    assert not processes.turns


def test_a_list_fits_a_narrow_terminal(study, monkeypatch):
    """GIVEN 60 columns THEN no line is longer, and each question is whole"""
    monkeypatch.setenv("COLUMNS", "60")
    lines = study().out.splitlines()
    assert max(map(len, lines)) <= 60
    first = " ".join(" ".join(lines[1:5]).split())
    assert first.startswith(
        "Q1 phases How long are forward, backward and the optimizer, and how much do they vary? (1 run) Q2"
    )


def test_a_question_is_run_and_answered(study, processes, tmp_path):
    """GIVEN fake steps of 40 ms and more, half of it forward, a quarter backward"""
    # WHEN
    result = study("Q1")

    # THEN
    assert result.code == 0
    assert [(turn.point.config.workload.name, turn.point.config.step.pass_type) for turn in processes.turns] == [
        ("tiny", "train")
    ]
    title, sentence, *_ = result.out.splitlines()
    assert title == "Q1 phases: How long are forward, backward and the optimizer, and how much do they vary?"
    assert sentence.startswith("tiny: forward 20.2")
    assert f"Q1: evidence in {tmp_path}/study/runs/{keys(processes)[0]}.1" in result.out
    assert "with a GPU:" in result.out
    tables = tmp_path / "study" / "tables"
    assert {path.suffix for path in tables.glob("q01_phases.*")} == {".csv", ".md", ".tex", ".typ"}
    with (tables / "q01_phases.csv").open() as file:
        assert [row["phase"] for row in csv.DictReader(file)] == ["step", "forward", "backward", "rest"]


def test_what_was_measured_is_not_measured_again(study, processes):
    """GIVEN Q1, whose run Q2 and Q18 need as well THEN Q2 makes three more, Q18 that of two ranks, and another
    time nothing is run"""
    made = []
    for names in (("Q1",), ("warmup",), ("Q18",), ("Q1", "Q2", "Q18")):
        assert study(*names).code == 0
        made.append(len(processes.turns))
    assert made == [1, 4, 5, 5]
    assert len(set(keys(processes))) == 5


def test_a_run_whose_record_is_gone_is_made_again(study, processes, tmp_path):
    study("Q1")
    (tmp_path / "study" / "runs" / f"{keys(processes)[0]}.1" / "record.json").unlink()
    study("Q1")
    assert len(processes.turns) == 2


def test_the_smallest_run_first_and_the_largest_skipped(study, processes):
    """GIVEN processes that take 4 s each, and a budget of 5 s THEN tiny is run, and medium, which does a thousand times
    its work, is a row with its prediction"""
    # WHEN
    result = study("Q1", "--model-size", "medium", "tiny", "--budget", "5s")

    # THEN
    assert [turn.point.config.workload.name for turn in processes.turns] == ["tiny"]
    assert "the time budget had no room for medium train (about " in result.out
    assert "skipped, about" in result.out
    assert result.code == 0


def test_what_will_not_fit_is_predicted(study, processes):
    alone = study("Q1", "--model-size", "2.7B", "--memory", "16GB")
    assert "no answer: 2.7B train has no result (predicted-oom): not run: needs about " in alone.out
    assert "--force" not in alone.out
    result = study("Q1", "--model-size", "tiny", "2.7B", "--memory", "16GB")
    assert [turn.point.config.workload.name for turn in processes.turns] == ["tiny"]
    assert "predicted-oom, " in result.out


def test_all_makes_a_folder_with_everything(study, tmp_path):
    """GIVEN three questions THEN there are a page, all answers as a table, and the figure of Q2"""
    result = study("Q1", "Q2", "Q20")
    folder = tmp_path / "study"
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines() if line.startswith(("Q1 ", "Q2 ", "Q20 "))] == [
        "Q1", "Q2", "Q20",
    ]  # fmt: skip
    page = (folder / "report.html").read_text()
    assert all(title in page for title in ("Q1 phases", "Q2 warmup", "Q20 large"))
    with (folder / "answers.csv").open() as file:
        found = {row["question"]: row for row in csv.DictReader(file)}
    assert list(found) == ["Q1 phases", "Q2 warmup", "Q20 large"]
    assert "…" not in (folder / "answers.md").read_text()
    assert float(found["Q2 warmup"]["took_s"]) >= 16  # four processes of 4 s
    assert (folder / "figures" / "q02_warmup.svg").read_text().startswith("<?xml")


def test_a_full_disk_takes_no_answer_from_the_terminal(study, tmp_path):
    """GIVEN a folder of tables in which nothing can be written THEN the answer is shown, and the last line says why"""
    (tmp_path / "study" / "tables" / "q11_residual.csv").mkdir(parents=True)
    result = study("residual")
    assert "the residual stream is 0.25 MiB" in result.out
    assert (result.code, result.err.splitlines()[-1].startswith("perfkit: ")) == (2, True)


@pytest.mark.parametrize(("form", "holds"), [("md", "| size"), ("csv", "size,batch,context")])
def test_the_table_in_other_formats(study, form: str, holds: str):
    result = study("residual", "--format", form)
    assert result.code == 0
    assert holds in result.out


def test_tables_for_a_paper_lie_in_the_folder(study, tmp_path):
    study("residual")
    tables = tmp_path / "study" / "tables"
    assert r"\begin{tabular}" in (tables / "q11_residual.tex").read_text()
    assert "table(" in (tables / "q11_residual.typ").read_text()


def test_json_has_the_sentence_and_the_runs(study, processes):
    document = json.loads(study("Q1", "--format", "json").out)
    assert document["summary"]["sentence"].startswith("tiny: forward 20.2")
    assert list(document["summary"]["runs"]) == keys(processes)


def test_a_failed_run_says_where_its_words_are(study, processes):
    """GIVEN a process that ends in an error THEN the answer says so, the exit code is 1, and the next try repeats it"""
    processes.instead[0] = Finished(
        outcome="error", exit_code=1, signal=None, wall_s=1.0, stderr_tail="perfkit: no disk", record=None
    )
    result = study("Q1")
    assert result.code == 1
    assert "no answer: tiny train has no result (error): no disk" in result.out
    assert result.err.splitlines()[-1].startswith("perfkit: 1 of 1 runs ended in an error; what they said is in")
    assert study("Q1").code == 0


def test_an_interruption_keeps_what_there_is(study, processes):
    processes.instead[1] = KeyboardInterrupt()
    result = study("Q2", "attention")  # which starts nothing any more
    assert result.code == 130
    assert "1 of 4 runs are saved" in result.err
    said = " ".join(result.out.split())
    assert "this was not measured (SIGINT ended the study before it; the same command goes on)" in said
    assert study("Q2").code == 0
    assert len(processes.turns) == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["softmx"], "did you mean softmax"),
        (["Q1", "--budget", "long"], "not a time"),
        (["Q1", "--memory", "much"], "not a size of memory"),
        (["Q1", "--batch-size", "0"], "must be at least 1"),
        (["Q1", "--context-length", "0"], "must be at least 1"),
        (["Q1", "--model-size", "smal"], "small"),
    ],
)
def test_a_mistake_is_one_line(study, arguments: list[str], says: str):
    result = study(*arguments)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert says in result.err


def test_an_output_that_is_a_file(tmp_path, capsys):
    (tmp_path / "study").write_text("")
    assert cli.main(["study", "Q20", "-o", str(tmp_path / "study")]) == 2
    assert "is a file: name a folder" in capsys.readouterr().err


@pytest.mark.slow
def test_a_profiled_question_end_to_end(tmp_path: Path, capsys):
    """GIVEN real processes THEN softmax is found beside the matmuls: for each of a head's scores these do 4 FLOPs of
    its width of 32, and softmax 5: 25.6 times"""
    arguments = ["study", "Q7", "--num-threads", "1", "-o", str(tmp_path)]
    on_a_cpu = Outside(find=lambda names: dict.fromkeys(names, ("cpu", 2**34)))

    # WHEN
    code = cli.main(arguments, outside=on_a_cpu)

    # THEN
    out, _ = capsys.readouterr()
    assert code == 0
    assert "attention's matmuls do 25.6 times the FLOPs of softmax in " in out.replace("\n  ", " ")
