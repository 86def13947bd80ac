"""OAuth 2.0 client credentials: how a destination's requests get an expiring token.

Source: RFC 6749, sections 4.4 and 2.3.1. The token is fetched and cached by `pipeline/token_sender.py`.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from aegis_stream.errors import FieldProblem

from .visible import visible_fault

CLIENT_ID_CHARACTERS_MAX = 1024
CLIENT_SECRET_CHARACTERS_MAX = 4096
SCOPE_CHARACTERS_MAX = 2048
TOKEN_HEADER = "Authorization"  # noqa: S105 - a name
"""The header that carries the token."""

_SCOPES = re.compile(r"(?:[!#-\[\]-~]+(?: [!#-\[\]-~]+)*)?")  # RFC 6749 appendix A.4


@dataclass(frozen=True, slots=True)
class OAuth2:
    """Where a destination's tokens come from, and for which scope.

    Args:
        token_url: URL of the token endpoint; checked like the URL of the destination.
        client_secret: "" if it is unknown, which `oauth2_problems` rejects.
        scope: as the token endpoint requires it; "" for none.
    """

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""

    def form(self) -> bytes:
        """Return the body of the token request, as application/x-www-form-urlencoded."""
        fields = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }
        return urlencode(fields | ({"scope": self.scope} if self.scope else {})).encode()


def oauth2_problems(oauth2: OAuth2 | None, auth_header_name: str | None) -> list[FieldProblem]:
    """Check everything but the URL, and that there is no auth header as well. No message repeats a value."""
    if oauth2 is None:
        return []
    problems = []
    if auth_header_name is not None:
        message = "cannot be combined with oauth2, which sets the auth header: omit one of the two"
        problems.append(FieldProblem("auth_header_name", message))
    if not oauth2.client_secret:
        message = "is required: it is not kept when the host of token_url or of the destination, or ca_certificate changes"
        problems.append(FieldProblem("oauth2.client_secret", message))
    elif fault := visible_fault(oauth2.client_secret, CLIENT_SECRET_CHARACTERS_MAX):
        problems.append(FieldProblem("oauth2.client_secret", fault))
    if fault := visible_fault(oauth2.client_id, CLIENT_ID_CHARACTERS_MAX):
        problems.append(FieldProblem("oauth2.client_id", fault))
    if not _SCOPES.fullmatch(oauth2.scope) or len(oauth2.scope) > SCOPE_CHARACTERS_MAX:
        message = f"must be names of visible ASCII, separated by single spaces, at most {SCOPE_CHARACTERS_MAX} characters"
        problems.append(FieldProblem("oauth2.scope", message))
    return problems
