"""Tables as people write them -> rows."""

from __future__ import annotations

import pytest

from perfkit.analysis.explained.reading import Defaults, read
from perfkit.errors import UsageError
from tests.analysis.explained import published


def _said(text: str, **defaults: object) -> list[tuple[object, ...]]:
    rows = read(text, Defaults(**defaults))  # type: ignore[arg-type]
    return [(row.name, row.part, row.seconds and round(row.seconds, 9), row.status) for row in rows]


def test_a_markdown_table_has_units_in_its_cells():
    assert _said(published.LAPTOP) == [
        ("small", "forward-backward", 0.30803, "ok"),
        ("medium", "forward-backward", 0.92849, "ok"),
        ("large", "forward-backward", 17.8, "ok"),
        ("xl", "forward-backward", None, "oom"),
        ("2.7B", "forward-backward", None, "oom"),
    ]


def test_a_column_of_each_pass_is_a_row_of_each():
    # WHEN
    rows = _said(published.A100)

    # THEN
    assert rows[:3] == [
        ("small", "forward", 0.0453, "ok"),
        ("small", "forward-backward", 0.134, "ok"),
        ("small", "train", 0.1539, "ok"),
    ]
    assert rows[9:] == [
        ("xl", "train", None, "oom"),
        ("xl", "forward", 0.561, "ok"),
        ("xl", "forward-backward", 1.713, "ok"),
        ("2.7B", "forward", 0.84, "ok"),
        ("2.7B", "forward-backward", 2.575, "ok"),
    ]


@pytest.mark.parametrize(
    ("heading", "cell", "part", "seconds"),
    [
        ("mean_ms", "308.03", "forward-backward", 0.30803),
        ("Mean Time (s)", "17.8", "forward-backward", 17.8),
        ("Latency [us]", "1,250", "forward-backward", 0.00125),
        ("time", "12.5 ms ± 0.3", "forward-backward", 0.0125),
        ("Forward ms", "3", "forward", 0.003),
        ("bwd_ms", "3", "backward", 0.003),
        ("fwd+bwd (ms)", "3", "forward-backward", 0.003),
        ("train step (ms)", "3", "train", 0.003),
    ],
)
def test_headings_say_the_pass_and_the_unit(heading: str, cell: str, part: str, seconds: float):
    assert _said(f'model,{heading}\nsmall,"{cell}"\n') == [("small", part, seconds, "ok")]


def test_columns_that_are_no_times_are_not_taken_for_them():
    table = "model;std_ms;min_ms;mean_ms;max_ms\nsmall;1;2;3;4\n"
    assert _said(table) == [("small", "forward-backward", 0.003, "ok")]


def test_what_a_table_does_not_say_is_given():
    # WHEN
    [row] = read("model,pass,time_ms\nxl,inference,5\n", Defaults(context_length=256, batch_size=2, edition="2026"))

    # THEN
    step = row.config.step
    assert (row.part, step.pass_type, step.context_length, step.batch_size) == ("forward", "forward", 256, 2)
    assert str(row.config.transformer.shape) == "2560/10240/32/32"


def test_shapes_and_precision_have_columns_of_their_own():
    # WHEN
    [row] = read("d_model,d_ff,n_layers,heads,seq len,bs,dtype,time_s\n64,128,2,4,32,3,bfloat16,1\n", Defaults())

    # THEN
    assert str(row.config.transformer.shape) == "64/128/2/4" == row.name
    assert (row.config.step.context_length, row.config.step.batch_size) == (32, 3)
    assert row.config.step.precision == "bf16"


def test_a_shape_may_stand_in_place_of_a_name():
    [row] = read("model,time_s\n64/128/2/4,1\n", Defaults())
    assert row.config.transformer.shape.num_layers == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no table"),
        ("model,time_ms\n", "no table"),
        ("model,speed\nsmall,3\n", "no column of times among model, speed"),
        ("what,time_ms\nsmall,3\n", "no column of models among what, time_ms"),
        ("model,time\nsmall,3\n", "row 1: 3 of 'time' has no unit: call the column time_ms"),
        ("model,time_ms\nsmol,3\n", "row 1: no known size 'smol' (did you mean small?)"),
        ("model,ctx,time_ms\nsmall,many,3\n", "row 1: context_length 'many' is no whole number above zero"),
        ("model,dtype,time_ms\nsmall,fp12,3\n", "fp12"),
        ("model,time_ms\nsmall,\n", "no row of the table has a time or a failure"),
    ],
)
def test_a_table_that_says_too_little_is_refused(text: str, says: str):
    with pytest.raises(UsageError) as refused:
        read(text, Defaults())
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
