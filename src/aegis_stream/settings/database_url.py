"""The URL of a database, parsed: `sqlite:///file`, or what libpq reads, `postgresql://user:password@h1:5432,h2/name?sslmode=…`.

No driver and no look-up of a name. `conninfo` alone reveals the password; every other text of a URL has it masked.
Error texts repeat no part of the URL: with a character that is not percent-encoded, any part of it can be a part of the password.
"""

import contextlib
import difflib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote

from aegis_stream.errors import Misconfigured

from .password_file import read_password

MASK = "****"
SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")
APPLICATION = "aegis-audit-stream"
"""The name of our sessions in pg_stat_activity, unless the URL has another one."""

DEFAULTS = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}
"""What we ask of libpq unless the URL says otherwise: a server or a network that is gone is noticed within about 11 seconds, not in
two hours. Seconds, but tcp_user_timeout in milliseconds."""

_SECRETS = frozenset(
    {"sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key", "options"}
)
"""Parameters that are masked. `options` is not secret by itself, but it may have anything in it."""
_PARAMETERS = _SECRETS | {
    *("host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service", "servicefile"),
    *("connect_timeout", "client_encoding", "application_name", "fallback_application_name"),
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
    *("sslmode", "sslnegotiation", "sslcompression", "sslcert", "sslkey", "sslcertmode", "sslrootcert"),
    *("sslcrl", "sslcrldir", "sslsni", "ssl_min_protocol_version", "ssl_max_protocol_version"),
    *("sslkeylogfile", "requirepeer", "require_auth", "channel_binding", "krbsrvname", "gsslib"),
    *("gssencmode", "gssdelegation", "target_session_attrs", "load_balance_hosts"),
    *("min_protocol_version", "max_protocol_version", "oauth_issuer", "oauth_client_id", "oauth_scope"),
}
"""The parameters of libpq 18 that make sense here. `replication` does not."""

_PERCENT = re.compile(r"%(?:00|(?![0-9A-Fa-f]{2}))")
_NAME = re.compile(r"[A-Za-z0-9._-]+\Z")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\Z")
_ENCODE = "have every @ : / ? % and space of user and password percent-encoded: a @ is %40"


@dataclass(frozen=True, slots=True)
class Host:
    """One server.

    Args:
        name: a name, an address, or the directory of a Unix socket; "" for libpq's default.
        port: "" for libpq's default.
    """

    name: str
    port: str

    def __str__(self) -> str:
        name = f"[{quote(self.name, safe=':')}]" if ":" in self.name else quote(self.name, safe="")
        return f"{name}:{self.port}" if self.port else name


