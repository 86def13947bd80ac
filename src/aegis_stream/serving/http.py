"""An HTTP server of ours on a listener."""

import contextlib
from collections.abc import Iterator

import uvicorn

from aegis_stream.api.connection import bounded_http
from aegis_stream.settings import ApiSettings


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: they would end the process by the signal instead of with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_http(app: object, settings: ApiSettings) -> uvicorn.Server:
    """Return an HTTP server for an ASGI application; its caller brings the listener."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type] # an ASGI application
        loop="none",
        http=bounded_http(settings),
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        forwarded_allow_ips=[str(one) for one in settings.trusted_proxies],
        timeout_graceful_shutdown=5,
        limit_concurrency=None,
        backlog=2048,
    )
    return _Server(config)
