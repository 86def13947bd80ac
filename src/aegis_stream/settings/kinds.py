"""The kinds of settings: each knows its variable, its range, and how a value is read.

A field of tree.py names its kind in its annotation: `days: Annotated[float, Number("AEGIS_RETENTION_DAYS", 0.01, 36_500)]`.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from aegis_stream.errors import Invalid
from aegis_stream.netguard import Network, parse_networks

PREFIX = "AEGIS_"
_SWITCHES = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(
    ("false", "0", "no", "off"), False
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What all kinds have in common.

    Args:
        variable: the name in the environment. In lower case and without AEGIS_ it is the name in the TOML file.
    """

    variable: str

    secret: ClassVar[bool] = False
    """True if no message may repeat the value."""
    empty_is_unset: ClassVar[bool] = False
    """True if an empty value counts as not set: container tools set variables that have no value."""

    @property
    def name(self) -> str:
        """The name without its prefix, in lower case."""
        return self.variable.removeprefix(PREFIX).lower()

    def read(self, value: Any) -> Any:
        """Return the value that a text, or a value of TOML, stands for.

        Raises: ValueError with what it must be, to follow the words "it must".
        """
        raise NotImplementedError

    def show(self, value: Any) -> str:
        """Return a value as text that `read` accepts; None is empty, a secret is masked."""
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Ranged(Setting):
    """Something from low to high, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        # Never in powers of ten: operators copy limits from messages.
        return f"from {self.low:.16g} to {self.high:.16g}"


@dataclass(frozen=True, slots=True)
class Whole(Ranged):
    """A whole number."""

    def read(self, value: Any) -> int:
        """Read digits, an integer, or a float without a fraction."""
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        cut_off = isinstance(value, float) and number != value
        if number is None or cut_off or isinstance(value, bool) or not self.low <= number <= self.high:
            raise ValueError(f"be a whole number {self}")
        return number


@dataclass(frozen=True, slots=True)
class Number(Ranged):
    """A number."""

    def read(self, value: Any) -> float:
        """Read a number in decimal notation."""
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or isinstance(value, bool) or not self.low <= number <= self.high:
            raise ValueError(f"be a number {self}")
        return number


@dataclass(frozen=True, slots=True)
class Switch(Setting):
    """True or false."""

    def read(self, value: Any) -> bool:
        """Read the common spellings: true, yes, on, 1, and their opposites."""
        found = _SWITCHES.get(str(value).strip().lower())
        if found is None:
            raise ValueError("be true or false")
        return found

    def show(self, value: Any) -> str:
        """Return true or false."""
        return str(value).lower()


@dataclass(frozen=True, slots=True)
class Choice(Setting):
    """One of several words."""

    options: tuple[str, ...]

    def read(self, value: Any) -> str:
        """Read a word as it is spelled here."""
        if value not in self.options:
            raise ValueError(f"be one of {', '.join(self.options)}")
        return str(value)


@dataclass(frozen=True, slots=True)
class FilePath(Setting):
    """A path of this machine."""

    empty_is_unset: ClassVar[bool] = True

    def read(self, value: Any) -> Path:
        """Read a path; ~ is the home directory."""
        return Path(_text(value)).expanduser()

    def show(self, value: Any) -> str:
        """Return the path."""
        return "" if value is None else os.fspath(value)


@dataclass(frozen=True, slots=True)
class Networks(Setting):
    """Networks or single addresses."""

    def read(self, value: Any) -> tuple[Network, ...]:
        """Read networks separated by commas, or a list of TOML."""
        texts = value if isinstance(value, list) else [value]
        what = "be networks such as 10.0.0.0/8, separated by commas"
        if not all(isinstance(one, str) for one in texts):
            raise ValueError(what)
        try:
            return parse_networks(",".join(texts))
        except Invalid as error:
            raise ValueError(f"{what}: {error.problems[0].message}") from error

    def show(self, value: Any) -> str:
        """Return the networks with commas between them."""
        return ",".join(str(one) for one in value)


@dataclass(frozen=True, slots=True)
class Secret(Setting):
    """Text that nobody may see.

    Args:
        begins: how it must begin.
        characters_min: its least length.
    """

    begins: str = ""
    characters_min: int = 0

    secret: ClassVar[bool] = True
    empty_is_unset: ClassVar[bool] = True

    def read(self, value: Any) -> str:
        """Read the text as it is."""
        text = _text(value)
        if not text.startswith(self.begins):
            raise ValueError(f"begin with {self.begins}")
        if len(text) < self.characters_min:
            raise ValueError(f"have at least {self.characters_min} characters")
        return text

    def show(self, value: Any) -> str:
        """Return asterisks, the same number for every secret."""
        return "" if value is None else "****"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("be text")  # noqa: TRY004 - the operator's mistake, not a bug
    return value
