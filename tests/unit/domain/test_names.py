"""Promises of `domain.names`: what a list or a log shows as a name is what a person typed."""

import pytest

from aegis_stream.domain.names import NAME_CHARACTERS_MAX, check_name, is_name
from aegis_stream.errors import Invalid

HOSTILE = ["\x1b]0;owned\x07", "\x1b[2J", "a\r\nb", "a\tb", "a\0b", "a\x7fb", "a\u0085b", "a\u009bb", "a\u2028b", "a\u2029b", "a\u202eb", "a\u200bb", "a\ufeffb", "\ud800", "x" * (NAME_CHARACTERS_MAX + 1)]  # fmt: skip


@pytest.mark.parametrize("text", ["", "Acme", "Łódź 東京 😀", "x" * NAME_CHARACTERS_MAX, "<b>&'\""])
def test_a_printable_text_is_a_name(text):
    """Any printable text up to the limit is a name, in any script."""
    assert is_name(text)
    check_name(text)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_a_terminal_obeys_is_no_name(text):
    """Control characters, line breaks, characters that change the direction or are invisible, and long texts are rejected, unrepeated."""
    assert not is_name(text)
    with pytest.raises(Invalid) as caught:
        check_name(text)
    advice = f"must be at most {NAME_CHARACTERS_MAX} printable characters: no line breaks"
    assert caught.value.problems[0].field == "name"
    assert advice in caught.value.problems[0].message
    assert f"name {advice}" in str(caught.value)
    assert text not in str(caught.value)
