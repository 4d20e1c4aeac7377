from __future__ import annotations

from dataclasses import replace

import pytest

from perfkit.render.latex import escape, latex
from perfkit.schema.table import Column


def test_the_whole_environment(kernels):
    assert latex(kernels, top=3).splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}[htbp]",
        r"\centering",
        r"\caption{Kernels by device time}",
        r"\label{tab:kernels}",
        r"\begin{tabular}{lrrrr}",
        r"\toprule",
        r"kernel & calls & total (ms) & of step & peak (GiB) \\",
        r"\midrule",
        r"gemm & 1,440 & 254.1 & 86.0\% & 25.52 \\",
        r"softmax & 144 & 40.0 & 13.5\% & 0.50 \\",
        r"copy & 12 & 1.5 & 0.5\% & -- \\",
        r"\ldots{} 1 more row & 1 & \textless{}0.1 & \textless{}0.1\% &  \\",
        r"\midrule",
        r"total & 1,597 & 295.6 & 100.0\% &  \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip{\footnotesize 2 launches were lost}",
        r"\end{table}",
    ]


def test_a_wide_table_is_made_to_fit(kernels):
    # GIVEN
    columns = [*kernels.columns, *(Column(f"wide_{n}", title=f"a heading of words {n}") for n in range(4))]
    frame = kernels.frame.assign(**{f"wide_{n}": "12 & 34" for n in range(4)})

    # WHEN
    lines = latex(replace(kernels, columns=tuple(columns), frame=frame)).splitlines()

    # THEN its headings stand in lines no longer than what is below them, and the page scales it down
    assert lines[0] == r"% needs \usepackage{booktabs,graphicx}"
    assert r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%" in lines
    assert r"\end{tabular}}" in lines
    (heading,) = (line for line in lines if line.startswith("kernel &"))
    assert r"\shortstack[r]{total\\(ms)}" in heading
    assert heading.endswith(r"& \shortstack[l]{a\\heading\\of\\words 3} \\")
    assert sum(r"12 \& 34 & 12 \& 34" in line for line in lines) == 4


def test_an_empty_table_says_so(empty):
    assert r"\multicolumn{5}{l}{no rows} \\" in latex(empty)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a & b_c % d # e $", r"a \& b\_c \% d \# e \$"),
        ("{x}^~\\", r"\{x\}\textasciicircum{}\textasciitilde{}\textbackslash{}"),
        ("<T>|[red]*", r"\textless{}T\textgreater{}\textbar{}{[}red]{*}"),
        ("--flag a-b", "-{}-flag a-b"),
        ("…", r"\ldots{}"),
    ],
)
def test_specials_are_escaped(text, expected):
    assert escape(text) == expected


def test_no_name_reaches_latex_unescaped(nasty):
    # WHEN
    lines = latex(nasty, name_width=None).splitlines()

    # THEN
    assert r"a\textbar{}b & 0 \\" in lines
    assert r"\textbackslash{}x1b{[}31mred\textbackslash{}x1b{[}0m & 4 \\" in lines
    assert r"half a pair \textbackslash{}ud800 & 10 \\" in lines


def test_negative_numbers_have_a_minus_sign(kernels):
    kernels.frame["calls"] = [-1440, 5, 6, 7]
    assert r"gemm & $-$1,440 &" in latex(kernels)
