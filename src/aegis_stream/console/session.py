"""The sealed cookie that says who is signed in. It holds the id of a key or link, never its text.

Texts are sealed with AES-256-GCM under a key derived from the master key, so every process and node opens them. Nothing is
stored: signing out removes the cookie, and revoking the key, or deleting the link, ends every session that was made with it.
Source: NIST SP 800-38D for AES-GCM; RFC 6265bis for the prefix `__Host-`.
"""

import base64
import hmac
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aegis_stream.ports import Random, Sealer

IDLE_S = 3600
"""A session ends so long after its last request, seconds."""
LONGEST_S = 12 * 3600
"""A session ends so long after it began, seconds."""
OPERATOR_S = 1800
"""The same for the operator's, from its last request, seconds."""
REFRESH_S = 60
"""The cookie is written anew when its last request is older than this, seconds."""
SEALED_CHARACTERS_MAX = 4000
"""Longest sealed text that is opened, characters: browsers keep cookies of 4,096 bytes."""
_NONCE_BYTES = 12
_TOKEN_BYTES = 18

Kind = Literal["key", "operator", "link"]
T = TypeVar("T", bound=msgspec.Struct)


class Session(msgspec.Struct, frozen=True, array_like=True):
    """Who is signed in.

    Args:
        kind: what the session was made with.
        holder: id of the key, or of the console link; for the operator a fingerprint of the operator key.
        organization_no: 0 for the operator outside an organization.
        org_id: the organization; the one that the operator has entered, "" for none.
        csrf: what forms must carry; it is new with every session.
        began_s: when it was made, seconds since 1970.
        seen_s: when it was last used, to the minute.
        may_write: whether the operator has asked to change the organization that was entered.
    """

    kind: Kind
    holder: str
    organization_no: int
    org_id: str
    csrf: str
    began_s: int
    seen_s: int
    may_write: bool = False

    def is_over(self, now_s: int) -> bool:
        """Tell whether the session has ended by its age."""
        idle_s = OPERATOR_S if self.kind == "operator" else IDLE_S
        return now_s - self.seen_s > idle_s or now_s - self.began_s > LONGEST_S or self.began_s > now_s + 300

    def carries(self, token: str) -> bool:
        """Tell whether a form came from a page of this session."""
        return hmac.compare_digest(self.csrf.encode(), token.encode())


@dataclass(frozen=True, slots=True)
class Seals:
    """Seals texts that a browser keeps for us, and opens them again."""

    sealer: Sealer
    random: Random

    def new_token(self) -> str:
        """Return a token that nobody can guess."""
        return base64.urlsafe_b64encode(self.random.random_bytes(_TOKEN_BYTES)).decode()

    def seal(self, purpose: str, value: msgspec.Struct) -> str:
        """Return a value as a text that only this installation reads, for one purpose."""
        nonce = self.random.random_bytes(_NONCE_BYTES)
        key = self.sealer.derive(f"console {purpose}")[0]
        return base64.urlsafe_b64encode(
            nonce + AESGCM(key).encrypt(nonce, msgspec.json.encode(value), None)
        ).decode()

    def open(self, purpose: str, text: str, kind: type[T], longest: int = SEALED_CHARACTERS_MAX) -> T | None:
        """Return the value of a sealed text; None for anything else.

        Args:
            longest: most characters of the text.
        """
        if len(text) > longest:
            return None
        try:
            sealed = base64.urlsafe_b64decode(text)
        except ValueError:
            return None
        for key in self.sealer.derive(f"console {purpose}"):
            try:
                return msgspec.json.decode(
                    AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None), type=kind
                )
            except (InvalidTag, ValueError):
                continue
        return None
