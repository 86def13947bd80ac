"""When the routes are put together: promises of api/routes.py."""

import asyncio

import pytest

from aegis_stream.api import routes
from aegis_stream.api.routes import LateRoutes
from support.said import Said


class FakeService:
    """A service of which only the log is used."""

    def __init__(self) -> None:
        self.telemetry = Said()


class Loading:
    """Makes routes that note their calls; fails while `broken`."""

    def __init__(self) -> None:
        self.made = 0
        self.calls: list[object] = []
        self.broken = False

    def __call__(self, _: object) -> object:
        self.made += 1
        if self.broken:
            raise OSError("no descriptor is free")

        async def application(scope: object, *_: object) -> None:
            self.calls.append(scope)

        return application


@pytest.fixture
def loading():
    """Stand for the web framework."""
    return Loading()


@pytest.fixture
def late(loading):
    """Make late routes."""
    return LateRoutes(FakeService(), loading)


async def test_calls_that_come_first_wait_for_the_same_routes(late, loading):
    """However many calls come before the routes are there, they are put together once, and every call is answered."""
    await asyncio.gather(*[late(number, None, None) for number in range(20)])

    assert (loading.made, sorted(loading.calls)) == (1, list(range(20)))


async def test_routes_that_cannot_be_made_are_tried_again(late, loading):
    """Where the framework cannot be loaded now, the calls that wait fail, and the next one tries again."""
    loading.broken = True
    ended = await asyncio.gather(late(1, None, None), late(2, None, None), return_exceptions=True)
    loading.broken = False
    await late(3, None, None)

    assert [type(one) for one in ended] == [OSError, OSError]
    assert (loading.made, loading.calls) == (2, [3])


async def test_routes_are_made_before_anybody_calls(late, loading, monkeypatch):
    """A moment after the start the routes are there, so that no call has to wait."""
    monkeypatch.setattr(routes, "QUIET_S", 0.0)
    await late.prepare()

    assert (loading.made, loading.calls) == (1, [])
    await late(1, None, None)
    assert (loading.made, loading.calls) == (1, [1])


async def test_a_failure_ahead_of_calls_is_logged(late, loading, monkeypatch):
    """An error that nobody waits for is in the log, by kind and place, and ends nothing."""
    monkeypatch.setattr(routes, "QUIET_S", 0.0)
    loading.broken = True
    await late.prepare()

    (line,) = late.service.telemetry.named("service.failed")
    assert (line["kind"], line["path"]) == ("OSError", "")


async def test_a_call_that_is_cancelled_takes_the_routes_from_nobody(late, loading):
    """A client that goes while the routes are made ends its own call alone."""
    first, second = (asyncio.ensure_future(late(number, None, None)) for number in (1, 2))
    await asyncio.sleep(0)
    first.cancel()
    await second

    assert (loading.made, loading.calls) == (1, [2])
