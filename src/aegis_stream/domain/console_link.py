"""Links that open the console once: how long they last, and where a console may lead back to."""

from dataclasses import dataclass

from aegis_stream.errors import FieldProblem, Invalid

from .ids import Micros, OrganizationId, OrganizationNo
from .organization import Scope
from .url import parse_url

LINK_PREFIX = "aegis_cl"
"""How the token of a link begins."""
LINK_PATH = "/console/link"
"""Path of the page that uses a link up."""
SECONDS_MIN, SECONDS_MAX, SECONDS_DEFAULT = 60, 7 * 86_400, 600
"""How long a link may wait to be opened, seconds. Ten minutes by default: whoever can read the link can open the console."""
SESSION_S = 12 * 3600
"""How long the session that begins with a link lasts at most, seconds."""
RETURN_URL_CHARACTERS_MAX = 1000
SCOPES = (Scope.READ, Scope.ADMIN)
"""What a link may allow. A key that can only send events opens no console, and neither does a link."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts of this machine, where plain HTTP leaves nothing on a network."""


@dataclass(frozen=True, slots=True)
class ConsoleLink:
    """A link as it is stored; only its holder knows its token.

    Args:
        organization_no, org_id: 0 and "" for a link of the operator.
        scope: what the session that begins with it may do.
        made_by: id of the key that made it, "" for the command line or the service itself. It is valid no longer than that key.
        return_url: where "Back to …" leads, "" for nowhere.
        used_at: when a session began with it; None while it is open.
    """

    organization_no: OrganizationNo
    link_id: str
    org_id: OrganizationId
    scope: Scope
    made_by: str
    return_url: str
    created_at: Micros
    expires_at: Micros
    used_at: Micros | None = None

    @property
    def is_operators(self) -> bool:
        """Whether it opens the operator's pages."""
        return self.organization_no == 0


def console_url(origin: str, token: str) -> str:
    """Return the URL that opens the console with a token.

    The token is behind the #: browsers send that part to nobody, so no log of a proxy holds it, and no Referer.

    Args:
        origin: scheme and host of the service, as the browser reaches it, without a / at its end.
    """
    return f"{origin}{LINK_PATH}#{token}"


def check_lifetime(seconds: int) -> None:
    """Check how long a link may wait. Raises: Invalid for the field expires_seconds."""
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise _invalid("expires_seconds", f"must be from {SECONDS_MIN} to {SECONDS_MAX}")


def check_scope(scope: Scope) -> None:
    """Check what a link may allow. Raises: Invalid for the field scope."""
    if scope not in SCOPES:
        raise _invalid("scope", "must be read or admin: a key that can only send events opens no console")


def check_return_url(text: str) -> None:
    """Check where "Back to …" leads: https, or http on this machine; "" for nowhere.

    Raises: Invalid for the field return_url; the text is not repeated.
    """
    if not text:
        return
    field = "return_url"
    if len(text) > RETURN_URL_CHARACTERS_MAX:
        raise _invalid(field, f"must have at most {RETURN_URL_CHARACTERS_MAX} characters")
    if not all("!" <= char <= "~" for char in text):
        raise _invalid(field, "must be ASCII without blanks: percent-encode the other characters")
    try:
        found = parse_url(text.partition("#")[0], allow_http=True)
    except Invalid as error:
        raise _invalid(field, f"must be an https URL without a user name: {error.message}") from error
    if found.scheme != "https" and found.host not in LOOPBACK:
        raise _invalid(
            field, "must begin with https://; http is only for this machine, as in http://localhost:3000/"
        )


def host_of(return_url: str) -> str:
    """Return the host of a checked URL, for the words "Back to …"."""
    return parse_url(return_url.partition("#")[0], allow_http=True).host


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", problems=(FieldProblem(field, message),))
