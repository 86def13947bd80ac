"""What the framework and the decoder find wrong with a call, in our words: the field, the mistake, and what is right."""

from typing import Any, get_args

from aegis_stream.domain.destination import Compression
from aegis_stream.errors import FieldProblem, Invalid, Malformed

from .schemas.destinations import FormatName
from .schemas.events import Decision

_CHOICES = {
    "format": get_args(FormatName),
    "compression": get_args(Compression),
    "decision": get_args(Decision),
    "decisions": get_args(Decision),
    "destination": ("AI_TOOL", "VENDOR", "CUSTOMER"),
    "scope": ("admin", "ingest", "read"),
}
"""The values of each field that has a fixed set of them."""


def field_problem(field: str, message: str) -> FieldProblem:
    """Return the problem of one field.

    Args:
        field: path of the field; "" for the body.
        message: the decoder's.
    """
    message = message.replace("`", "").replace("Expected", "expected")
    if message.startswith("Invalid enum value"):
        choices = _CHOICES.get(field.rpartition(".")[2].partition("[")[0])
        wrong = message.removeprefix("Invalid enum value").strip()
        message = f"must be one of {', '.join(choices)}, not {wrong}" if choices else f"has no value {wrong}"
    return FieldProblem(field, message)


def as_invalid(extra: Any) -> Invalid:
    """Turn the framework's list of errors into the problems of their fields."""
    problems = []
    found = extra if isinstance(extra, list) else []
    for one in found:
        message = str(one.get("message", "is invalid"))
        key = str(one.get("key", "") or "").removeprefix("data.")
        if "unknown field" in message:
            unknown = message.partition("`")[2].partition("`")[0]
            key = f"{key}.{unknown}" if key and key != "data" else unknown
            message = "is not a field of this call: omit it, or see /docs for its spelling"
        elif "missing required field" in message:
            key, message = message.partition("`")[2].partition("`")[0], "is required"
        problems.append(field_problem("" if key == "data" else key, message))
    if not found or any(one.get("message") == "'data'" for one in found):
        return Malformed(
            "the body is missing, or is not a JSON object: send one with Content-Type: application/json"
        )
    detail = "; ".join(f"{one.field} {one.message}".lstrip() for one in problems) or "the request is invalid"
    return Invalid(detail, problems=tuple(problems))
