"""What the forwarders of one worker share; the worker makes it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aegis_stream.pipeline.settle import Settler
from aegis_stream.ports import Clock, Ledger, Random
from aegis_stream.telemetry import Log

from .attempts import Outbound
from .health import Warnings
from .pages import SharedPages

if TYPE_CHECKING:
    from .forwarder import Forwarder


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What forwarders of one worker share.

    Args:
        time: the event loop's, seconds.
        on_bug: told when serving a destination met an error that must not happen; the others must not feel it.
    """

    pages: SharedPages
    ledger: Ledger
    outbound: Outbound
    clock: Clock
    time: Callable[[], float]
    random: Random
    settler: Settler
    telemetry: Log
    on_bug: "Callable[[Forwarder, Exception], None]"
    window_max: int
    auto_redrive: bool
    dead_letters_max: int
    warnings: Warnings = field(default_factory=Warnings)
