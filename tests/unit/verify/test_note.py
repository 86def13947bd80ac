"""Promises of the reading of signed notes: known answers, strictness, and which keys signed."""

import base64

import pytest

from aegis_stream.verify.note import Malformed, Note, open_note, read_key, read_note
from support.proof_log import ProofLog, Signer

EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_SIGNATURE = (
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
)
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def a_note():
    """Return a log with one signed note."""
    log = ProofLog().events(5)
    return log, log.note(5)


def test_the_example_of_the_specification():
    """The note of c2sp.org/signed-note is signed by its key; with one letter changed its signature is wrong."""
    key = read_key(EXAMPLE_KEY)
    data = base64.b64decode(EXAMPLE_SIGNATURE)
    note = Note("", 0, b"", "This is an example message.\n", ((key.name, data[:4], data[4:]),))

    assert open_note(note, [key]).keys == (key,)
    changed = open_note(note._replace(text="This is an exbmple message.\n"), [key])
    assert (changed.keys, changed.wrong) == ((), True)


def test_keys_are_read_strictly():
    """A key is accepted only with its own hash and of type Ed25519."""
    assert read_key(GO_KEY).name == "PeterNeumann"
    assert read_key(f" {EXAMPLE_KEY}\n").text == EXAMPLE_KEY
    for text in (
        EXAMPLE_KEY.replace("530d903a", "530d903b"),
        EXAMPLE_KEY.replace("example.com/foo", "example.com/fop"),
        "example.com/foo+530d903a+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
        "example.com/foo+530d903a",
        "example.com/foo",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "",
    ):
        with pytest.raises(Malformed):
            read_key(text)


def test_a_checkpoint_says_size_root_and_time():
    """Both signatures of a checkpoint are checked, and the cosignature tells its time."""
    log, text = a_note()

    note = read_note(text)
    opened = open_note(note, [read_key(log.vkey)])

    assert (note.origin, note.size) == (log.origin, 5)
    assert opened.keys == (read_key(log.vkey),)
    assert opened.time_s == int(log.now.timestamp())
    assert not opened.wrong


def test_an_unknown_key_is_passed_over():
    """A signature by a key that was not asked for says nothing: neither right nor wrong."""
    _, text = a_note()
    other = Signer("audit.example.com/org_abc", b"\x08")

    opened = open_note(read_note(text), [read_key(other.vkey)])

    assert opened == ((), False, None)


def test_a_wrong_time_is_a_wrong_signature():
    """The time of a cosignature is signed: changed, it is not believed."""
    log, text = a_note()
    head, line, rest = text.partition(f"\u2014 {log.origin} ")
    lines = (line + rest).splitlines(keepends=True)
    data = bytearray(base64.b64decode(lines[1].split(" ")[2]))
    data[11] ^= 1
    lines[1] = f"\u2014 {log.origin} {base64.b64encode(data).decode()}\n"

    opened = open_note(read_note(head + "".join(lines)), [read_key(log.vkey)])

    assert (opened.time_s, opened.wrong) == (None, True)


def changes():
    """Yield changes to a note after which it is none."""
    _, text = a_note()
    yield text[:-1]
    yield text.replace("\n\n", "\n")
    yield text.replace("\n5\n", "\n05\n")
    yield text.replace("\n5\n", "\n-5\n")
    yield text.replace("\n5\n", "\n+5\n")
    yield text.replace("\n5\n", "\n\u0665\n")
    yield text.replace("\n5\n", "\n1099511627777\n")
    yield text.replace("\n5\n", "\n" + "9" * 5000 + "\n")
    yield text.replace("\n5\n", "\n\n")
    yield text.replace("\n", "\r\n")
    yield text + "\n"
    yield text + "not a signature\n"
    yield text.replace("\u2014", "-")
    yield text + "\u2014 name\n"
    yield text + "\u2014 na+me AAAAAAAA\n"
    yield text + "\u2014 name AAAA\n"
    yield text + "\u2014 name \u00e4\n"
    yield text + "\u2014 name AAAAAAAA\n" * 64
    yield text.replace("audit", "a\x1bdit")
    yield (
        text.partition("\n")[0]
        + "\n5\n"
        + base64.b64encode(bytes(31)).decode()
        + "\n"
        + text[text.index("\n\n") :]
    )
    yield "x" * 70_000
    yield ""


@pytest.mark.parametrize("text", list(changes()))
def test_what_is_no_checkpoint_is_refused(text):
    """Each of these texts is no checkpoint, and the reason is told."""
    with pytest.raises(Malformed, match=r"\w{3}"):
        read_note(text)


def test_namesakes_of_a_key_do_not_hide_it():
    """Two keys with one name and one id: a signature is right if either made it."""
    log, text = a_note()
    key = read_key(log.vkey)
    note = read_note(text)
    namesake = key._replace(public_key=b"\x01" + key.public_key[1:])

    opened = open_note(note, [namesake, key])

    assert opened.keys == (key,)
