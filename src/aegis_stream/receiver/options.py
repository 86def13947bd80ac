"""How the reference receiver runs: its options, and what each may be."""

from dataclasses import dataclass, field
from io import TextIOBase
from pathlib import Path

from .verify import Verifier

LATENCY_S_MAX = 600.0
"""Longest delay of replies, seconds: far longer than the ten seconds that a sender waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverOptions:
    """How the reference receiver runs. Secrets are not in its repr.

    Args:
        host: address to listen on.
        port: 0 to 65535; 0 picks a free one.
        bearer: token that requests must carry, or None.
        hmac_key: key of the signature that requests must carry, or None.
        header: name and value of another auth header that requests must carry, or None.
        fail: share of requests, chosen at random, that are answered 500, 0 to 1.
        latency_s: delay of every reply, 0 to 600 seconds.
        tls: serve HTTPS with its own certificate.
        tls_dir: directory of that certificate; ./aegis-receiver-tls by default.
        quiet: do not print events.
        json: print JSON objects, one per line.
        record: file, or stream, to which every request is appended as a line of JSON, or None.
    Raises: ValueError with one clause that names the wrong option.
    """

    host: str = "127.0.0.1"
    port: int = 8800
    bearer: str | None = field(default=None, repr=False)
    hmac_key: bytes | None = field(default=None, repr=False)
    header: tuple[str, str] | None = field(default=None, repr=False)
    fail: float = 0.0
    latency_s: float = 0.0
    tls: bool = False
    tls_dir: Path | None = None
    quiet: bool = False
    json: bool = False
    record: Path | TextIOBase | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, not {self.port}")
        if not 0 <= self.fail <= 1:  # also false for NaN
            raise ValueError(f"fail must be from 0 to 1, not {self.fail}")
        if not 0 <= self.latency_s <= LATENCY_S_MAX:
            raise ValueError(f"latency must be from 0 to {LATENCY_S_MAX:.0f} seconds, not {self.latency_s}")
        self.verifier()

    @property
    def is_open(self) -> bool:
        """Whether requests need no secret."""
        return self.bearer is None and self.hmac_key is None and self.header is None

    def verifier(self) -> Verifier:
        """Return the verifier of these secrets; if there are none, it accepts everything."""
        if self.is_open:
            return Verifier(accept_all=True)
        return Verifier(bearer=self.bearer, header=self.header, hmac_key=self.hmac_key)
