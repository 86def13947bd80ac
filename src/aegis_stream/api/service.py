"""What the routes need: the use cases' dependencies, and what only an API process has."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aegis_stream.control.deps import ControlDeps
from aegis_stream.control.live import Live
from aegis_stream.control.turns import Turns
from aegis_stream.telemetry import Log

from .counts import IngestCounts
from .rates import IngestRates

if TYPE_CHECKING:  # ingest needs the service, and not the framework
    from litestar import Request


@dataclass(frozen=True, slots=True)
class Service:
    """Everything a route may use.

    Args:
        needs_worker: the service is not ready while no delivery worker runs.

    `rates` says how many ingest requests were answered of late.
    """

    control: ControlDeps
    counts: IngestCounts
    telemetry: Log
    needs_worker: bool = False
    turns: Turns = field(default_factory=Turns)
    live: Live = field(default_factory=Live)
    rates: IngestRates = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", IngestRates(self.counts))


def service_of(request: "Request[Any, Any, Any]") -> Service:
    """Return the service that the application was created with."""
    service = request.app.state.service
    assert isinstance(service, Service), "create_app puts it there"
    return service


def control_of(request: "Request[Any, Any, Any]") -> ControlDeps:
    """Return what use cases need."""
    return service_of(request).control
