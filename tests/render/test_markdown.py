from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len

from perfkit.render.markdown import markdown
from perfkit.schema.printable import printable


def parsed_cells(source: str) -> list[str]:
    """What a Markdown reader sees in the body's cells."""
    tokens = MarkdownIt("commonmark").enable("table").parse(source)
    bodies = [i for i, token in enumerate(tokens) if token.type == "td_open"]
    cells = []
    for i in bodies:
        assert {child.type for child in tokens[i + 1].children} <= {
            "text",
            "code_inline",
            "text_special",
            "strong_open",
            "strong_close",
        }
        cells.append("".join(child.content for child in tokens[i + 1].children))
    return cells


def test_the_source_reads_as_a_table(kernels):
    assert markdown(kernels, top=3) == (
        "### Kernels by device time\n"
        "\n"
        "| kernel       | calls | total (ms) | of step | peak (GiB) |\n"
        "| ------------ | ----: | ---------: | ------: | ---------: |\n"
        "| gemm         | 1,440 |      254.1 |   86.0% |      25.52 |\n"
        "| softmax      |   144 |       40.0 |   13.5% |       0.50 |\n"
        "| copy         |    12 |        1.5 |    0.5% |          - |\n"
        "| … 1 more row |     1 |       <0.1 |   <0.1% |            |\n"
        "| **total**    | 1,597 |      295.6 |  100.0% |            |\n"
        "\n"
        "- 2 launches were lost\n"
    )


def test_an_empty_table_says_so(empty):
    assert markdown(empty) == "### Kernels by device time\n\nno rows\n\n- nothing ran\n"


def test_a_markdown_reader_sees_each_name_as_it_is(nasty):
    # WHEN
    source = markdown(nasty)

    # THEN
    assert parsed_cells(source)[::2] == [printable(name) for name in nasty.frame["name"]]
    assert source.startswith("### Title with \\| \\& % \\_x\\_ \\[b\\]\\\\x1b\\[1m\n")


def test_lines_are_equally_wide_even_with_wide_characters(nasty):
    assert len({cell_len(line) for line in markdown(nasty).splitlines() if line.startswith("|")}) == 1


@pytest.mark.parametrize(("name_width", "shown"), [(20, "kkkkkkkkkkkkk…kkkkkk"), (None, "k" * 300)])
def test_long_names_are_shortened_unless_told_otherwise(kernels, name_width, shown):
    kernels.frame.loc[0, "kernel"] = "k" * 300
    assert f"| {shown} |" in markdown(kernels, name_width=name_width)
