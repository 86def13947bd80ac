"""A form that arrived after its session had ended: kept until its sender has signed in again; no I/O.

The page that asks for the key holds the form sealed in one hidden field: nothing of it, and no secret in it, is readable in the
page, and nobody but this installation can make or change one. It says for which path it is, and is taken for no other. After
the sign-in nothing is sent by itself: the person presses a button, so that a form of somebody else's at this browser is seen first.
Kept is only what our own page sent; another site cannot have a form kept by making the browser send it.
"""

import msgspec

from .forms import Form
from .session import Seals

HELD_S = 3600
"""How long a form is kept, seconds."""
HELD_BYTES_MAX = 300_000
"""Largest form that is kept, bytes; with it sealed, the next one has half as much again."""
HELD_CHARACTERS_MAX = 800_000
"""Longest sealed form that is opened, characters."""
NAME = "held"
"""The field that holds it."""
_PURPOSE = "held form"


class HeldForm(msgspec.Struct, frozen=True):
    """A form and where it was sent.

    Args:
        path: of this console, without a query.
        made_s: when it was kept, seconds since 1970.
        fields: its values by name, without the token of the session that has ended.
    """

    path: str
    made_s: int
    fields: dict[str, list[str]]


def hold(seals: Seals, path: str, form: Form, now_s: int) -> str:
    """Return a form as a text that only this installation reads."""
    fields = {name: list(values) for name, values in form.fields.items() if name not in ("csrf", NAME)}
    return seals.seal(_PURPOSE, HeldForm(path, now_s, fields))


def opened(seals: Seals, text: str, now_s: int) -> HeldForm | None:
    """Return the form of such a text; None for anything else, and for one that is too old."""
    held = seals.open(_PURPOSE, text, HeldForm, HELD_CHARACTERS_MAX)
    return held if held is not None and now_s - held.made_s <= HELD_S else None


def unpacked(seals: Seals, path: str, form: Form, now_s: int) -> Form | None:
    """Return what a form holds: itself, or the kept one with the token of the session that sends it now.

    Returns: None if the kept one is too old, or belongs to another path.
    """
    if not form.has(NAME):
        return form
    held = opened(seals, form.raw(NAME), now_s)
    return Form(held.fields | {"csrf": form.all("csrf")}) if held is not None and held.path == path else None
