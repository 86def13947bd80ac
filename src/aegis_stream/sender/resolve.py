"""Names to addresses, by DNS and the hosts file, without a thread per look-up.

Called by `look_ups`. The resolver of the C library keeps a thread for as long as a name server does not answer, even after
the attempt has ended, so names without a name server would soon hold all threads. c-ares asks for many names at once.
"""

import socket
from itertools import zip_longest
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import aiodns

TIMEOUT_S = 2.0
"""Wait for the first answer of a name server whose usual time is not known yet, seconds."""
TRIES = 4
"""How often each name server is asked; the wait doubles from one round to the next."""

_NO_SORT = 1 << 7  # ARES_AI_NOSORT of c-ares: sorting would connect a socket to every address of the answer
_TEMPORARY = frozenset({3, 6, 11, 12})  # ARES_ESERVFAIL, ARES_EREFUSED, ARES_ECONNREFUSED, ARES_ETIMEOUT


class Resolver(Protocol):
    """Source of addresses."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the IP addresses of a name as text, best first; an empty list if there are none.

        Raises: OSError (also socket.gaierror) if the name does not resolve; CancelledError at the deadline.
        """
        ...


class DnsResolver:
    """Asks the hosts file and the name servers of this machine, with its search domains; follows changes of both.

    A name that only a module of the C library knows (LDAP, mDNS) does not resolve.

    Args:
        servers: name servers as "address:port"; empty for those of this machine.
        domains: search domains; empty for those of this machine.
    """

    def __init__(self, servers: tuple[str, ...] = (), domains: tuple[str, ...] = ()) -> None:
        self._servers = servers
        self._domains = domains
        self._dns: aiodns.DNSResolver | None = None
        self._closed = False

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name, each once, IPv6 and IPv4 in turn (RFC 8305 section 4).

        Raises: socket.gaierror if the name does not resolve: EAI_AGAIN if no name server answers, else EAI_NONAME.
        """
        import aiodns  # noqa: PLC0415 - a start costs less without c-ares, and not every process looks up names

        if self._closed:
            raise socket.gaierror(socket.EAI_AGAIN, "the resolver was closed")
        if self._dns is None:  # made by the first look-up, because it belongs to the running event loop
            self._dns = aiodns.DNSResolver(
                self._servers or None, timeout=TIMEOUT_S, tries=TRIES, domains=self._domains or None
            )
        try:
            found = await self._dns.getaddrinfo(host, port=port, type=socket.SOCK_STREAM, flags=_NO_SORT)
        except aiodns.error.DNSError as error:
            code = socket.EAI_AGAIN if error.args[0] in _TEMPORARY else socket.EAI_NONAME
            raise socket.gaierror(code, str(error.args[-1])) from error
        six = [_text(node.addr[0]) for node in found.nodes if node.family == socket.AF_INET6]
        four = [_text(node.addr[0]) for node in found.nodes if node.family == socket.AF_INET]
        in_turn = (address for pair in zip_longest(six, four) for address in pair if address is not None)
        return list(dict.fromkeys(in_turn))

    def close(self) -> None:
        """End the look-ups under way, and close the sockets."""
        self._closed = True
        dns, self._dns = self._dns, None
        if dns is not None:
            dns.cancel()  # its sockets are closed when it is collected


def _text(address: bytes | str) -> str:
    return address.decode() if isinstance(address, bytes) else address
