"""The error tree: what can go wrong for a caller, by kind, with a stable code.

Every layer raises these and nothing else across its border; `api/app.py` alone turns them into HTTP statuses, and
`docs/reference/errors.md` has a row for every code. A refused delivery is not an error: it is an Outcome.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong with one field.

    Args:
        field: dotted path of the field as the caller wrote it, "" for the whole body.
        message: what is wrong and the way out; never repeats a secret.
    """

    field: str
    message: str


class AegisError(Exception):
    """Something the caller has to know about.

    Args:
        message: one sentence for a person: what is wrong and the way out; never repeats a secret.
        code: stable slug, lower case with dashes.
        problems: the fields that are wrong, where fields are.
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


class Invalid(AegisError):
    """The input is not acceptable as it is; the same call will fail again."""

    code = "invalid"


class Malformed(Invalid):
    """The body cannot even be read: not JSON, not UTF-8, or not what its encoding says."""

    code = "malformed"


class TooLarge(Invalid):
    """The input is larger than a stated limit."""

    code = "too-large"


class Unsupported(Invalid):
    """The input comes in a media type or encoding that is not taken."""

    code = "unsupported-media-type"


class Unauthenticated(AegisError):
    """No key, or a key that opens nothing."""

    code = "unauthenticated"


class Denied(AegisError):
    """A good key without the scope for this call."""

    code = "denied"


class NotFound(AegisError):
    """No such object, or one of another organization: the two cannot be told apart."""

    code = "not-found"


class Conflict(AegisError):
    """The call contradicts what is stored."""

    code = "conflict"


class Limited(AegisError):
    """Too much at once; the same call will do later.

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
    """

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 1, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Misconfigured(AegisError):
    """The service cannot start as it is configured; the message names the setting and the way out."""

    code = "misconfigured"
