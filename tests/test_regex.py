"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import gc
import importlib
import pkgutil
import re

import pytest

from perfkit import analysis
from perfkit.regex import Regex


def test_a_pattern_is_compiled_when_it_is_used() -> None:
    """GIVEN one that is wrong THEN making it is none of it, using it is"""
    wrong = Regex("(")
    with pytest.raises(re.error):
        wrong.search("")


def test_it_does_what_the_compiled_one_does() -> None:
    words = Regex(rb"(?P<first>[a-z])\w*", re.IGNORECASE)
    assert words.sub(rb"\g<first>", b"One two") == b"O t"
    assert [match["first"] for match in words.finditer(b"One two")] == [b"O", b"t"]
    assert (words.pattern, words.match(b"1")) == (rb"(?P<first>[a-z])\w*", None)


def test_a_method_is_looked_up_once() -> None:
    digit = Regex(r"\d")
    assert digit.match is digit.match


def test_each_pattern_of_the_analyses_is_one() -> None:
    """GIVEN all modules of perfkit.analysis THEN what they are to compile later can be compiled"""
    for module in pkgutil.walk_packages(analysis.__path__, "perfkit.analysis."):
        importlib.import_module(module.name)
    gc.unfreeze()  # what tests/conftest.py has frozen, too
    gc.collect()  # the wrong one of another test
    patterns = [each for each in gc.get_objects() if type(each) is Regex]
    gc.freeze()
    assert len(patterns) > 200
    for pattern in patterns:
        assert pattern.compiled.pattern == pattern.pattern
