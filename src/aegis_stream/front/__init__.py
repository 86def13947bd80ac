"""The front door: HTTP/1.1 in; one request, one body, one answer.

head.py        the bytes of a head → a Head, or why it is refused (RFC 9112)
body.py        a body of known length or in chunks, piece by piece
connection.py  one client's connection: what arrives
outgoing.py    its outgoing half: answers, refusals, clients that do not read
place.py       its place among the others: what it holds, whose turn it is
reading.py     when its socket is read
contract.py    what the front door asks of the application, and what connections share
shares.py      what clients may hold at once, and who gives way
turns.py       whose turn is next
answer.py      status line, headers and body, ready to be written
gateway.py     a request → the ASGI application
clients.py     where a client is, by its connection or a trusted proxy
listener.py    accepts connections, and ends them in good order
"""
