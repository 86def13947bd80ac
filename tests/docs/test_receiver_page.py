"""The page about receivers and the package say the same."""

import re

import aegis_stream.receiver as package
from support.docs import read


def test_the_example_on_the_documentation_page_works():
    """The Python code of docs/how-to/receiver.md runs, and the names its prose mentions exist."""
    page = read("docs/how-to/receiver.md")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)

    assert names["asgi"].intake.verifier is names["verifier"]
    mentioned = set(re.findall(r"`([A-Z][a-z]\w+)\b", page)) - {"ReceiverOptions"}
    assert {"Verifier", "Inbox", "BusyError"} <= mentioned <= set(package.__all__)
