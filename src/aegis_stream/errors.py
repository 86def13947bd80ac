"""The error tree: what can go wrong for a caller, by kind, with a stable code.

No layer raises anything else across its border. `api/app.py` alone maps them to HTTP statuses, and
`docs/reference/errors.md` has a row for every code. A failed delivery is not an error but an Outcome.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong with one field.

    Args:
        field: dotted path of the field as the caller wrote it, "" for the whole body.
        message: what is wrong and what to do; never repeats a secret.
    """

    field: str
    message: str


class AegisError(Exception):
    """An error that the caller must handle or report.

    Args:
        message: one sentence for a person: what is wrong and what to do; never repeats a secret.
        code: stable slug, lower case with dashes.
        problems: the wrong fields, if the error is about fields.
    """

    code = "internal"

    def __init__(
        self, message: str, *, code: str | None = None, problems: tuple[FieldProblem, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.problems = problems
        if code is not None:
            self.code = code

    @property
    def explained(self) -> str:
        """The message for the operator: in logs and on the command line, never in answers of the API."""
        return self.message


class Invalid(AegisError):
    """The input is invalid; the same call will fail again."""

    code = "invalid"


class Malformed(Invalid):
    """The body cannot be read: not JSON, not UTF-8, or not in its declared encoding."""

    code = "malformed"


class TooLarge(Invalid):
    """The input exceeds a limit."""

    code = "too-large"


class Unsupported(Invalid):
    """The media type or encoding of the input is not supported."""

    code = "unsupported-media-type"


class Unauthenticated(AegisError):
    """No key, or an unknown, revoked or expired one."""

    code = "unauthenticated"


class Denied(AegisError):
    """A valid key whose scope does not allow this call."""

    code = "denied"


class NotFound(AegisError):
    """The object does not exist, or belongs to another organization: callers cannot tell which."""

    code = "not-found"


class Conflict(AegisError):
    """The call conflicts with what is stored."""

    code = "conflict"


class Limited(AegisError):
    """A limit is reached; the same call will succeed later.

    Args:
        retry_after_s: seconds to wait, at least 1.
    """

    code = "limited"

    def __init__(self, message: str, *, retry_after_s: int = 1, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Unavailable(AegisError):
    """The service cannot do this now (store busy, disk full, shutting down); nothing was stored.

    Args:
        retry_after_s: seconds to wait, at least 1.
        reason: what is behind it, for the operator alone: it may name hosts and users of the installation.
    """

    code = "unavailable"

    def __init__(
        self, message: str, *, retry_after_s: int = 1, code: str | None = None, reason: str = ""
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s
        self.reason = reason

    @property
    def explained(self) -> str:
        """The message with its reason, for the operator."""
        return f"{self.message}: {self.reason}" if self.reason else self.message


class OutOfRoom(Unavailable):
    """An organization's quota of stored bytes has no room for events; nothing of them was stored.

    Args:
        size: bytes of the events.
        stored_bytes: what the organization stores.
        stored_bytes_max: its quota.
    """

    code = "storage-quota"

    def __init__(self, size: int, stored_bytes: int, stored_bytes_max: int) -> None:
        super().__init__(
            f"these events have {size:,} bytes, and the organization stores {stored_bytes:,} bytes of its quota of "
            f"{stored_bytes_max:,}: wait until retention deletes old events, redrive or purge dead letters so that it can, "
            "or ask the operator for a larger quota",
            retry_after_s=60,
        )
        self.size = size
        self.stored_bytes = stored_bytes
        self.stored_bytes_max = stored_bytes_max

    @property
    def room(self) -> int:
        """Bytes that the quota has left."""
        return max(0, self.stored_bytes_max - self.stored_bytes)


class StoreReplaced(Unavailable):
    """The files of the store were removed or replaced while it was open; nothing is stored until they are back."""

    code = "store-replaced"


class StoreDamaged(Unavailable):
    """What was asked for cannot be read, because the database is damaged there; other parts of it may be intact."""

    code = "store-damaged"


class Misconfigured(AegisError):
    """The service cannot start with this configuration; the message names the setting and what to do."""

    code = "misconfigured"
