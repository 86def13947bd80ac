"""Promises about the use cases as a whole: nothing changes beside the one mechanism that records it."""

import ast
from pathlib import Path

import aegis_stream.control

FOLDER = Path(aegis_stream.control.__file__).parent
WRITES = {"write", "write_now", "submit"}


def test_every_change_goes_through_the_mechanism_that_records_it():
    """Only `perform` writes to the database.

    Five exceptions: a new organization, whose log begins with its own events; the times at which keys were used, which nobody
    changes on purpose; the operator's console links, which belong to no organization; seals; and
    requests to seal now, which change nothing but the time of a seal.
    """
    writing = {
        path.name
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in WRITES
    }

    assert writing == {
        "audit.py",
        "console_links.py",
        "key_uses.py",
        "organizations.py",
        "seal_request.py",
        "sealing.py",
    }
