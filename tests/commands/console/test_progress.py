"""The progress display: lines where nobody watches, a bar that is drawn only when called where somebody does."""

from __future__ import annotations

import contextlib
import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from perfkit.commands.console import progress as progress_module
from perfkit.commands.console.progress import StageProgress, Wait, Waiting


def screen(*, terminal: bool) -> tuple[Console, io.StringIO]:
    """A console, and what it shows."""
    shown = io.StringIO()
    return Console(file=shown, force_terminal=terminal, width=80, highlight=False), shown


def stages(*, terminal: bool) -> tuple[StageProgress, io.StringIO]:
    console, shown = screen(terminal=terminal)
    return StageProgress(console), shown


def go(progress: StageProgress) -> None:
    with progress:
        progress.stage("building the model")
        progress.stage("measured steps", 2)
        progress.advance()
        progress.advance()
        progress.stage("writing the trace")


def test_what_is_told_has_room_on_a_terminal_and_is_one_line_in_a_file():
    """GIVEN a sentence of 89 characters WHEN told on a terminal of 80 columns, and without one THEN two lines, one"""
    sentence = " ".join(["nine char"] * 9)
    for terminal, written in ((True, f"{sentence[:79]}\n  nine char\n"), (False, f"{sentence}\n")):
        console, shown = screen(terminal=terminal)
        progress_module.tell(sentence, console)
        assert shown.getvalue() == written


def test_a_stream_that_is_gone_ends_no_run():
    """GIVEN standard error that takes nothing, as /dev/full WHEN a run goes on THEN it does not hear of it"""
    with (
        io.TextIOWrapper(Path("/dev/full").open("wb", buffering=0), write_through=True) as full,
        contextlib.redirect_stderr(full),
    ):
        go(StageProgress())
        assert isinstance(progress_module.stderr_console().file, progress_module._Stderr)


def test_without_a_terminal_every_stage_is_a_line():
    progress, shown = stages(terminal=False)
    go(progress)
    assert shown.getvalue() == "building the model\nmeasured steps, 2\nwriting the trace\n"


def test_without_a_terminal_long_stages_say_how_far_they_are():
    """GIVEN steps of 6 s by a clock WHEN they are counted THEN a line where ten seconds have gone since the last one"""
    console, shown = screen(terminal=False)
    now = iter(range(0, 1000, 6)).__next__  # asked by the stage, by each step, and by each line that is told
    with StageProgress(console, clock=now) as progress:
        progress.stage("measured steps", 4, is_measured=True)
        for _ in range(4):
            progress.advance()
    assert shown.getvalue() == (
        "measured steps, 4\nmeasured steps, 2 of 4, 18 s so far\nmeasured steps, 4 of 4, 36 s so far\n"
    )


def test_a_thread_tells_every_ten_seconds_until_it_is_stopped():
    """GIVEN a wait that ends at the third time WHEN it is waited for THEN it was told twice, ten seconds apart"""
    ends, happened = iter([False, False, True]), list[float | str]()

    def wait(seconds: float) -> bool:
        happened.append(seconds)
        return next(ends)

    Waiting(lambda _: happened.append("told"), wait).stop()
    assert happened == [10.0, "told", 10.0, "told", 10.0]


@pytest.mark.parametrize("terminal", [True, False])
def test_no_thread_runs_beside_measured_steps(terminal):
    """WHEN stages follow each other THEN a thread tells of warm-up, and has ended when steps count"""
    progress, _ = stages(terminal=terminal)

    def telling() -> int:
        return sum(thread.name == "progress" for thread in threading.enumerate())

    with progress:
        progress.stage("warm-up steps", 2)
        assert telling() == 1
        progress.stage("measured steps", 2, is_measured=True)
        assert telling() == 0
        progress.stage("writing the trace")
        assert telling() == 1
    assert telling() == 0


def test_on_a_terminal_the_bar_counts():
    # GIVEN
    progress, shown = stages(terminal=True)

    # WHEN
    go(progress)

    # THEN
    text = shown.getvalue()
    for part in ("building the model", "measured steps", "0/2", "1/2", "2/2", "writing the trace"):
        assert part in text


def test_on_a_terminal_nothing_is_drawn_between_calls():
    """A thread that redraws would run beside the step that is timed."""
    others = set(threading.enumerate())  # that of a bar taken away in an earlier test may not have ended yet
    progress, shown = stages(terminal=True)
    with progress:
        progress.stage("measured steps", 2, is_measured=True)
        before = shown.getvalue()
        begun = set(threading.enumerate()) - others
        assert not any("rich" in type(thread).__module__ for thread in begun)
        assert shown.getvalue() == before


def test_the_bar_is_taken_away_when_a_run_fails():
    # GIVEN
    progress, shown = stages(terminal=True)

    def interrupt() -> None:
        with progress:
            progress.stage("measured steps", 2)
            raise KeyboardInterrupt

    # WHEN
    with pytest.raises(KeyboardInterrupt):
        interrupt()

    # THEN the cursor is visible again
    assert shown.getvalue().rfind("\x1b[?25h") > shown.getvalue().rfind("\x1b[?25l") >= 0


def twice(asked: list[float]) -> Wait:
    """A wait that ends at the third time."""

    def wait(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) > 2

    return wait


@pytest.mark.parametrize(
    ("terminal", "seconds", "said"),
    [
        (True, 2.0, "\ra\\x1bb, 0 s so far\x1b[K" * 2 + "\r\x1b[K"),
        (False, 10.0, "a\\x1bb, 0 s so far\n" * 2),
    ],
)
def test_what_takes_long_says_so_and_leaves_no_trace_on_a_terminal(terminal, seconds, said):
    """GIVEN work that is waited for twice WHEN it is done THEN it was told each time, and a terminal's line is empty"""
    console, shown = screen(terminal=terminal)
    asked: list[float] = []
    with progress_module.going_on("a\x1bb", console, twice(asked)):
        pass
    assert (shown.getvalue(), asked) == (said, [seconds] * 3)


def test_what_is_short_says_nothing():
    console, shown = screen(terminal=True)
    with progress_module.going_on("work", console, lambda _: True):
        pass
    assert shown.getvalue() == ""


def test_what_asks_for_colour_makes_no_terminal_of_a_pipe(monkeypatch, capsys):
    """GIVEN a notebook, whose kernel asks for colour, WHEN a file is read for long THEN no bar among its outputs"""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not progress_module.stderr_console().is_terminal
