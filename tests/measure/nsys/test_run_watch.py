"""What tells a hang from work, and lines from bytes, by a clock and a pipe held by hand."""

from __future__ import annotations

import os
import signal

import pytest

from perfkit.measure.nsys.process import _Listener, _Stream, _stuck, _Watch


class Hand:
    """A clock, and what the application has used by it, both set by hand."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s, self.used_s = now_s, 0.0

    def at(self, now_s: float, used_s: float = 0.0) -> None:
        self.now_s, self.used_s = now_s, used_s

    def watch(self, patience_s: float = 100.0) -> _Watch:
        return _Watch("this", patience_s, lambda mark: {"this": self.used_s}[mark], lambda: self.now_s)


@pytest.fixture
def hand() -> Hand:
    return Hand()


def test_nothing_is_a_hang_from_the_patience_on(hand):
    watch = hand.watch()
    for now_s, stuck in ((1000.0, False), (1099.0, False), (1100.0, True), (1500.0, True)):
        hand.at(now_s)
        assert watch.is_stuck() is stuck
    hand.at(1500.0)
    watch.sign()
    assert not watch.is_stuck()
    hand.at(1599.0)
    assert not watch.is_stuck()


@pytest.mark.parametrize(("used_s", "stuck"), [(5.0, True), (6.0, True), (6.5, False)])
def test_an_application_is_busy_above_a_hundredth_of_a_processor(hand, used_s, stuck):
    """GIVEN 5 s used before, and a patience of 100 s THEN more than 1 s more is work, and the wait begins anew"""
    watch = hand.watch()
    watch.used_s = 5.0
    hand.at(1100.0, used_s)
    assert watch.is_stuck() is stuck
    assert watch.used_s == used_s
    assert watch.last_sign == (1000.0 if stuck else 1100.0)


def test_what_was_used_counts_once(hand):
    watch = hand.watch()
    hand.at(1100.0, 50.0)
    assert not watch.is_stuck()
    hand.at(1200.0, 50.0)
    assert watch.is_stuck()


@pytest.mark.parametrize(("number", "said"), [
    (None, "nsys hung: it did nothing for 120 s and was stopped; try again, or measure with --profiler torch"),
    (signal.SIGTERM, "nsys did not end within 120 s of SIGTERM and was stopped"),
])  # fmt: skip
def test_why_it_was_stopped_is_said_with_its_patience(number, said):
    assert _stuck(Hand().watch(120.0), number) == said


@pytest.fixture
def pipe():
    """(read end, write end)"""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_a_stream_is_heard_in_lines_its_last_one_at_its_end(pipe):
    heard: list[str] = []
    stream = _Stream(pipe[0], heard.append)
    os.write(pipe[1], b"one\ntw")
    assert stream.read()
    assert heard == ["one"]
    os.write(pipe[1], b"o\r\xff\nla")
    assert stream.read()
    assert heard == ["one", "two", "\ufffd"]
    os.close(pipe[1])
    assert not stream.read()
    assert not stream.read()
    assert heard == ["one", "two", "\ufffd", "la"]


@pytest.mark.parametrize("length", [3999, 4000, 4001])
def test_of_a_line_without_end_the_last_4000_characters_are_kept(pipe, length):
    heard: list[str] = []
    stream = _Stream(pipe[0], heard.append)
    os.write(pipe[1], (b"0123456789" * 401)[:length])
    assert stream.read()
    os.close(pipe[1])
    assert not stream.read()
    assert heard == [("0123456789" * 401)[:length][-4000:]]


class Deaf(_Listener):
    """A listener without streams: it is told each line."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.said = self.complaint = self.error = ""
        self.pass_lines_on = True
        self.output: list[str] = []
        self._hear, self._hear_output = self.heard.append, self.output.append


def test_last_lines_are_those_with_anything_in_them():
    one = Deaf()
    for line in ("first", " last ", "  ", ""):
        one._keep(line)
        one._pass_on(line)
    assert (one.said, one.complaint, one.error) == ("last", "last", "")
    assert one.heard == one.output == ["first", " last ", "  ", ""]


def test_an_error_of_perfkits_is_kept_and_not_passed_on():
    one = Deaf()
    for line in ("a", "perfkit: no such thing", " perfkit: quoted"):
        one._pass_on(line)
    one.pass_lines_on = False
    one._pass_on("late")
    assert (one.error, one.complaint) == ("no such thing", "late")
    assert one.heard == ["a", " perfkit: quoted"]
