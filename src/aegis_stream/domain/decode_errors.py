"""A decoder's error in our words: the field, what is wrong with it, and what is right.

No message repeats a value: it may be a finding.
"""

import msgspec

from .event import Rejection

_TYPES = {
    "str": "a string",
    "int": "an integer",
    "float": "a decimal number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
}
_CHOICES = {
    "aegis.decision": "ALLOWED, ALLOWED_WITH_MASKING or BLOCKED",
    "aegis.destination": "AI_TOOL, VENDOR or CUSTOMER",
}
TIME_NEEDED = "must be a time with a zone (RFC 3339), such as 2026-05-15T10:33:21Z"
_ENVELOPE = ("event", "organization")
_OWN_KEY = ": put another product's document under a key of its own"
_BOUNDS = {">=": "at least", "<=": "at most"}


def describe(error: Exception, parent: str) -> Rejection:
    """Put a decoder's error into our words: the field, what is wrong with it, and what is right.

    Args:
        parent: path of the object that was decoded, "" for the event.
    """
    if isinstance(error, UnicodeDecodeError):
        message = f"the event is not UTF-8 (byte {error.start}): send JSON in UTF-8"
        return Rejection(None, parent, message, "malformed")
    if isinstance(error, RecursionError):
        return Rejection(None, parent, "the event is nested too deeply to be read: flatten it")
    message, _, place = str(error).partition(" - at `$")
    place = place.rstrip("`").lstrip(".")
    field = ".".join(part for part in (parent, place) if part)
    if not isinstance(error, msgspec.ValidationError):
        return Rejection(None, field, f"the event is not valid JSON: {_syntax_error(message)}", "malformed")
    plain = _in_our_words(message.replace("`", ""), field)
    return Rejection(None, field, plain if field else f"the event {plain}")


def _syntax_error(message: str) -> str:
    reason = message.removeprefix("JSON is malformed: ")
    if reason == "Input data was truncated":
        # The decoder says the same of half a surrogate pair at the end of a string.
        return r"it ends too early, or has half of a surrogate pair (\ud800 to \udfff): send it whole, on one line"
    if (place := reason.removeprefix("trailing characters ")) != reason:
        return f"more text follows its end {place}: send one object per line, without commas between them"
    if "surrogate pair" in reason:
        return rf"{reason[:1].lower()}{reason[1:]}: send both halves, or \ufffd instead"
    return f"{reason[:1].lower()}{reason[1:]}"


def _in_our_words(message: str, field: str) -> str:
    """Word a validation error without the value, which may be a finding."""
    if field == "@timestamp":
        return TIME_NEEDED
    if message == "Number out of range":
        return "is a number out of range: send a smaller one"
    if message.startswith("Invalid enum value"):
        return f"must be {_CHOICES[field]}"
    if (name := message.removeprefix("Object contains unknown field ")) != message:
        return f"has the unknown key {name}: send the documented keys only, counts and no values"
    if (name := message.removeprefix("Object missing required field ")) != message:
        return f"lacks the key {name}: add it"
    expected, _, found = message.removeprefix("Expected ").partition(", got ")
    if found:
        wanted = " or ".join(_TYPES.get(one, one) for one in expected.split(" | "))
        advice = _OWN_KEY if field in _ENVELOPE and expected == "object" else ""
        return f"must be {wanted}, not {_TYPES.get(found, found)}{advice}"
    kind, _, bound = expected.partition(" ")
    sign, _, limit = bound.partition(" ")
    return (
        f"must be {_TYPES.get(kind, kind)} of {_BOUNDS[sign]} {limit}"
        if sign in _BOUNDS
        else f"cannot be read: {message}"
    )
