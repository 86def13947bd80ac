"""docs/how-to/prove-completeness.md explains every line that the verifier can print."""

import re

from support.docs import SOURCE, read

PAGE = "docs/how-to/prove-completeness.md"


def test_every_line_of_a_report_is_explained():
    """Each word that begins a line of the report stands in the table that says what to do then."""
    source = (SOURCE / "verify" / "report.py").read_text(encoding="utf-8")
    titles = set(re.findall(r'_rows\(\s*"([^"]+)"', source))
    titles |= set(re.findall(r'f?"  ([A-Za-z]+(?: by)?) {2,}', source))
    table = read(PAGE).partition("## What each line means")[2].partition("\n## ")[0]
    cells = " ".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))

    assert {"MISSING", "signed by", "behind", "verdict"} <= titles
    assert sorted(one for one in titles - {"verdict"} if f"`{one}" not in cells) == []
