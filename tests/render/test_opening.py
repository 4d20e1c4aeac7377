"""What is said before the tables, in which order, and how it is set."""

from __future__ import annotations

from dataclasses import replace

from perfkit.analysis.findings.integrity import NO_LAUNCH
from perfkit.render import markdown
from perfkit.render.opening import FIRST, lines, opening
from perfkit.schema.finding import APART, CLEAN, NO_COST, TRACE_TOTALS, Cost, Evidence, Finding, Rule

ABOUT = Finding(TRACE_TOTALS, "100 ms a step")
CHANGE = Rule("a-change", "performance", "for a test")
NOTE = Finding(Rule("a-note", "trace", "for a test"), "a note")
COMMAND = "perfkit analyze x --table findings"


def change(what: str, cost: Cost = NO_COST, advice: str = "", table: str = "kernels") -> Finding:
    return Finding(CHANGE, what, cost, (Evidence(table, {}),), advice)


def ms(cost: float, share: float) -> Cost:
    return Cost(round(cost * 1e6), share)


def said(findings: list[Finding], tables: tuple[str, ...] = (), width: int | None = None) -> list[str]:
    return [line for line, _ in lines(opening(findings, tables), width, COMMAND)]


def test_the_answer_comes_first():
    """GIVEN findings in any order WHEN shown THEN the step, what to change, cautions, notes, what was not found"""
    clean, caution = Finding(CLEAN, "clean"), Finding(NO_LAUNCH, "lost")
    found = [clean, NOTE, change("a little", ms(2, 0.02)), caution, change("much", ms(12.5, 0.125), "less"), ABOUT]
    assert said(found) == [
        "100 ms a step",
        "",
        "What to change first, and the time of a step at stake",
        "  12.50 ms  12.5%  much",
        "                   try less",
        "   2.00 ms   2.0%  a little",
        "",
        "integrity, no launch: lost",
        "a note",
        "integrity: clean",
    ]


def test_five_are_shown_and_the_command_for_the_others():
    found = [change(f"number {number}", ms(10 - number, 0.1)) for number in range(FIRST + 3)]
    shown = said([ABOUT, *found])
    assert shown[-2:] == ["   6.00 ms  10.0%  number 4", f"  and 3 more: {COMMAND}"]
    assert "number 7" in said([ABOUT, *found], ("findings",))[-1]


def test_what_gains_nothing_is_not_among_the_first():
    """GIVEN a change that a replay says gains nothing WHEN shown THEN it waits, unless there is no other"""
    idle = replace(change("in vain", ms(2, 0.2)), gain=Cost(0, 0.0))
    assert said([idle, change("much", ms(1, 0.1))])[1:] == ["  1.000 ms  10.0%  much", f"  and 1 more: {COMMAND}"]
    assert said([idle]) == ["What to change first", "  in vain"]
    assert "in vain" in said([idle, change("much", ms(1, 0.1))], ("findings",))[-1]


def test_brief_are_the_first_notes_and_no_details():
    """GIVEN a detail, what was not found, and many notes WHEN brief THEN the first notes, and how to see all"""
    detail = Finding(Rule("a-detail", "noise", "for a test", read="detail"), "a detail")
    found = [ABOUT, detail, Finding(CLEAN, "clean"), *[NOTE] * (FIRST + 2)]
    brief = [line for line, _ in lines(opening(found, brief=True), None, COMMAND)]
    assert brief[-FIRST - 1 :] == ["a note"] * FIRST + [f"and 2 more: {COMMAND}"]
    assert not {"a detail", "integrity: clean"} & {*brief}
    assert {"a detail", "integrity: clean"} < {*said(found)}


def test_a_first_line_is_broken_between_its_parts():
    about = Finding(TRACE_TOTALS, APART.join(("100 ms a step (2 steps)", "busy 12.0% of it", "and so on for a while")))
    assert said([about], width=45)[:2] == ["100 ms a step (2 steps)   busy 12.0% of it", "  and so on for a while"]
    assert said([about])[0] == about.what


def test_a_table_asked_for_comes_with_what_rests_on_it():
    """GIVEN changes seen in two tables WHEN one is asked for THEN its own; of a third none, which proves nothing"""
    found = [ABOUT, change("in kernels", ms(1, 0.1)), change("in layers", ms(2, 0.2), table="layers"), NOTE]
    assert [line for line in said(found, ("kernels",)) if "in " in line] == ["  1.000 ms  10.0%  in kernels"]
    assert said(found, ("phases",)) == ["100 ms a step", "a note"]
    assert said(found, ("integrity",)) == ["100 ms a step"]


def test_that_nothing_was_found_is_said_of_what_was_judged():
    assert said([ABOUT, NOTE]) == ["100 ms a step", "", "What to change first: no rule found anything", "", "a note"]
    assert said([NOTE]) == ["a note"]


def test_a_change_without_a_cost_has_a_dash_or_no_columns():
    assert said([change("a mistake")]) == ["What to change first", "  a mistake"]
    mixed = said([change("a mistake"), change("much", ms(2, 0.5))])
    assert mixed[1:] == ["  2.000 ms  50.0%  much", "         -      -  a mistake"]


def test_the_same_advice_is_given_once():
    found = [change("one", ms(2, 0.2), "it"), change("other", ms(1, 0.1), "it"), Finding(NOTE.rule, "so", advice="it")]
    assert sum("try it" in line for line in said(found)) == 1


def test_sentences_are_set_beside_the_numbers():
    """GIVEN 60 columns WHEN a long sentence is shown THEN its lines stand below each other; long words stay whole"""
    word = "a.very.long.name.that.cannot.be.broken.anywhere.at.all.whatever.happens"
    shown = said([change("many words " * 8, ms(2, 0.2), f"less {word}")], width=60)
    texts = shown[1:]
    assert all(line[:19].strip() in ("2.000 ms  20.0%", "") for line in texts)
    assert all(len(line) <= 60 for line in texts if word not in line)
    assert sum(line.count("words") for line in texts) == 8
    assert any(word in line for line in texts)


def test_names_in_sentences_stay_plain():
    assert said([change("\x1b[31mred\n")])[-1] == r"  \x1b[31mred\n"


def test_markdown_has_the_same_order():
    found = [NOTE, change("a *name*", ms(2, 0.2), "less"), change("a mistake"), ABOUT]
    assert markdown.opening(opening(found)) == (
        "**100 ms a step**\n\n### What to change first, and the time of a step at stake\n\n"
        "1. **2.000 ms, 20.0%** a \\*name\\*; try less\n2. a mistake\n\n- a note\n"
    )
    many = markdown.opening(opening([change(str(number), ms(1, 0.1)) for number in range(FIRST + 2)]))
    assert many.endswith("\n\nand 2 more: `--table findings`\n")
    assert markdown.opening(opening([ABOUT])).endswith("\n\nWhat to change first: no rule found anything\n")
    assert markdown.opening(opening([])) == ""


def test_the_command_for_more_is_never_broken():
    """GIVEN 6 findings on 40 columns, and on enough THEN the command stands below what it is for, and beside it"""
    found = [change(f"number {n}", ms(n, n / 100)) for n in range(1, 7)]
    assert said(found, width=40)[-2:] == ["  and 1 more:", f"    {COMMAND}"]
    assert said(found, width=80)[-1] == f"  and 1 more: {COMMAND}"
