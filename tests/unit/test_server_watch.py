"""Promises of the look at a PostgreSQL server while the service runs: what a failover brings is logged, once."""

from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.serving.server_watch import ServerWatch
from aegis_stream.store.suitability import Finding
from support.api import FakeLog

LAGS = Finding("standbys", "warn", "may lag", "set it")
SLOT = Finding("slots", "warn", "nobody reads it", "drop it")
KNOWN = Finding("jit", "info", "on", "set it")


class Server:
    """Answers as it is told, one look after the other; the last answer stays."""

    def __init__(self, *answers: tuple[Finding, ...] | Exception) -> None:
        self.answers = list(answers)

    def ask(self) -> tuple[Finding, ...]:
        """Answer."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def logged(*answers: tuple[Finding, ...] | Exception) -> list[tuple[str, str, str]]:
    """Return what is logged in as many looks as there are answers: level, event, and row or reason."""
    log = FakeLog()
    watch = ServerWatch(Server(*answers).ask, log)
    for _ in answers:
        await watch.look()
    return [(level, name, values.get("row") or values["reason"]) for level, name, values in log.lines]


async def test_what_the_start_has_told_is_not_told_again():
    """Warnings of the first look are those of the start; notes are never logged."""
    assert await logged((LAGS, KNOWN), (LAGS, KNOWN)) == []


async def test_a_new_warning_is_logged_once_until_it_is_gone():
    """A warning that appears is logged once; one that was gone, and is back, is logged again."""
    slots = ("warning", "store.server_warning", "slots")

    assert await logged((LAGS,), (LAGS, SLOT), (SLOT,), (), (SLOT,)) == [slots, slots]


async def test_a_warning_whose_words_change_is_the_same():
    """Sizes and names in a warning change all the time, and are no reason to log it again."""
    assert len(await logged((), (SLOT,), (SLOT._replace(detail="5 MB"),))) == 1


async def test_a_server_that_would_be_refused_is_an_error_once():
    """A server that loses what it acknowledges is logged as an error, also at the first look, and once."""
    refused = Misconfigured("fsync is off: set fsync = on")

    found = await logged(refused, refused, (LAGS,), refused)

    error = ("error", "store.server_unsuitable", "fsync is off: set fsync = on")
    assert found == [error, ("warning", "store.server_warning", "standbys"), error]


async def test_a_server_that_does_not_answer_changes_nothing():
    """During an outage nothing is logged here, and what was known before is known after it."""
    assert await logged((LAGS,), Unavailable("gone"), (LAGS,)) == []
