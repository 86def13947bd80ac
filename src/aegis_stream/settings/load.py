"""The one loader: environment over TOML file over defaults.

Every mistake stops the start with one line: which setting, its value, where it was set, and what it must be. Values of
secrets are never repeated.
"""

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aegis_stream.errors import Misconfigured

from .kinds import PREFIX, Setting
from .tree import GROUPS, LEASE_SECONDS_POSTGRES, SETTINGS, Settings, build

NOT_SETTINGS = frozenset(
    {
        *("AEGIS_CONFIG", "AEGIS_URL", "AEGIS_API_KEY", "AEGIS_ORG", "AEGIS_AUTH_HEADER_VALUE"),
        *("AEGIS_HEADERS", "AEGIS_OAUTH2_CLIENT_SECRET"),
        *("AEGIS_DEMO_EVENTS", "AEGIS_RECEIVER_BEARER", "AEGIS_RECEIVER_HMAC"),
    }
)
"""Variables with our prefix that belong to the command line."""
VALUE_CHARACTERS_MAX = 100
"""Longest wrong value that a message repeats, characters."""


class _Given(NamedTuple):
    """A value as somebody wrote it: under which spelling of the setting's name, and where."""

    setting: Setting
    spelling: str
    place: str
    value: Any


def load_settings(environment: Mapping[str, str], config: Path | None = None) -> Settings:
    """Read the settings from environment and file.

    Args:
        config: TOML file; None for AEGIS_CONFIG, and no file where that is not set either.
    Raises: Misconfigured, in one line, when a value is wrong, a name is unknown, or the file cannot be read.
    """
    path = config or (Path(environment["AEGIS_CONFIG"]) if environment.get("AEGIS_CONFIG") else None)
    given: dict[str, _Given] = {}
    for one in _from_file(path) if path is not None else ():
        if one.setting.name in given:
            other = given[one.setting.name].spelling
            raise Misconfigured(
                f"{other} and {one.spelling} in {path} are the same setting: remove one of them"
            )
        given[one.setting.name] = one
    for one in _from_environment(environment):
        given[one.setting.name] = one
    values = {name: _read(one) for name, one in given.items()}
    _add_password(values)
    if "database_url" in values and values["database_url"].is_postgres:
        values.setdefault("lease_seconds", LEASE_SECONDS_POSTGRES)
    settings = build(values)
    _check_together(settings, given)
    return settings


def _add_password(values: dict[str, Any]) -> None:
    """Put the password of the file into the URLs. Raises: Misconfigured when it is unreadable, or has no use."""
    path, url = values.get("database_password_file"), values.get("database_url")
    direct = values.get("database_listen_url")
    if direct is not None and (url is None or not url.is_postgres):
        raise Misconfigured(
            "AEGIS_DATABASE_LISTEN_URL is set, but AEGIS_DATABASE_URL is not a PostgreSQL database: remove one"
        )
    if path is None:
        return
    if url is None or not url.is_postgres:
        raise Misconfigured(
            "AEGIS_DATABASE_PASSWORD_FILE is set, but AEGIS_DATABASE_URL is not a PostgreSQL database: remove one"
        )
    if url.password:
        raise Misconfigured(
            "AEGIS_DATABASE_PASSWORD_FILE is set, but AEGIS_DATABASE_URL has a password: remove one of the two"
        )
    values["database_url"] = url.with_password_of(path)
    if direct is not None and not direct.password:
        values["database_listen_url"] = direct.with_password_of(path)


def _from_environment(environment: Mapping[str, str]) -> Iterator[_Given]:
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS:
            continue
        setting = SETTINGS.get(variable.removeprefix(PREFIX).lower())
        if setting is None:
            variables = [one.variable for one in SETTINGS.values()]
            raise _unknown(variable, "the environment", variables)
        if text or not setting.empty_is_unset:
            yield _Given(setting, variable, "the environment", text)


def _from_file(path: Path) -> Iterator[_Given]:
    """Yield what a file says: `window_max = 8`, or `window_max = 8` below `[delivery]`."""
    for key, value in _parse(path).items():
        fields = GROUPS.get(key)
        if fields is not None and isinstance(value, dict):
            for name, inner in value.items():
                if name not in fields:
                    raise _unknown(f"{key}.{name}", str(path), [f"{key}.{one}" for one in fields])
                yield from _unless_empty(_Given(fields[name], f"{key}.{name}", str(path), inner))
        elif key in SETTINGS:
            yield from _unless_empty(_Given(SETTINGS[key], key, str(path), value))
        else:
            raise _unknown(key, str(path), [*SETTINGS, *GROUPS])


def _unless_empty(one: _Given) -> Iterator[_Given]:
    if one.value != "" or not one.setting.empty_is_unset:
        yield one


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"cannot read the configuration file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the configuration file {path} is not valid TOML: {error}") from error


def _unknown(spelling: str, place: str, known: Iterable[str]) -> Misconfigured:
    near = difflib.get_close_matches(spelling, known, n=1, cutoff=0.85)
    advice = f"did you mean {near[0]}?" if near else "docs/reference/configuration.md lists all settings"
    return Misconfigured(f"{spelling} in {place} is not a setting: {advice}")


def _read(one: _Given) -> Any:
    try:
        return one.setting.read(one.value)
    except ValueError as error:
        shown = "not valid" if one.setting.secret else _short(repr(one.value))
        raise Misconfigured(f"{one.spelling} is {shown} in {one.place}: it must {error}") from error


def _short(text: str) -> str:
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 1] + "…"


def _check_together(settings: Settings, given: Mapping[str, _Given]) -> None:
    """Refuse values that are in their ranges but contradict each other; each is named with its value and its place."""

    def told(name: str, value: float) -> str:
        place = f"in {given[name].place}" if name in given else "by default"
        return f"{SETTINGS[name].variable} ({value:.12g} {place})"

    delivery, ingest, retry = settings.delivery, settings.ingest, settings.retry
    lease, timeout = delivery.lease_seconds, delivery.request_timeout_seconds
    if lease < timeout + 5:
        raise Misconfigured(
            f"{told('lease_seconds', lease)} must be at least 5 seconds longer than "
            f"{told('request_timeout_seconds', timeout)}, or a worker could lose its lease while it waits for an answer"
        )
    if ingest.request_bytes_max < ingest.event_bytes_max:
        raise Misconfigured(
            f"{told('request_bytes_max', ingest.request_bytes_max)} must not be smaller than "
            f"{told('event_bytes_max', ingest.event_bytes_max)}, or the largest event would not fit into a request"
        )
    if retry.max_seconds < retry.base_seconds:
        raise Misconfigured(
            f"{told('retry_max_seconds', retry.max_seconds)} must not be smaller than "
            f"{told('retry_base_seconds', retry.base_seconds)}: it limits the delay that begins there"
        )
