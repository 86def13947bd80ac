"""Makes what keeps the answers to a worker's failed attempts; `delivery.answers` says which are kept."""

from collections.abc import Callable, Coroutine
from typing import Any

from aegis_stream.delivery.answers import AnswerKeeper, Redact
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.endpoint import Route
from aegis_stream.errors import AegisError
from aegis_stream.pipeline.token_sender import TokenSender


def make_keeper(
    redact: Redact | None,
    sender: TokenSender,
    route_of: Callable[[Destination], Route],
    spawn: Callable[[Coroutine[Any, Any, None]], object],
) -> AnswerKeeper | None:
    """Return what keeps answers; None without a way to cut secrets out of them.

    Args:
        sender: knows the tokens that requests carry.
        spawn: starts a task in the worker's task group.
    """

    def bearers_of(destination: Destination) -> list[str]:
        if destination.spec.oauth2 is None:
            return []
        try:
            return sender.bearers_of(route_of(destination))
        except AegisError:  # it is no longer allowed, and nothing is sent
            return []

    return AnswerKeeper(redact, bearers_of, spawn) if redact is not None else None
