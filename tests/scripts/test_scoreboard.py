"""scripts/scoreboard: what it measures, and how it judges. No step is timed here but by clocks of the tests' own."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import pytest

from scripts.scoring import judging, main, measuring
from scripts.scoring.judging import Found, Judged, false_alarms, judge, performance, score
from scripts.scoring.measuring import Measured, Plan, Side, in_process, measure, played
from tests.planted.program import Program, pair

ROOT = Path(__file__).parents[2]
PLAN = Plan(repeats=2, rounds=3, steps=4, recorded=5)


def side(step_ms=100.0, recorded_ms=None, trace="x.json"):
    return Side(1e6 * step_ms, 1e6 * (step_ms if recorded_ms is None else recorded_ms), Path(trace))


def measured(fault_ms=100.0, healthy_ms=60.0, name="planted"):
    return Measured(name, "cpu", side(fault_ms), side(healthy_ms), (1e6 * (fault_ms - healthy_ms),))


def found(rule="right", ms=40.0, *, is_ceiling=True):
    return Found(rule, f"{rule} costs much", "layers.0", None if ms is None else 1e6 * ms, is_ceiling)


def judged(*findings, alarms=(), accepted=("right",), **times):
    return Judged(measured(**times), frozenset(accepted), findings, alarms)


# --- measuring ---------------------------------------------------------------------------------------------------


class Twins:
    """Answers as two processes would, and keeps what was asked of whom."""

    def __init__(self, seconds):
        self.seconds, self.asked, self.open = seconds, [], []

    @contextlib.contextmanager
    def start(self, name, side, device):
        self.open.append(side)

        def ask(request):
            self.asked.append((side, request))
            return self.seconds[side].pop(0)

        yield ask
        self.open.remove(side)


def test_twins_take_turns_and_medians_of_medians_are_compared(tmp_path):
    """GIVEN two pairs of processes, and one slow turn in each, THEN it moves nothing; only the last is recorded."""
    fault = [0.5, 9.0, 0.5, 0.7, 0.7, 0.7, 1.0]
    healthy = [0.2, 0.2, 0.2, 0.3, 0.3, 8.0, 0.4]
    twins = Twins({"fault": fault, "healthy": healthy})
    program = Program("planted", "", "", ("cpu",), lambda fault, device: (None, lambda: None))
    made = measure(program, "cpu", PLAN, tmp_path, start=twins.start)
    assert made.gains_ns == pytest.approx((0.3e9, 0.4e9))
    assert made.gain_ns == pytest.approx(0.35e9)
    assert (made.fault.step_ns, made.healthy.step_ns) == pytest.approx((0.6e9, 0.25e9))
    assert (made.fault.recorded_ns, made.healthy.recorded_ns) == pytest.approx((1e9, 0.4e9))
    order = [name for name, request in twins.asked if request == "time 4"]
    assert order[:6] == ["fault", "healthy", "healthy", "fault", "fault", "healthy"]
    assert twins.asked[-2:] == [
        ("fault", f"record 5 plain {tmp_path}/planted.cpu.fault.pt.trace.json.gz"),
        ("healthy", f"record 5 plain {tmp_path}/planted.cpu.healthy.pt.trace.json.gz"),
    ]
    assert len(twins.asked) == 14
    assert not twins.open


def test_a_built_pair_costs_what_the_timing_model_says(tmp_path):
    made = played(pair("item_each_step"), tmp_path)
    assert made.gains_ns == (made.fault.step_ns - made.healthy.step_ns,)
    assert made.fault.trace.exists()
    assert made.healthy.trace.exists()


def test_a_real_twin_answers_and_its_recording_can_be_analysed(tmp_path):
    """GIVEN a program in a process of its own and a folder with a blank in its name, WHEN asked, THEN it answers."""
    file = tmp_path / "a folder.json.gz"
    with in_process("samples_one_by_one", "healthy", "cpu") as ask:
        assert ask("time 1") > 0
        assert ask(f"record 2 plain {file}") > 0
    assert judging.analyse(file)["summary"]["steps"] == 2


def test_a_twin_that_dies_is_said_to_be_dead_and_how_to_see_why(capfd):
    with pytest.raises(SystemExit, match=r"no_such_program .*ended early.*--fault --device cpu"):  # noqa: SIM117
        with in_process("no_such_program", "fault", "cpu"):
            pass
    assert "KeyError" in capfd.readouterr().err


# --- judging -----------------------------------------------------------------------------------------------------


def test_only_findings_of_performance_count_in_their_order():
    rows = [("clean", None), ("b", 5), ("a", None)]
    document = {
        "findings": [{"rule": rule, "what": "-", "where": "", "cost_ns": cost, "gain_ns": None} for rule, cost in rows]
    }
    topics = {"clean": "integrity", "a": "performance", "b": "performance"}
    assert [(one.rule, one.ns) for one in performance(document, topics)] == [("b", 5), ("a", None)]


def test_topics_are_those_of_perfkits_rules():
    assert judging.topics_of_rules()["clean"] == "integrity"


@pytest.mark.parametrize(
    ("rule", "ms", "alarm"),
    [("right", 0.1, True), ("right", None, True), ("other", 5.1, True), ("other", 5.0, False), ("other", None, False)],
)
def test_a_healthy_twin_may_not_have_the_faults_finding_nor_a_large_one(rule, ms, alarm):
    """Large is more than 5% of the step as it was recorded: 5 ms of 100 ms, whatever it takes otherwise."""
    one = found(rule, ms)
    assert false_alarms([one], frozenset({"right"}), side(50.0, recorded_ms=100.0)) == ((one,) if alarm else ())


def test_a_fault_has_the_place_and_the_gain_of_the_first_finding_that_names_it():
    one = judged(found("other", 90.0), found("right", 30.0), found("right", 20.0))
    assert (one.place, one.predicted_ns) == (2, 30e6)
    assert one.error == pytest.approx(0.25)
    assert judged(found("other")).place is None
    assert judged(found("other")).error is None


@pytest.mark.parametrize(("ms", "low"), [(37.9, True), (38.1, False), (80.0, False), (None, False)])
def test_a_ceiling_may_not_lie_below_what_was_gained(ms, low):
    assert judged(found(ms=ms)).ceiling_too_low is low
    cost = judged(found(ms=ms, is_ceiling=False))  # what no replay says is what something took, and no ceiling
    assert (cost.is_too_low, cost.ceiling_too_low) == (low, False)


def test_the_score_counts_faults_with_an_effect_and_a_rule():
    everything = [
        judged(found(ms=40.0)),
        judged(found("other"), found(ms=30.0)),
        judged(*(found("other") for _ in range(3)), found(ms=60.0)),
        judged(found("other"), alarms=(found(),)),
        judged(found(), healthy_ms=96.0),  # no effect
        judged(found(), accepted=()),
        judged(found("other"), found(ms=30.0, is_ceiling=False)),
    ]
    counted = score(everything)
    assert (counted.faults, counted.first, counted.in_three) == (5, 1, 3)
    assert (counted.alarmed, counted.twins) == (1, 7)
    assert counted.error == pytest.approx(0.25)
    assert (counted.ceilings, counted.ceilings_too_low, counted.costs_too_low) == (3, 1, 1)
    assert not counted.passed


def test_a_score_passes_where_all_that_is_asked_holds():
    assert score([judged(found(ms=41.0))] * 9 + [judged(found("other"))]).passed
    assert not score([judged(found(ms=41.0))] * 8 + [judged(found("other"))] * 2).passed
    assert not score([judged(found(ms=37.0))]).passed
    assert not score([judged(found(ms=50.0))]).passed
    assert not score([judged(found(ms=41.0), alarms=(found(),))]).passed
    assert not score([]).passed


def test_both_recordings_are_analysed(monkeypatch):
    rows = {"f.json": [("right", 40e6)], "h.json": [("right", 1e6), ("other", 1e6)]}

    def analysed(trace):
        return {
            "findings": [
                {"rule": rule, "what": "", "where": "", "cost_ns": ns, "gain_ns": None} for rule, ns in rows[trace.name]
            ]
        }

    monkeypatch.setattr(judging, "analyse", analysed)
    one = Measured("planted", "cpu", side(trace="f.json"), side(60.0, trace="h.json"), (40e6,))
    made = judge(one, frozenset({"right"}), {"right": "performance", "other": "performance"})
    assert made.place == 1
    assert [alarm.rule for alarm in made.alarms] == ["right"]


def test_a_file_that_cannot_be_analysed_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"nothing\.json.*does not exist"):
        judging.analyse(tmp_path / "nothing.json")


# --- what people read ---------------------------------------------------------------------------------------------


def test_the_table_has_a_line_for_each_fault_and_the_summary_what_is_asked():
    everything = [judged(found(ms=30.0)), judged(healthy_ms=99.0, name="weak"), judged(accepted=(), name="new")]
    head, first, weak, new = main.table(everything)
    assert head.split()[:3] == ["fault", "source", "step"]
    shown = "planted cpu 100.00 40.00 (40.0%) 40.00..40.00 1 30.00 too low 25.0% right -"
    assert first.split() == shown.split()
    assert "no effect" in weak
    assert "no rule yet" in new
    text = "\n".join(main.summary(everything, score(everything)))
    assert "named first: 1 of 1 faults (asked: 90.0%)" in text
    assert "ceilings more than 5.00% below the gain: 1 of 1 (asked: none)" in text
    assert "costs that no replay made a ceiling, as far below it: 0" in text
    assert "not counted, since they cost less than 5.00% here: weak" in text
    assert "not counted, since tests/planted/rules.toml names no rule: new" in text


def test_everything_is_told_on_demand_and_in_json():
    one = judged(found(), alarms=(found("other"),))
    assert main.told(one) == ["    1. right: right costs much", "    false alarm: other: other costs much"]
    data = json.loads(json.dumps(main.as_data([one], score([one]))))
    assert data["score"]["first"] == 1
    assert data["faults"][0]["measured"]["fault"]["trace"] == "x.json"
    assert (data["faults"][0]["place"], data["faults"][0]["accepted"]) == (1, ["right"])


def test_the_command_lists_faults_and_says_where_there_are_none(capsys):
    assert main.main(["--list", "--source", "built", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "built  item_each_step" in out
    assert "cpu    attention_by_hand" in out
    with pytest.raises(SystemExit, match=r"nothing: no such fault .* see --list"):
        main.main(["--list", "--only", "attention_by_hand", "nothing"])


def test_the_script_measures_and_judges_a_built_pair(tmp_path):
    file = tmp_path / "score.json"
    flags = ["--source", "built", "--only", "item_each_step", "--output", str(file), "--keep", str(tmp_path)]
    done = subprocess.run(["scripts/scoreboard", *flags], cwd=ROOT, capture_output=True, check=False, text=True)
    assert "item_each_step  built" in done.stdout, done.stderr
    assert "named first: " in done.stdout
    [fault] = json.loads(file.read_text())["faults"]
    assert fault["gain_ns"] > 0
    assert len(list(tmp_path.glob("item_each_step.built.*.pt.trace.json.gz"))) == len(measuring.SIDES)
