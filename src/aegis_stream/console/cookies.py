"""Cookies of the console: their names, and what browsers do with them.

Only this site gets them, no script, and no request that another site makes. One kind differs: the session of somebody who came by a
link, where the settings name sites that may show the console in a frame. To such a page this site is a third party, so its cookie
has SameSite=None; it is partitioned, which means that no other site's frame shares it (CHIPS), and has a name of its own, so that it
never stands in for the session of a key. What SameSite would have kept off is kept off by the token in every form and by
Sec-Fetch-Site. Source: RFC 6265bis for the prefix `__Host-`.
"""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from aegis_stream.api.origin import is_loopback
from aegis_stream.api.service import Service

from .session import LONGEST_S, Session

AnyConnection = ASGIConnection[Any, Any, Any, Any]
OWN, FRAMED = "aegis-session", "aegis-portal"
"""Names of the session's cookie: that of most sessions, and that of one whose pages may stand in a frame."""


class FramedCookie(Cookie):
    """A cookie that a browser keeps apart for each site whose page has this one in a frame."""

    def to_header(self, **kwargs: Any) -> str:
        """Return it as a header; the framework does not know the attribute."""
        return super().to_header(**kwargs) + "; Partitioned"


def may_be_framed(service: Service, session: Session | None) -> bool:
    """Tell whether the pages of a session may stand in a frame of the sites that the settings name."""
    return (
        bool(service.control.settings.console.frame_ancestors)
        and session is not None
        and session.kind == "link"
    )


def name_of(connection: AnyConnection, *, framed: bool) -> str:
    """Return the name of the session's cookie: with the prefix by which browsers tie it to this host and to TLS, but on loopback."""
    name = FRAMED if framed else OWN
    return name if is_loopback(connection) else f"__Host-{name}"


def cookie(connection: AnyConnection, name: str, value: str, age_s: int, *, framed: bool = False) -> Cookie:
    """Return a cookie; an age of 0 removes it."""
    if framed:
        # Secure on loopback too, where browsers allow it: they take no SameSite=None without it.
        return FramedCookie(name, "/", value, age_s, secure=True, httponly=True, samesite="none")
    secure = not is_loopback(connection)
    return Cookie(name, "/", value, age_s, secure=secure, httponly=True, samesite="strict")


def session_cookies(connection: AnyConnection, session: Session, sealed: str) -> list[Cookie]:
    """Return the cookie that begins a session, and the removal of the other kind: a browser has one session here.

    Args:
        sealed: the session as the browser keeps it.
    """
    framed = may_be_framed(connection.app.state.service, session)
    return [kept_cookie(connection, session, sealed), _removed(connection, framed=not framed)]


def kept_cookie(connection: AnyConnection, session: Session, sealed: str) -> Cookie:
    """Return the cookie of a session that goes on."""
    framed = may_be_framed(connection.app.state.service, session)
    return cookie(connection, name_of(connection, framed=framed), sealed, LONGEST_S, framed=framed)


def no_session_cookies(connection: AnyConnection) -> list[Cookie]:
    """Return what ends a session at this browser."""
    return [_removed(connection, framed=framed) for framed in (False, True)]


def _removed(connection: AnyConnection, *, framed: bool) -> Cookie:
    return cookie(connection, name_of(connection, framed=framed), "", 0, framed=framed)
