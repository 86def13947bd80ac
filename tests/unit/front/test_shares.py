"""Promises about shares: whoever holds most gives way, and the books always balance."""

from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.front.shares import COMPARED_MAX, Holder, Shares


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


class CountingDict(dict):
    """A dict that counts how many of its keys are looked at."""

    looked = 0

    def __iter__(self):
        for key in super().__iter__():
            CountingDict.looked += 1
            yield key


def test_an_eviction_looks_at_few_holders():
    """However many organizations hold bytes, an eviction compares few of them, and takes the one that holds most."""
    shares = Shares(10_000, 2000 * 3 + 100)
    shares._by_digits = {2: CountingDict(), 5: CountingDict()}
    for number in range(2000):
        Client(shares, f"small{number}").hold(f"small{number}", 3)
    large = [Client(shares, f"large{number}") for number in range(5)]
    for client, count in zip(large, (17, 20, 25, 18, 20), strict=True):
        client.hold(client.network.name, count)
    CountingDict.looked = 0

    Client(shares, "late").hold("late", 1)

    assert [client.gone_for for client in large] == [None, None, "bytes", None, None]
    assert 0 < CountingDict.looked <= COMPARED_MAX


def test_among_many_that_hold_much_one_of_them_gives_way():
    """Where more organizations hold about as much than are compared, one that has at least half of the most gives way."""
    shares = Shares(10_000, 500 * 100 + 900)
    clients = [Client(shares, f"org{number}") for number in range(600)]
    for number, client in enumerate(clients):
        client.hold(client.network.name, 100 + number % 5 if number < 500 else 1)
    late = Client(shares, "late")

    late.hold("late", 1)

    evicted = [client for client in clients if client.gone_for]
    assert evicted
    assert shares.bytes <= shares.bytes_max
    assert late.gone_for is None
    assert all(clients.index(client) < 500 for client in evicted)
