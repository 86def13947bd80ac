"""Promises of option values: what is accepted, and that a wrong value is answered with what is right."""

import click
import pytest

from aegis_stream.cli.main import cli
from aegis_stream.cli.values import PORT, Number, Whole, duration
from support.cli import run_aegis


@pytest.mark.parametrize("text", ["x", "", "1.5", "-1", "65536"])
def test_a_wrong_port_is_answered_with_the_limits(text):
    """The message repeats the value and names both limits."""
    with pytest.raises(click.BadParameter) as caught:
        PORT.convert(text, None, None)

    assert caught.value.message == f"{text!r} is not a whole number from 0 to 65535"


def test_a_range_without_an_end_names_its_beginning():
    """Where there is no highest value, the message names the lowest."""
    with pytest.raises(click.BadParameter, match="'0' is not a whole number of at least 1"):
        Whole(1).convert("0", None, None)


@pytest.mark.parametrize("text", ["x", "1.1", "-0.1", "nan", "inf"])
def test_a_wrong_number_is_answered_with_the_limits(text):
    """Numbers with a fraction have limits too."""
    with pytest.raises(click.BadParameter, match="is not a number from 0 to 1"):
        Number(0, 1).convert(text, None, None)


def test_values_at_the_limits_are_accepted():
    """Both ends belong to a range."""
    assert [PORT.convert(text, None, None) for text in ("0", "65535")] == [0, 65_535]
    assert [Number(0, 1).convert(text, None, None) for text in ("0", "1")] == [0, 1]


@pytest.mark.parametrize("text, seconds", [("50ms", 0.05), ("2s", 2), ("0ms", 0), ("3600s", 3600)])
def test_a_duration_is_read_in_seconds(text, seconds):
    """Milliseconds and seconds are read."""
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "5m", "s", "-1s", "nans", "3601s"])
def test_a_wrong_duration_is_answered_with_examples(text):
    """The message shows how durations are written."""
    with pytest.raises(click.BadParameter, match="such as 50ms or 2s"):
        duration(text)


def options(command, path=()):
    """Yield the path of every command and each of its options."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from options(one, (*path, name))
    else:
        yield from ((path, one) for one in command.params if isinstance(one, click.Option))


def test_every_number_names_its_limits():
    """No option takes a number whose refusal would not say what is right."""
    plain = [
        (path, one.name)
        for path, one in options(cli)
        if isinstance(one.type, click.types.IntParamType | click.types.FloatParamType)
        and not isinstance(one.type, Whole | Number)
    ]

    assert plain == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serve", "--port", "x"), "Error: Invalid value for '--port': 'x' is not a whole number from 0 to 65535"),
        (("serve", "--workers", "65"), "Error: Invalid value for '--workers': '65' is not a whole number from 0 to 64"),
        (("key", "rotate", "k", "--org", "o", "--overlap", "-1"), "'--overlap': '-1' is not a whole number from 0 to 2592000"),
        (("destination", "add", "u", "--key", "k", "--org", "o", "--batch-max-events", "many"), "'--batch-max-events'"),
        (("destination", "list", "--org", "o"), "Error: Missing option '--key'. Give it, or set AEGIS_API_KEY."),
        (("key", "list"), "Error: Missing option '--org'. Give it, or set AEGIS_ORG."),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line(monkeypatch, capsys, arguments, said):
    """A wrong or missing value of an option is told in one line, which names the option and what is right, with status 2."""
    for name in ("AEGIS_API_KEY", "AEGIS_ORG"):
        monkeypatch.delenv(name, raising=False)

    done = run_aegis(monkeypatch, capsys, *arguments)

    assert done.status == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