@dataclass(frozen=True, slots=True, repr=False)
class DatabaseUrl:
    """Where the data is kept, and how to get there. `repr` and `str` mask the password.

    Args:
        path: the SQLite file; None for PostgreSQL.
        hosts: the servers, in the order in which they are tried; none where libpq's default or a service file names them.
        parameters: the others, by libpq's names.
        password_file: where the password was read, and is read again for each connection.
    """

    path: Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    hosts: tuple[Host, ...] = ()
    name: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    password_file: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL.

        Raises: ValueError with what it must be, to follow the words "it must"; the text repeats nothing of the URL.
        """
        if text.startswith(SQLITE):
            return cls(path=_sqlite_path(text.removeprefix(SQLITE)))
        for scheme in POSTGRES:
            if text.startswith(scheme):
                return cls(None, *_postgres(text.removeprefix(scheme)))
        raise ValueError(f"begin with {SQLITE} or {POSTGRES[0]}")

    @property
    def is_postgres(self) -> bool:
        """Whether it is a PostgreSQL database."""
        return self.path is None

    @property
    def sqlite_path(self) -> Path:
        """The SQLite file."""
        assert self.path is not None
        return self.path

    def with_password_of(self, path: Path) -> Self:
        """Return the same URL with the password that is in a file. Raises: Misconfigured when it cannot be read."""
        return replace(self, password=read_password(path), password_file=path)

    def _current_password(self) -> str:
        """Return the password, which may have been changed in its file; while the file is missing or damaged, the one from the start."""
        if self.password_file is not None:
            with contextlib.suppress(Misconfigured):
                return read_password(self.password_file)
        return self.password

    def conninfo(self, application: str = APPLICATION) -> str:
        """Return a URI for libpq, with the password and our defaults for what the URL does not say.

        Ask anew for each connection: then a password that was changed in its file needs no restart.

        Args:
            application: the name of the session, unless the URL has one.
        """
        assert self.is_postgres
        given = dict(self.parameters)
        ours = DEFAULTS | {"application_name": application}
        if max(len(self.hosts), len(given.get("hostaddr", "").split(","))) > 1:
            ours["target_session_attrs"] = "read-write"
        return self._written(self._current_password(), ours | given | {"client_encoding": "UTF8"})

    def safe(self) -> str:
        """Return the URL with its secrets masked."""
        if self.path is not None:
            return f"{SQLITE}{self.path}"
        shown = {name: MASK if name in _SECRETS else value for name, value in self.parameters}
        return self._written(MASK if self.password else "", shown)

    def scrub(self, text: str) -> str:
        """Return a text of somebody else, such as an error of libpq, in one line and without the secrets of this URL."""
        secrets = {
            self.password,
            self._current_password(),
            *(value for name, value in self.parameters if name in _SECRETS),
        } - {""}
        for secret in sorted({*secrets, *map(_encoded, secrets)}, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return " ".join(text.split())

    def __repr__(self) -> str:
        return f"DatabaseUrl({self.safe()!r})"

    def __str__(self) -> str:
        return self.safe()

    def _written(self, password: str, parameters: dict[str, str]) -> str:
        shown = password if password == MASK else _encoded(password)
        user = _encoded(self.user) + (f":{shown}" if password else "")
        query = "&".join(
            f"{name}={value if value == MASK else quote(value, safe='/,')}"
            for name, value in parameters.items()
        )
        return "".join(
            (
                POSTGRES[0],
                f"{user}@" if user else "",
                ",".join(map(str, self.hosts)),
                f"/{_encoded(self.name)}",
                f"?{query}" if query else "",
            )
        )


def _encoded(text: str) -> str:
    return quote(text, safe="")


def _sqlite_path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError(f"name a file, as in {SQLITE}aegis.db")
    return Path(text)


def _postgres(text: str) -> tuple[str, str, tuple[Host, ...], str, tuple[tuple[str, str], ...]]:
    """Return what follows the scheme: user, password, hosts, name, parameters. Raises: ValueError."""
    if re.search(r"[\s\0-\x1f\x7f]", text):
        raise ValueError(_ENCODE)
    user = password = None
    at, slash = text.find("@"), text.find("/")
    if at >= 0 and (slash < 0 or at < slash):  # where libpq looks for it
        userinfo, text = text[:at], text[at + 1 :]
        user, colon, rest = userinfo.partition(":")
        password = rest if colon else None
    place, mark, query = text.partition("?")
    servers, _, name = place.partition("/")
    if "@" in place or "/" in name or (mark and not query):
        raise ValueError(_ENCODE)
    fields = _parameters(query)
    for key, value in (("user", user), ("password", password), ("dbname", name or None)):
        if value is not None and fields.setdefault(key, _decoded(value)) != _decoded(value):
            raise ValueError(f"give {key} once: before the ? or after it")
    if servers and ("host" in fields or "port" in fields):
        raise ValueError("name its hosts and ports once: before the ? or after it")
    hosts = _hosts(servers) if servers else _named_hosts(fields.pop("host", ""), fields.pop("port", ""))
    user, password, name = (fields.pop(key, "") for key in ("user", "password", "dbname"))
    if not name and "service" not in fields:
        raise ValueError("name a database, as in postgresql://user@host/name")
    return user, password, hosts, name, tuple(fields.items())


def _decoded(text: str) -> str:
    if _PERCENT.search(text):
        raise ValueError(_ENCODE)
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("be UTF-8 where it is percent-encoded") from None


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in query.split("&") if query else ():
        key, equals, value = one.partition("=")
        key, value = _decoded(key), _decoded(value)
        if key == "ssl" and value == "true":  # as JDBC spells it, and as libpq reads it
            key, value = "sslmode", "require"
        if not equals or key not in _PARAMETERS:
            near = difflib.get_close_matches(key, _PARAMETERS, n=1, cutoff=0.8)
            advice = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"have only parameters of libpq after the ?, as name=value{advice}")
        if key in found:
            raise ValueError(f"give {key} once")
        found[key] = value
    if found.get("target_session_attrs") in ("read-only", "standby", "prefer-standby"):
        raise ValueError("not ask for a standby: the service writes; say target_session_attrs=read-write")
    return found


def _hosts(text: str) -> tuple[Host, ...]:
    """Return the hosts of the usual place: `h1:5432,h2,[::1]:5433`."""
    found = []
    for one in text.split(","):
        match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]*))(?::(.*))?", one)
        if match is None:
            raise ValueError("have an IPv6 address in brackets, and only a port after a host: [::1]:5432")
        found.append(_host(_decoded(match[1] or match[2] or ""), match[3] or ""))
    return tuple(found)


def _named_hosts(hosts: str, ports: str) -> tuple[Host, ...]:
    """Return the hosts that `?host=…&port=…` name: one port for each, or one for all."""
    names, numbers = hosts.split(","), ports.split(",")
    if len(numbers) == 1:
        numbers *= len(names)
    if len(names) != len(numbers):
        raise ValueError("have one port for each host, or one for all")
    return tuple(_host(*one) for one in zip(names, numbers, strict=True)) if hosts or ports else ()


def _host(name: str, port: str) -> Host:
    if port and not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65_535):
        raise ValueError(f"have ports from 1 to 65535, and {_ENCODE}")
    if name and not (name.startswith(("/", "@")) or _NAME.match(name) or _IPV6.match(name)):
        raise ValueError(f"have names or addresses as hosts, and {_ENCODE}")
    return Host(name, port)
