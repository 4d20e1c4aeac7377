"""Rules: each is named once, in kebab-case, explained, and used by the code."""

from __future__ import annotations

import re
import typing

import pytest

from perfkit.schema.finding import CLEAN, Topic
from tests.docs import pages

CODE = "".join(file.read_text(encoding="utf-8") for file in (pages.ROOT / "perfkit").rglob("*.py"))
RULES = pages.rules()


@pytest.mark.parametrize(("name", "rule"), RULES.items(), ids=RULES)
def test_a_rule_has_a_name_a_topic_and_a_line(name, rule):
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
    assert rule.id == name.lower().replace("_", "-")
    assert rule.topic in typing.get_args(Topic)
    assert rule.doc
    assert not rule.doc.endswith(".")
    assert "|" not in rule.doc


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_one_that_the_code_makes(name):
    """GIVEN the rules WHEN looking through the code THEN each is used: none is left over"""
    assert len(re.findall(rf"\b{name}\b", CODE)) > 1


def test_titles_are_the_names_without_hyphens_but_for_spelling():
    for rule in RULES.values():
        assert rule.title.lower() == rule.id.replace("-", " ") or rule == CLEAN
