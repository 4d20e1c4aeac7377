"""The registry: what is the same for every writer, and what --format makes of it."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.render.json import json_document
from perfkit.render.markdown import markdown
from perfkit.render.medium import Medium
from perfkit.render.writers import EXTENSIONS, WRITERS, Writer
from perfkit.schema.report import Report
from perfkit.schema.table import Table
from tests.reports import report

BY_FORM = {writer.form: writer for writer in WRITERS if writer.form}


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.extension)
def test_every_writer_writes_every_table_and_text_where_it_has_a_form(
    writer: Writer, kernels: Table, nasty: Table, empty: Table
) -> None:
    """GIVEN reports of ordinary, odd and no rows, and one without tables WHEN written THEN nothing is refused"""
    reports = [report(kernels, dataclasses.replace(nasty, name="nasty")), report(dataclasses.replace(empty, name="e"))]
    for some in (reports, reports[:1], [report()], [report(nasty)], [report(empty)]):
        document = writer.document(some, Medium())
        assert isinstance(document, str) or not writer.form
    assert writer.extension.startswith(".")
    assert writer.extension == writer.extension.lower()


def test_extensions_and_forms_are_named_once() -> None:
    assert len({writer.extension for writer in WRITERS}) == len(WRITERS)
    assert len(BY_FORM) == sum(bool(writer.form) for writer in WRITERS)


def test_the_help_names_every_extension_once() -> None:
    assert EXTENSIONS.replace(" or ", ", ").split(", ") == [writer.extension for writer in WRITERS]
    assert EXTENSIONS.count(" or ") == 1


def test_json_for_a_stream_that_has_few_letters_is_ascii() -> None:
    odd = report(summary={"name": "\u65e5"})
    assert BY_FORM["json"].document([odd], Medium()) == json_document([odd])
    text = BY_FORM["json"].document([odd], Medium(encoding="latin-1"))
    assert isinstance(text, str)
    assert "\\u65e5" in text


def test_markdown_says_a_note_once_and_names_the_sources(kernels: Table) -> None:
    """GIVEN two reports with one note WHEN written as one document THEN it is there once; of two sources, under each"""
    [note] = kernels.notes
    plain = dataclasses.replace(kernels, notes=())
    a, b = (Report(title, {}, (kernels,)) for title in ("a", "b"))
    assert BY_FORM["md"].document([a, b], Medium()) == markdown(kernels) + "\n" + markdown(plain)
    both = BY_FORM["md"].document([a, b], Medium(by_title=True))
    assert both == f"## a\n\n{markdown(kernels)}\n## b\n\n{markdown(kernels)}"
    assert isinstance(both, str)
    assert both.count(note) == 2
