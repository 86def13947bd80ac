"""One HTTP/1.1 POST to a checked address: the only way for data to leave the service.

`wiring` makes one AsyncSender; the pipeline sees it as ports.Sender and opens a Channel for each destination. No module
here knows events, formats, retries or the store: bytes go in, a Response or a Fault comes out, never an exception.

    sender.py    AsyncSender: opens channels, and has what they share
    pool.py      Channel: which connection carries a request
    exchange.py  one attempt, until its answer comes
    limits.py    limits of connections and requests, in numbers
    waiters.py   attempts that wait for a connection
    shares.py    places for connections, shared between organizations
    address_limiter.py  connections and requests to one address
    look_ups.py  look-ups of names, shared fairly between organizations
    resolve.py   names to addresses, by DNS and the hosts file
    dial.py      resolve → ask the guard about every address → connect to one of these addresses
    race.py      which of a name's addresses: each gets a short head start
    own_addresses.py  whether an address is this host's own
    wire.py      one exchange at a time over a connection
    answer.py    reads one answer after the other within bounds
    lenient.py   rewrites heads of answers that are in bad form but clear
    secure.py    TLS between socket and connection
    alerts.py    whether a TLS server wants a client certificate
    head.py      the bytes before the body, made once per route
    tls.py       one SSLContext per trust policy; verification cannot be switched off
    watch.py     one timer for the deadlines of all connections
"""

from .dial import Guard
from .limits import SenderLimits
from .look_ups import LookUps
from .own_addresses import is_own_address
from .pool import Channel
from .resolve import DnsResolver, Resolver
from .sender import AsyncSender
from .tls import TrustStore

__all__ = [
    "AsyncSender",
    "Channel",
    "DnsResolver",
    "Guard",
    "LookUps",
    "Resolver",
    "SenderLimits",
    "TrustStore",
    "is_own_address",
]
