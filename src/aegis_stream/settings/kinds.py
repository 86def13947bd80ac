"""The kinds of settings: each knows its variable, its range, and how a value is read.

A field of tree.py names its kind in its annotation: `days: Annotated[float, Number("AEGIS_RETENTION_DAYS", 0.01, 36_500)]`.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from aegis_stream.errors import Invalid
from aegis_stream.netguard import Network, parse_networks

from .database_url import MASK, DatabaseUrl

PREFIX = "AEGIS_"
_LOG_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/:-]{0,198}[A-Za-z0-9])?")
_SWITCHES = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(
    ("false", "0", "no", "off"), False
)

_COLOUR = re.compile(r"#[0-9a-f]{6}")
_ORIGIN = re.compile(
    r"(https://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|http://(localhost|127\.0\.0\.1|\[::1\]))(:[1-9][0-9]{0,4})?"
)
ORIGINS_MAX = 20
"""Most origins of a setting: they stand in a header of every answer."""


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
class Name(Setting):
    """A name that people read; empty for none.

    Args:
        characters_max: its greatest length.
    """

    characters_max: int

    def read(self, value: Any) -> str:
        """Read a name, without blanks around it."""
        text = _text(value).strip()
        if len(text) > self.characters_max or not text.isprintable():
            raise ValueError(f"be at most {self.characters_max} printable characters")
        return text


@dataclass(frozen=True, slots=True)
class Colour(Setting):
    """A colour of a page; empty for none."""

    def read(self, value: Any) -> str:
        """Read red, green and blue as hexadecimal digits."""
        text = _text(value).strip().lower()
        if text and not _COLOUR.fullmatch(text):
            raise ValueError("be a colour such as #0b5cad, or empty")
        return text


@dataclass(frozen=True, slots=True)
class Origins(Setting):
    """Addresses of sites: scheme, host and port."""

    def read(self, value: Any) -> tuple[str, ...]:
        """Read origins separated by commas, or a list of TOML."""
        texts = value if isinstance(value, list) else _text(value).split(",")
        what = "be origins such as https://app.example.com, separated by commas; http only for this machine"
        if not all(isinstance(one, str) for one in texts):
            raise ValueError(what)
        found = [one.strip().rstrip("/").lower() for one in texts if one.strip()]
        if not all(_ORIGIN.fullmatch(one) for one in found):
            raise ValueError(what)
        if len(found) > ORIGINS_MAX:
            raise ValueError(f"be at most {ORIGINS_MAX} origins")
        return tuple(found)

    def show(self, value: Any) -> str:
        """Return the origins with commas between them."""
        return ",".join(value)


@dataclass(frozen=True, slots=True)
class LogName(Setting):
    """The first part of the names of sealed logs."""

    empty_is_unset: ClassVar[bool] = True

    def read(self, value: Any) -> str:
        """Read a name such as a host's, without scheme."""
        text = _text(value)
        if not _LOG_NAME.fullmatch(text):
            raise ValueError(
                "be 1 to 200 letters, digits and . _ - / : without a scheme, such as audit.example.com"
            )
        return text


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
        return "" if value is None else MASK


@dataclass(frozen=True, slots=True)
class Database(Setting):
    """The URL of a database, which may hold a password.

    Args:
        postgres_only: whether it must be a PostgreSQL database.
    """

    postgres_only: bool = False

    secret: ClassVar[bool] = True
    empty_is_unset: ClassVar[bool] = True

    def read(self, value: Any) -> DatabaseUrl:
        """Read the URL of a SQLite file or of a PostgreSQL database."""
        url = DatabaseUrl.parse(_text(value))
        if self.postgres_only and not url.is_postgres:
            raise ValueError("begin with postgresql://")
        return url

    def show(self, value: Any) -> str:
        """Return asterisks; `DatabaseUrl.safe` shows all but the secrets."""
        return "" if value is None else MASK


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("be text")  # noqa: TRY004 - the operator's mistake, not a bug
    return value
