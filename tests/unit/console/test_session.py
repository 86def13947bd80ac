"""Texts that a browser keeps for us: only this installation reads them, for one purpose, for a while."""

import msgspec
import pytest

from aegis_stream.console.page import own_path
from aegis_stream.console.session import LONGEST_S, OPERATOR_S, Seals, Session
from support.api import FakeRandom

SESSION = Session("key", "key_1", 1, "org_abc", "token", 1000, 1000)


class Ring:
    """Master keys whose derived keys are their numbers, the newest first."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        return tuple(
            bytes([number, len(purpose)]).ljust(32, purpose[-1:].encode()) for number in self.numbers
        )


def seals(*numbers: int) -> Seals:
    """Return seals under these master keys."""
    return Seals(Ring(*numbers), FakeRandom())


def test_a_sealed_text_opens_again():
    """A session comes back as it was, also after a new master key has come."""
    text = seals(1).seal("session", SESSION)

    assert seals(1).open("session", text, Session) == SESSION
    assert seals(2, 1).open("session", text, Session) == SESSION


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "x",
        lambda text: "%%%",
        lambda text: text[:-4],
        lambda text: text[:30] + ("A" if text[30] != "A" else "B") + text[31:],
        lambda text: text + "A" * 5000,
        lambda text: "ü" + text,
    ],
    ids=["empty", "short", "no base64", "truncated", "changed", "long", "no ASCII"],
)
def test_another_text_opens_nothing(spoil):
    """A text that was changed in any way is no session, and no error."""
    assert seals(1).open("session", spoil(seals(1).seal("session", SESSION)), Session) is None


def test_a_text_opens_for_its_purpose_only():
    """A text for one purpose, of another installation, or of another shape opens nothing."""
    text = seals(1).seal("session", SESSION)

    assert seals(1).open("notice", text, Session) is None
    assert seals(2).open("session", text, Session) is None
    assert seals(1).open("session", text, msgspec.defstruct("Other", [("a", dict)])) is None


@pytest.mark.parametrize(
    ("kind", "began_s", "seen_s", "now_s", "over"),
    [
        ("key", 0, 0, 3600, False),
        ("key", 0, 0, 3601, True),
        ("key", 0, LONGEST_S, LONGEST_S, False),
        ("key", 0, LONGEST_S, LONGEST_S + 1, True),
        ("operator", 0, 0, OPERATOR_S, False),
        ("operator", 0, 0, OPERATOR_S + 1, True),
        ("key", 1000, 1000, 0, True),
    ],
)
def test_a_session_ends_by_its_age(kind, began_s, seen_s, now_s, over):
    """A session ends an hour after its last request, the operator's after half an hour, and each after twelve hours."""
    assert Session(kind, "x", 1, "org_abc", "t", began_s, seen_s).is_over(now_s) == over


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/console/o/org_a?x=1", "/console/o/org_a?x=1"),
        ("/console", "/console"),
        ("", ""),
        ("https://evil.example/console", ""),
        ("//evil.example", ""),
        ("/console//evil.example", ""),
        ("/console/\\evil", ""),
        ("/consolevil", ""),
        ("/console/\r\nx: y", ""),
        ("/docs", ""),
    ],
)
def test_only_a_page_of_ours_is_returned_to(asked, path):
    """After signing in the browser goes to a page of the console, and nowhere else."""
    assert own_path(asked) == path
