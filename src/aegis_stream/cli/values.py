"""The kinds of values that options take; a wrong value is answered with what is right."""

import math
from typing import Any

import click

from aegis_stream.domain.organization import QUOTA_MAX
from aegis_stream.domain.times import is_time

ORG = click.option("--org", "org_id", required=True, envvar="AEGIS_ORG", help="Id of the organization.")
DEFAULT = "default"
"""What a quota is set to so that the service's setting holds."""


def at_time(text: str | None, option: str) -> str | None:
    """Check a time here, so that a typing error is wrong use and not a failed call. Raises: click.BadParameter."""
    if text is not None and not is_time(text):
        message = f"{text!r} is not a time with a time zone: write it like 2026-05-15T10:00:00Z"
        raise click.BadParameter(message, param_hint=option)
    return text


class Whole(click.IntRange):
    """A whole number within limits."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it. Raises: click.BadParameter with the limits."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a whole number {_limits(self.min, self.max)}", param, ctx)


class Number(click.FloatRange):
    """A number within limits."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it. Raises: click.BadParameter with the limits."""
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number {_limits(self.min, self.max)}", param, ctx)
        return number


class Quota(click.ParamType[int | str]):
    """A number of bytes, or the word default."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Read it. Raises: click.BadParameter with the limits."""
        text = str(value)
        if text == DEFAULT:
            return text
        if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= QUOTA_MAX:
            return int(text)
        return self.fail(
            f"{text!r} is not a whole number from 0 (no limit) to {QUOTA_MAX}, nor the word {DEFAULT}",
            param,
            ctx,
        )


def duration(text: str) -> float:
    """Read a time such as 50ms or 2s, up to an hour. Returns: seconds. Raises: click.BadParameter."""
    for unit, factor in (("ms", 0.001), ("s", 1.0)):
        if text.endswith(unit):
            try:
                seconds = float(text.removesuffix(unit)) * factor
            except ValueError:
                break
            if 0 <= seconds <= 3600:
                return seconds
    raise click.BadParameter(f"{text!r} is not a duration such as 50ms or 2s, of at most 3600s")


class OptionalFile(click.Path):
    """A file, or none if the text is empty, as make passes a variable that is not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it. Raises: click.BadParameter if there is no such file."""
        return None if value == "" else super().convert(value, param, ctx)


PORT = Whole(0, 65_535)


def _limits(low: float | None, high: float | None) -> str:
    """Return the limits in words; every range here has a lowest value."""
    return f"of at least {low:.15g}" if high is None else f"from {low:.15g} to {high:.15g}"
