"""Promises of the line beside a figure."""

from aegis_stream.console.sparkline import sparkline


def test_a_line_has_a_step_for_each_minute():
    """The highest minute touches the top, an empty one the bottom."""
    drawn = sparkline([0, 10, 5])

    assert drawn.path == "M0 23V23h40V1h40V12h40"
    assert (drawn.newest, drawn.highest, drawn.kind) == (5, 10, "sparkline")
    assert drawn.told == "5 in the last minute, at most 10"


def test_nothing_has_no_line():
    """An hour without anything is no line along the bottom."""
    drawn = sparkline([0] * 60)

    assert drawn == ("", 0, 0)
    assert (drawn.told, drawn.kind) == ("", "sparkline none")
