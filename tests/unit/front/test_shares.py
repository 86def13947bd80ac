"""Promises about shares: whoever holds most gives way, and the books always balance."""

from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.front.shares import Holder, Shares


class Client:
    """A connection that gives way by leaving."""

    def __init__(self, shares: Shares, network: str) -> None:
        self.shares, self.network = shares, shares.holder(network)
        self.gone_for: str | None = None
        self.bytes = 0
        self.charged_to: Holder | None = None
        self.has_room = shares.enter(self.network)
        self.network.moved(self)

    def hold(self, owner: str, count: int) -> None:
        """Hold bytes."""
        self.bytes, self.charged_to = count, self.shares.holder(owner)
        self.charged_to.charged[self] = None
        self.shares.charge(self.charged_to, count)

    def drop(self) -> None:
        """Hold no bytes any more."""
        if self.charged_to is not None:
            self.charged_to.charged.pop(self, None)
            self.shares.charge(self.charged_to, -self.bytes)
            self.bytes, self.charged_to = 0, None

    def leave(self) -> None:
        """End."""
        self.drop()
        self.network.busy(self)
        self.shares.leave(self.network)

    def give_way(self, what: str) -> None:
        """Remember why, and end."""
        self.gone_for = what
        self.leave()


def test_the_network_with_most_connections_gives_way():
    """A newcomer takes the place of the connection that moved least recently, of the network that has most."""
    shares = Shares(4, 1000)
    many = [Client(shares, "many") for _ in range(3)]
    one = Client(shares, "one")
    many[0].network.moved(many[0])

    other = Client(shares, "other")

    assert other.has_room
    assert [client.gone_for for client in many] == [None, "connections", None]
    assert one.gone_for is None


def test_a_connection_that_is_being_answered_never_gives_way():
    """Where everybody waits for us, the newcomer is the one without room."""
    shares = Shares(2, 1000)
    busy = [Client(shares, "a"), Client(shares, "a")]
    for client in busy:
        client.network.busy(client)

    assert not Client(shares, "b").has_room
    assert all(client.gone_for is None for client in busy)


def test_the_holder_of_most_bytes_gives_way():
    """Whoever asks for the byte too many: the organization that holds most ends its oldest request."""
    shares = Shares(100, 1000)
    greedy = [Client(shares, str(number)) for number in range(3)]
    for client in greedy:
        client.hold("greedy", 300)
    modest = Client(shares, "m")

    modest.hold("modest", 200)

    assert [client.gone_for for client in greedy] == ["bytes", None, None]
    assert modest.gone_for is None
    assert shares.bytes == 800


@given(
    st.lists(st.tuples(st.sampled_from(["enter", "leave", "hold", "drop", "busy"]), st.integers(0, 9), st.integers(1, 600)), max_size=60)
)  # fmt: skip
def test_the_books_balance(steps):
    """After any sequence of events, the sums are those of the clients that are left, and below the limits."""
    shares = Shares(5, 1000)
    clients: list[Client] = []
    for what, number, count in steps:
        alive = [client for client in clients if client.gone_for is None]
        if what == "enter":
            clients.append(Client(shares, f"n{number % 3}"))
            if not clients[-1].has_room:
                clients.pop().leave()
        elif alive:
            client = alive[number % len(alive)]
            if what == "leave":
                client.gone_for = "left"
                client.leave()
            elif what == "hold":
                client.drop()
                client.hold(f"o{number % 2}", count)
            elif what == "drop":
                client.drop()
            else:
                client.network.busy(client)
        alive = [client for client in clients if client.gone_for is None]
        assert shares.connections == len(alive) <= 5
        assert shares.bytes == sum(client.bytes for client in alive) <= 1000
