"""The kinds of destinations that people choose from: one table for the API, the command line, the console and the docs."""

import enum
import functools
import re
import tomllib
from collections.abc import Mapping
from importlib import resources

import msgspec

from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.domain.destination import HEADER_VALUE_CHARACTERS_MAX, BatchPolicy, DestinationSpec
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.domain.visible import visible_fault
from aegis_stream.errors import FieldProblem
from aegis_stream.formats import AUTO, choose, resolve

_FIELD = re.compile(r"\{[a-z_]+\}")


class FieldKind(enum.StrEnum):
    """What a field holds, so that a form can check it before anything is sent."""

    HOST = "host"  # https://name[:port], no path
    URL = "url"  # https://name[:port]/path
    SECRET_URL = "secret_url"  # noqa: S105 - a URL that contains the credential
    DOMAIN = "domain"  # a host name
    WORD = "word"  # letters, digits and . _ - :
    SECRET = "secret"  # noqa: S105 - a credential: visible ASCII


class TypeField(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person enters for a kind of destination.

    Args:
        name: what {name} stands for in the templates of the type.
        find: where to find it.
        example: empty for what is secret.
        choices: the only values, if there are few.
    """

    name: str
    label: str
    kind: FieldKind
    find: str
    example: str = ""
    choices: tuple[str, ...] = ()


class TypeSearch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to find one event there: where, and the query, in which {event_id} stands for its id."""

    where: str
    query: str


class TypeOAuth2(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Templates of a destination's `oauth2`."""

    token_url: str
    client_id: str
    client_secret: str
    scope: str


class DestinationType(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of destination: its fields, and templates of what a destination of it has, with {name} for the value of a field.

    Args:
        id: letters, digits and -.
        page: its page below docs/how-to/destinations, without .md.
        trap: what an answer of that product does not tell, for whoever has sent a test there.
        batch_max_bytes: of its batches; None for the default.
    """

    id: str
    name: str
    page: str
    format: str
    url: str
    fields: tuple[TypeField, ...]
    trap: str
    search: TypeSearch
    auth_header_name: str = ""
    auth_header_value: str = ""
    headers: dict[str, str] = {}
    oauth2: TypeOAuth2 | None = None
    batch_max_bytes: int | None = None


@functools.cache
def destination_types() -> tuple[DestinationType, ...]:
    """Return all kinds of destinations, the most used first."""
    text = resources.files(__package__).joinpath("destination_types.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["types"], tuple[DestinationType, ...])


def find_type(type_id: str) -> DestinationType | None:
    """Return the kind of destination with an id, or None."""
    return next((one for one in destination_types() if one.id == type_id), None)


def type_of(spec: DestinationSpec) -> DestinationType | None:
    """Return the kind that a destination is of, by its format, URL and auth header; None where it may be of several, or of none."""
    name = resolve(spec.format, spec.url).name
    fitting = [
        one for one in destination_types() if one.format == name and _pattern(one.url).fullmatch(spec.url)
    ]
    closest = max((_distinction(one) for one in fitting), default=0)
    fitting = [one for one in fitting if _distinction(one) == closest]
    if len(fitting) > 1:
        fitting = [one for one in fitting if one.auth_header_name == (spec.auth_header_name or "")]
    return fitting[0] if len(fitting) == 1 else None


def _distinction(one: DestinationType) -> int:
    """Return how many characters of a kind's URL are always the same."""
    return len(_FIELD.sub("", one.url).strip("/"))


@functools.cache
def _pattern(url: str) -> re.Pattern[str]:
    """Return what a template of a URL may become."""
    return re.compile(".+".join(map(re.escape, _FIELD.split(url))))


def check_values(one: DestinationType, values: Mapping[str, str]) -> list[FieldProblem]:
    """Say what is wrong with the values of a type's fields, each by the field's name; no message repeats a secret."""
    found = []
    for field in one.fields:
        value = values.get(field.name, "")
        if not value:
            message = f"is missing. {field.find}"
        elif field.choices and value not in field.choices:
            message = f"must be one of {', '.join(field.choices)}"
        else:
            message = _fault(field.kind, value)
        if message:
            found.append(FieldProblem(field.name, message))
    return found


def fill(one: DestinationType, values: Mapping[str, str], default_retry: RetryPolicy) -> DestinationSpec:
    """Return the destination that the values of a type's fields make; `check_values` has nothing against them."""

    def filled(template: str) -> str:
        return template.format_map(dict(values))

    oauth2 = one.oauth2
    batch = BatchPolicy() if one.batch_max_bytes is None else BatchPolicy(max_bytes=one.batch_max_bytes)
    url = filled(one.url)
    return DestinationSpec(
        url=url,
        auth_header_name=one.auth_header_name or None,
        auth_header_value=filled(one.auth_header_value) or None,
        format=AUTO if choose(url).format.name == one.format else one.format,
        batch=batch,
        retry=default_retry,
        headers=tuple((name, filled(value)) for name, value in one.headers.items()),
        oauth2=OAuth2(
            filled(oauth2.token_url),
            filled(oauth2.client_id),
            filled(oauth2.client_secret),
            filled(oauth2.scope),
        )
        if oauth2 is not None
        else None,
    )


def _fault(kind: FieldKind, value: str) -> str:
    """Return what is wrong with a value of a kind, and what to do; "" for nothing."""
    match kind:
        case FieldKind.HOST:
            return (
                ""
                if _HOST.fullmatch(value)
                else "must be https:// and a host name, with a port if needed, and no path"
            )
        case FieldKind.URL | FieldKind.SECRET_URL:
            return (
                ""
                if _URL.fullmatch(value)
                else "must be a whole URL that begins with https://, without blanks"
            )
        case FieldKind.DOMAIN:
            return (
                ""
                if _DOMAIN.fullmatch(value)
                else "must be a host name alone, without https:// and without a path"
            )
        case FieldKind.WORD:
            return "" if _WORD.fullmatch(value) else "may have letters, digits and . _ - : only"
        case FieldKind.SECRET:
            return visible_fault(value, HEADER_VALUE_CHARACTERS_MAX) or ""


# Plain http stands here too: whether it is allowed is a setting, and the check of the URL has words for that.
_HOST = re.compile(r"https?://[^\s/?#@]{1,260}")
_URL = re.compile(r"https?://[^\s/?#]{1,260}(?:[/?][^\s#]{0,4000})?")
_DOMAIN = re.compile(r"[A-Za-z0-9.-]{1,253}")
_WORD = re.compile(r"[A-Za-z0-9._:-]{1,256}")
