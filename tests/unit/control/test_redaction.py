"""Promises about what is shown of an answer to a test: in no spelling a secret of ours, and ordinary errors in full."""

import base64
import codecs
import gzip
import html
import json
import quopri
import random
import string
from urllib.parse import quote

import pytest

from aegis_stream.control import spellings
from aegis_stream.control.redaction import NOT_SHOWN, redact
from aegis_stream.control.spellings import _READINGS_MAX, _readings, repeats
from aegis_stream.domain.destination import DestinationSpec

SECRET = "k7/Xq+9w/Zt=3v/Lm+2p/Rb=8s/Yd+4f/Gh=6j"
VALUE = f"Bearer {SECRET}"
SPELLINGS = {
    "as it is": lambda text: text,
    "capitals": str.upper,
    "JSON with slashes escaped": lambda text: json.dumps({"h": text}).replace("/", "\\/"),
    "JSON with unicode escapes": lambda text: "".join(f"\\u{ord(one):04x}" for one in text),
    "JavaScript escapes": lambda text: "".join(f"\\x{ord(one):02X}" for one in text),
    "octal escapes": lambda text: "".join(f"\\{ord(one):03o}" for one in text),
    "HTML, what is no letter": lambda text: "".join(one if one.isalnum() else f"&#{ord(one)};" for one in text),
    "HTML, hexadecimal": lambda text: "".join(f"&#x{ord(one):x};" for one in text),
    "HTML names": html.escape,
    "URL": lambda text: quote(text, safe=""),
    "URL, every character": lambda text: "".join(f"%{one:02x}" for one in text.encode()),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 within headers": lambda text: base64.b64encode(f"Host: x\r\nAuthorization: {text}\r\n".encode()).decode(),
    "base64 in lines": lambda text: base64.encodebytes(f"Accept: */*\r\nAuthorization: {text}\r\nHost: x".encode()).decode(),
    "base64 in pieces": lambda text: json.dumps([base64.b64encode(text[at : at + 9].encode()).decode() for at in range(0, len(text), 9)]),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "base85": lambda text: base64.b85encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "hex with colons": lambda text: text.encode().hex(":").upper(),
    "hex with blanks": lambda text: text.encode().hex(" "),
    "hex digits with blanks": lambda text: " ".join(text.encode().hex()),
    "numbers": lambda text: json.dumps(list(text.encode())),
    "octal numbers": lambda text: " ".join(f"{one:o}" for one in text.encode()),
    "bits": lambda text: " ".join(f"{one:08b}" for one in text.encode()),
    "quoted-printable": lambda text: quopri.encodestring(text.encode(), quotetabs=True).decode(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "backwards": lambda text: text[::-1],
    "one letter a line": "\n".join,
    "dashes between": "-".join,
    "UTF-16": "\0".join,
    "wide letters": lambda text: "".join(chr(ord(one) + 0xFEE0) if one.isalnum() else one for one in text),
    "pieces in JSON": lambda text: json.dumps([text[at : at + 5] for at in range(0, len(text), 5)]),
    "pieces among words": lambda text: " and ".join(text[at : at + 6] for at in range(0, len(text), 6)),
    "the end only": lambda text: f"token ...{text[-14:]} is unknown",
}  # fmt: skip
ORDINARY = [
    '{"text":"Invalid token","code":4}',
    "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502</h1></center>nginx/1.25.3</body></html>",
    '{"error":{"root_cause":[{"type":"security_exception","reason":"unable to authenticate user [elastic] for REST request"}],"status":401}}',
    "2026-05-15T10:33:21.456789Z request 3f2504e0-4f89-41d3-9a0c-0305e82c3301 was rejected: missing field `timestamp`",
    '[{"status":400,"error":"event is missing data"},{"status":202}]',
    "Bearer realm=splunk, error=invalid_token",
]


def spec(**changes: object) -> DestinationSpec:
    """A destination with the secret in its auth header."""
    fields = {
        "url": "https://hook.example/in",
        "auth_header_name": "Authorization",
        "auth_header_value": VALUE,
    }
    return DestinationSpec(**(fields | changes))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("frame", ["{}", "error: {} (see the log)", '{{"headers":{{"authorization":"{}"}}}}'])
def test_no_spelling_of_a_credential_is_shown(spelling, frame):
    """An echo of the credential, in whatever encoding or pieces, shows no six characters of it in a row."""
    text = frame.format(SPELLINGS[spelling](VALUE))

    shown = redact(text, spec())

    if spelling == "as it is":
        assert SECRET not in shown
    else:
        assert "****" in shown or shown == NOT_SHOWN
    assert not repeats(shown, [VALUE])
    assert not any(SECRET[at : at + 6] in shown for at in range(len(SECRET) - 5))


LOSSY = {"capitals", "the end only", "pieces among words"}
"""What cannot go around an encoding: it has lost too much of it."""


@pytest.mark.parametrize("outer", sorted(set(SPELLINGS) - LOSSY))
@pytest.mark.parametrize(
    "inner", ["base64", "hex", "URL", "backwards", "base64 within headers", "JSON with slashes escaped"]
)
def test_an_encoding_around_another_is_read(inner, outer):
    """A credential in one encoding inside another is found, too."""
    assert repeats(SPELLINGS[outer](SPELLINGS[inner](VALUE)), [VALUE])


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_errors_are_shown(text):
    """Errors as receivers write them are shown as they are."""
    assert redact(text, spec()) == text


def test_a_secret_in_the_url_is_found_in_other_spellings():
    """The secret path of a URL is protected like a credential."""
    path = "ZaVnC4dhaV3Dqr2pT8w"
    one = spec(
        url=f"https://hook.example/receiver/v1/http/{path}", auth_header_name=None, auth_header_value=None
    )

    for spelling in ("base64", "hex", "backwards", "URL, every character"):
        assert redact(f"at {SPELLINGS[spelling](path)}", one) == NOT_SHOWN


def test_user_and_password_are_found_within_basic():
    """Of Basic authentication, the password is protected by itself."""
    value = "Basic " + base64.b64encode(b"ada:correct-horse-9").decode()

    assert redact("esroh-tcerroc", spec(auth_header_value=value)) == NOT_SHOWN
    assert redact("63 6f 72 72 65 63 74 2d 68 6f 72 73 65", spec(auth_header_value=value)) == NOT_SHOWN


def test_what_only_looks_like_a_secret_is_hidden():
    """A long text of capitals, small letters and digits may be a secret in an encoding that nobody knows."""
    unknown = base64.b64encode(gzip.compress(VALUE.encode(), mtime=0)).decode()

    assert redact(f"got {unknown}", spec()).startswith("got ****")


@pytest.mark.parametrize(
    "alphabet", [string.hexdigits, "01 ", string.ascii_uppercase, string.printable, "%25", "\\u0041&#;="]
)
def test_the_work_is_bounded(alphabet):
    """However a text is made to look encoded, it has a bounded number of readings."""
    chance = random.Random(1)
    text = "".join(chance.choice(alphabet) for _ in range(1000))

    assert len(list(_readings(text))) <= _READINGS_MAX


def test_nothing_is_decoded_beyond_the_last_reading(monkeypatch):
    """A text with more readings than are looked at costs no decoding of those that are not."""
    decoded = []

    def ten(text: str) -> list[str]:
        decoded.append(text)
        return [f"{text}{digit}" for digit in range(10)]

    monkeypatch.setattr(spellings, "_DECODERS", (ten,))
    found = list(_readings("x"))

    assert len(found) == len(set(found)) == _READINGS_MAX
    assert len(decoded) == 13
