"""The list of questions, and how they are named."""

from __future__ import annotations

import pytest

from perfkit.analysis.study.catalogue import QUESTIONS, chosen, listing, needs
from perfkit.analysis.study.question import Scope
from perfkit.errors import UsageError


def test_twenty_questions_in_order_each_with_a_word():
    assert [question.number for question in QUESTIONS] == list(range(1, 21))
    assert len({question.word for question in QUESTIONS}) == 20
    assert [row["question"] for row in listing(Scope()).main_table.frame.to_dict("records")][:2] == ["Q1", "Q2"]


@pytest.mark.parametrize("name", ["Q7", "q7", "7", "softmax", "Softmax"])
def test_a_question_by_number_or_word(name: str):
    assert [question.number for question in chosen([name])] == [7]


def test_several_come_once_and_in_order():
    assert [question.number for question in chosen(["large", "Q2", "20"])] == [2, 20]
    assert len(chosen(["all"])) == 20


@pytest.mark.parametrize(
    ("name", "says"), [("softmx", "did you mean softmax"), ("Q21", "choose Q1 to Q20"), ("0", "no such question")]
)
def test_an_unknown_name(name: str, says: str):
    with pytest.raises(UsageError, match=says):
        chosen([name])


def test_questions_share_their_runs():
    """GIVEN Q4 and Q6, which both read a profiled forward and a profiled training step THEN two runs are made"""
    assert len(needs(chosen(["Q4", "Q6"]), Scope())) == 2
    assert len(needs(chosen(["Q1", "Q2"]), Scope())) == 4
