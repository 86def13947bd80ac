"""By which address a client reached the service: for links and commands that lead back to it."""

from typing import Any

from litestar.connection import ASGIConnection

AnyConnection = ASGIConnection[Any, Any, Any, Any]
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def is_loopback(connection: AnyConnection) -> bool:
    """Tell whether the client came to this machine by plain HTTP, where no cookie can be Secure."""
    host = (connection.headers.get("host") or "").rpartition("]")
    name = f"{host[0]}]" if host[1] else host[2].partition(":")[0]
    return name.lower() in LOOPBACK and connection.headers.get("x-forwarded-proto") != "https"


def origin_of(connection: AnyConnection) -> str:
    """Return scheme and host by which the client came here, for what somebody copies."""
    host = connection.headers.get("host") or "localhost"
    return f"{'http' if is_loopback(connection) else 'https'}://{host}"
