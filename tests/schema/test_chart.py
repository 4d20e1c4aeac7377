"""Charts: what is not said is plain."""

from __future__ import annotations

from perfkit.schema.chart import Chart, Missing, Panel, Series


def test_a_series_is_a_line_of_the_first_look_without_bars():
    series = Series(label="a", x=(1.0,), y=(2.0,))
    assert (series.look, series.color, series.dash, series.low, series.high) == ("line", 0, 0, (), ())
    assert Missing(x=1.0, label="out of memory").color == 0


def test_a_panel_has_linear_axes_of_plain_numbers():
    panel = Panel(series=())
    assert (panel.x_log, panel.y_log, panel.y_quantity, panel.x_ticks, panel.missing) == (False, False, "", (), ())
    assert Chart(rows=((panel,),)).notes == ()
