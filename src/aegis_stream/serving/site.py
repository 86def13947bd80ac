"""What is behind the front door, by path: the console below /console, and the API everywhere else."""

from dataclasses import dataclass
from typing import Any

from aegis_stream.api.routes import LateRoutes, load_api
from aegis_stream.api.service import Service
from aegis_stream.front.gateway import Application


@dataclass(frozen=True, slots=True)
class Site:
    """An ASGI application of two. Each is made at its first call; the console costs nothing before anybody opens it."""

    api: LateRoutes
    console: LateRoutes

    @classmethod
    def of(cls, service: Service) -> "Site":
        """Return the site of a service."""
        return cls(LateRoutes(service, load_api), LateRoutes(service, _load_console))

    async def __call__(self, scope: dict[str, Any], *call: object) -> None:
        """Serve a call. Raises: what the application raises."""
        routes = self.console if is_console(scope["path"]) else self.api
        await routes(scope, *call)

    def end_streams(self) -> None:
        """End all streams, API's and console's: they share what they show."""
        self.api.service.live.close()

    async def prepare(self) -> None:
        """Make the API in a while, unless a call needs it before."""
        await self.api.prepare()


def is_console(path: str) -> bool:
    """Tell whether a path is the console's: `/`, which leads there, and everything below `/console`."""
    return path in {"/", "/console"} or path.startswith("/console/")


def _load_console(service: Service) -> Application:
    from aegis_stream.console.app import console_of  # noqa: PLC0415 - the first call loads it

    return console_of(service)
