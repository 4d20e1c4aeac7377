"""Rules: each is named once, in kebab-case, explained, and made by the code."""

from __future__ import annotations

import re
import typing

import pytest

from perfkit.schema.finding import Rule, Topic
from tests.docs import pages

CODE = "".join(file.read_text(encoding="utf-8") for file in (pages.ROOT / "perfkit").rglob("*.py"))


@pytest.mark.parametrize("rule", Rule, ids=lambda rule: rule.id)
def test_a_rule_has_a_name_a_topic_and_a_line(rule):
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
    assert rule.topic in typing.get_args(Topic)
    assert rule.doc
    assert not rule.doc.endswith(".")


@pytest.mark.parametrize("rule", Rule, ids=lambda rule: rule.id)
def test_a_rule_is_one_that_the_code_makes(rule):
    """GIVEN the rules WHEN looking through the code THEN each is used: none is left over"""
    assert re.search(rf"\bRule\.{rule.name}\b", CODE)


def test_titles_are_the_names_without_hyphens_but_for_spelling():
    for rule in Rule:
        assert rule.title.lower() == rule.id.replace("-", " ") or rule is Rule.CLEAN
