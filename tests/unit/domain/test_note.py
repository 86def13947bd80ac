"""Promises of `domain.note`: what the public formats say is read and written exactly, and nothing else is read at all."""

import base64
import contextlib
from hashlib import sha256

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.merkle import SIZE_MAX
from aegis_stream.domain.merkle_proof import HASHES_MAX
from aegis_stream.domain.note import (
    EXTRA_BYTES_MAX,
    NOTE_BYTES_MAX,
    SIGNATURES_MAX,
    VERIFIER_KEY_CHARACTERS_MAX,
    Checkpoint,
    Kind,
    LogProof,
    Note,
    Signature,
    Signed,
    VerifierKey,
    parse_checkpoint,
    parse_log_proof,
    parse_note,
    parse_verifier_key,
    sign_plain,
    sign_timed,
)
from aegis_stream.errors import Invalid, Malformed, TooLarge

EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
"""Key and note that the specification gives as an example."""
ROOT = sha256(b"root").digest()
CHECKPOINT = Checkpoint("audit.example.com/org_a", 20_852_163, ROOT)
NAME = "audit.example.com/org_a"
AT_S = 1_679_315_147


def check(public: bytes, signature: bytes, message: bytes) -> bool:
    """Check an Ed25519 signature."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Signer:
    """A key that signs."""

    def __init__(self, seed: bytes, name: str = NAME) -> None:
        private = Ed25519PrivateKey.from_private_bytes(seed)
        self.sign = private.sign
        self.plain = VerifierKey(name, Kind.PLAIN, private.public_key().public_bytes_raw())
        self.timed = self.plain._replace(kind=Kind.TIMED)

    def note(self, text: str = CHECKPOINT.text) -> Note:
        """Sign a text in both ways."""
        return Note(
            text, (sign_plain(text, self.plain, self.sign), sign_timed(text, self.timed, AT_S, self.sign))
        )


ALICE, EVE = Signer(b"a" * 32), Signer(b"e" * 32)


def test_the_specification_s_example_is_read_and_verified():
    """Key and note of the specification are read, written back alike, and the signature holds."""
    key, note = parse_verifier_key(EXAMPLE_KEY), parse_note(EXAMPLE_NOTE)

    assert key.name == "example.com/foo"
    assert key.text == EXAMPLE_KEY
    assert str(note) == EXAMPLE_NOTE
    assert note.signed_by([key], check) == (Signed(key, None),)


def test_a_checkpoint_signed_twice_is_read_back():
    """Text, sizes and both signatures survive; the timed one tells its second."""
    note = parse_note(str(ALICE.note()).encode())

    assert parse_checkpoint(note.text) == CHECKPOINT
    assert note.signed_by([ALICE.plain, ALICE.timed], check) == (
        Signed(ALICE.plain, None),
        Signed(ALICE.timed, AT_S),
    )
    assert note.signed_by([EVE.plain, EVE.timed], check) == ()
    assert CHECKPOINT.text == f"{NAME}\n20852163\n{base64.b64encode(ROOT).decode()}\n"


def test_a_timed_signature_is_over_the_specified_message():
    """The bytes that are signed are those of the specification: header, time, text."""
    signed = []

    one = sign_timed("log\n5\nroot\n", ALICE.timed, AT_S, lambda message: signed.append(message) or b"s" * 64)

    assert signed == [b"cosignature/v1\ntime 1679315147\nlog\n5\nroot\n"]
    assert one.value == AT_S.to_bytes(8, "big") + b"s" * 64
    assert one.key_id == sha256(NAME.encode() + b"\n\x04" + ALICE.timed.public).digest()[:4]


@pytest.mark.parametrize("place", range(2))
@pytest.mark.parametrize("at", [0, 8, 40, -1])
def test_one_changed_bit_of_a_signature_spoils_the_note(place, at):
    """A line that names a known key must hold, or nothing in the note counts."""
    note = ALICE.note()
    value = bytearray(note.signatures[place].value)
    value[at] ^= 1
    lines = list(note.signatures)
    lines[place] = lines[place]._replace(value=bytes(value))

    with pytest.raises(Invalid, match="is not that key's"):
        Note(note.text, tuple(lines)).signed_by([ALICE.plain, ALICE.timed], check)


def test_a_changed_text_spoils_the_note():
    """Another size under the same signatures is refused."""
    note = ALICE.note()

    with pytest.raises(Invalid):
        Note(note.text.replace("20852163", "20852162"), note.signatures).signed_by([ALICE.plain], check)


def test_another_key_under_the_same_name_is_not_the_known_one():
    """Name and id together say which key: a foreign key with the name is ignored, one with the id as well is refused."""
    forged = sign_plain(CHECKPOINT.text, EVE.plain, EVE.sign)
    collides = forged._replace(key_id=ALICE.plain.key_id)

    assert Note(CHECKPOINT.text, (forged,)).signed_by([ALICE.plain], check) == ()
    with pytest.raises(Invalid):
        Note(CHECKPOINT.text, (collides,)).signed_by([ALICE.plain], check)


def test_a_known_key_must_hold_wherever_its_line_stands():
    """Lines of unknown keys, before it or after it, hide neither a signature that holds nor one that does not."""
    unknown, known = EVE.note().signatures, ALICE.note().signatures
    forged = known[1]._replace(value=known[1].value[:-1] + b"x")

    note = Note(CHECKPOINT.text, (*unknown, known[0], *unknown, known[1]))
    assert note.signed_by([ALICE.plain, ALICE.timed], check) == (
        Signed(ALICE.plain, None),
        Signed(ALICE.timed, AT_S),
    )
    with pytest.raises(Invalid):
        Note(CHECKPOINT.text, (*unknown, known[0], forged)).signed_by([ALICE.plain, ALICE.timed], check)


def test_a_text_may_have_empty_lines():
    """The last empty line of a note is the one before its signatures."""
    note = ALICE.note("one\n\ntwo\n\n\nthree\n")

    assert parse_note(str(note)) == note


@pytest.mark.parametrize(
    "value",
    [b"", b"s" * 63, b"s" * 65, (1 << 63).to_bytes(8, "big") + b"s" * 64],
    ids=["empty", "short", "long", "time beyond 2**63"],
)
def test_signatures_of_another_length_do_not_hold(value):
    """A signature of another length, or with an impossible time, is refused without asking Ed25519."""
    for key in (ALICE.plain, ALICE.timed):
        note = Note(CHECKPOINT.text, (Signature(key.name, key.key_id, value),))
        with pytest.raises(Invalid):
            note.signed_by([key], lambda *_: len(value) != 72)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n\n",
        EXAMPLE_NOTE[:-1],
        EXAMPLE_NOTE + "\n",
        EXAMPLE_NOTE.replace("\n\n", "\n"),
        EXAMPLE_NOTE.replace("\u2014", "-"),
        EXAMPLE_NOTE.replace("\u2014 ", "\u2014"),
        EXAMPLE_NOTE.replace("example.com/foo ", ""),
        EXAMPLE_NOTE.replace("example.com/foo ", "example.com/ foo "),
        EXAMPLE_NOTE.replace("example.com/foo", "example.com+foo"),
        EXAMPLE_NOTE.replace("aQM=", "aQM"),
        EXAMPLE_NOTE.replace("aQM=", "aQN="),
        EXAMPLE_NOTE.replace("aQM=", "a-M="),
        EXAMPLE_NOTE.replace("This", "Th\ris"),
        EXAMPLE_NOTE.replace("This", "Th\0is"),
        EXAMPLE_NOTE.replace("This", "\tThis"),
        EXAMPLE_NOTE[:-1] + "x",
        "\u2014 name AAAAAAA=\n",
        "text\n\n\u2014 name AAAA\n",
        "text\n\n\u2014 name AAAAAA==\n",
        "text\n\n\u2014 name \n",
        b"\xff\n\n",
        "text\ud800\n\n",
    ],
)
def test_what_is_no_note_is_refused(text):
    """Nothing is repaired: every deviation from the format is refused."""
    with pytest.raises(Malformed):
        parse_note(text)


def test_notes_have_limits():
    """A note beyond its limits is refused before it costs anything."""
    line = "\u2014 name AAAAAAA=\n"

    assert len(parse_note("text\n\n" + line * SIGNATURES_MAX).signatures) == SIGNATURES_MAX
    with pytest.raises(TooLarge):
        parse_note("text\n\n" + line * (SIGNATURES_MAX + 1))
    with pytest.raises(TooLarge):
        parse_note(b"x" * (NOTE_BYTES_MAX + 1))
    signatures = "\n\n\u2014 name AAAAAAA=\n"
    longest = "x" * (NOTE_BYTES_MAX - len(signatures.encode()) + 2) + signatures
    assert len(longest) == NOTE_BYTES_MAX
    assert parse_note(longest).text.startswith("xx")
    with pytest.raises(TooLarge, match=f"a note has {NOTE_BYTES_MAX + 1} bytes"):
        parse_note("x" + longest)
    with pytest.raises(TooLarge, match=f"a proof has {NOTE_BYTES_MAX + 1} bytes"):
        parse_log_proof("x" * (NOTE_BYTES_MAX + 1))


def test_a_verifier_key_of_the_greatest_length_is_read():
    """A key of exactly as many characters as the limit is read, one of a character more is not."""
    key = ALICE.plain._replace(name="")
    key = key._replace(name="x" * (VERIFIER_KEY_CHARACTERS_MAX - len(key.text)))

    assert parse_verifier_key(key.text) == key
    assert parse_verifier_key(f"\n{key._replace(name='x').text} \n") == key._replace(name="x")
    with pytest.raises(Invalid, match="name\\+id\\+key"):
        parse_verifier_key(key._replace(name=f"{key.name}x").text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name+00000000",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        EXAMPLE_KEY.replace("530d903a", "530d903b"),
        EXAMPLE_KEY.replace("530d903a", "530D903A"),
        EXAMPLE_KEY.replace("foo", "fop"),
        EXAMPLE_KEY.replace("AekyeR", "BekyeR"),
        EXAMPLE_KEY[:-4],
        EXAMPLE_KEY.replace("example.com/foo", "example.com/ foo"),
        "x" * 2000 + EXAMPLE_KEY,
    ],
)
def test_what_is_no_verifier_key_is_refused(text):
    """A key that was cut, changed, or is of another kind is refused."""
    with pytest.raises(Invalid):
        parse_verifier_key(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n5\n",
        f"log\n05\n{'A' * 43}=\n",
        f"log\n-5\n{'A' * 43}=\n",
        f"log\n{1 << 41}\n{'A' * 43}=\n",
        f"log\n\u0665\n{'A' * 43}=\n",
        f"log\n{'9' * 5000}\n{'A' * 43}=\n",
        "log\n5\nAAAA\n",
        f"\n5\n{'A' * 43}=\n",
        f"log\n5\n{'A' * 43}=",
        f"log\n5\n{'A' * 43}=\n\nmore\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text):
    """A size with leading zeros or out of range, a root of another length, an empty line: none is read."""
    with pytest.raises(Malformed):
        parse_checkpoint(text)


def test_a_checkpoint_of_the_largest_log_is_read():
    """The largest size, and the smallest, are read; one more is not."""
    for size in (0, SIZE_MAX):
        largest = CHECKPOINT._replace(size=size)
        assert parse_checkpoint(largest.text) == largest
    with pytest.raises(Malformed, match=f"at most {SIZE_MAX}"):
        parse_checkpoint(CHECKPOINT._replace(size=SIZE_MAX + 1).text)


def test_a_time_of_the_greatest_number_holds():
    """A timed signature may carry any second that the format has a number for."""
    one = sign_timed(CHECKPOINT.text, ALICE.timed, (1 << 63) - 1, ALICE.sign)

    assert Note(CHECKPOINT.text, (one,)).signed_by([ALICE.timed], check) == (
        Signed(ALICE.timed, (1 << 63) - 1),
    )


def test_a_key_signs_in_its_own_way_only():
    """A key of one kind never makes a signature of the other: its id would say what it is not."""
    with pytest.raises(AssertionError):
        sign_plain(CHECKPOINT.text, ALICE.timed, ALICE.sign)
    with pytest.raises(AssertionError):
        sign_timed(CHECKPOINT.text, ALICE.plain, AT_S, ALICE.sign)


PROOF = LogProof(5, (ROOT,), ALICE.note(), b"x")


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (parse_verifier_key, EXAMPLE_KEY[:-1], "^the verifier key's last part is not base64"),
        (parse_verifier_key, EXAMPLE_KEY.replace("AekyeR", "BekyeR"), "only Ed25519 keys"),
        (parse_verifier_key, EXAMPLE_KEY.replace("foo", "fop"), "it was cut or changed$"),
        (parse_verifier_key, EXAMPLE_KEY[:-4], "^the verifier key has 29 bytes"),
        (parse_verifier_key, "+530d903a+AekyeRrm", "^the name of a key is neither empty"),
        (parse_note, "text\n", "^a signed note has an empty line"),
        (parse_note, "text\n\nname AAAAAAA=\n", "^a signature line is written"),
        (parse_note, "text\n\n\u2014 name AAAA\n", "^a signature is longer"),
        (parse_note, "text\n\n" + "-\n" * 65, "^a note has 65 signature lines; the limit is 64"),
        (parse_checkpoint, "log\n5\n", "^a checkpoint is three lines"),
        (parse_log_proof, "", "^a proof begins with the line c2sp"),
        (parse_note, b"\xff\n\n", "^a note is not UTF-8"),
        (parse_note, EXAMPLE_NOTE.replace("This", "\0"), "^a note has a control character"),
        (parse_note, EXAMPLE_NOTE.replace("aQM=", "aQM"), "^a signature is not base64"),
        (parse_checkpoint, CHECKPOINT.text.replace("2085", "x"), "^a checkpoint's size is a decimal"),
        (parse_checkpoint, "log\n5\nAAAA\n", "^a checkpoint's root has 3 bytes"),
        (parse_checkpoint, "log\n5\nAAA\n", "^a checkpoint's root is not base64"),
        (parse_log_proof, b"\xff\n\n", "^a proof is not UTF-8"),
        (parse_log_proof, PROOF.text.replace("eA==", "eA="), "^the proof's extra data is not base64"),
        (parse_log_proof, PROOF.text.replace("index 5", "index x"), "^a proof's index is a decimal"),
        (parse_log_proof, PROOF.text.replace("index 5", "index 5\nAAAA"), "^a proof's hash has 3 bytes"),
        (parse_log_proof, PROOF.text.replace("index 5\n", ""), "^a proof's index is missing"),
    ],
)
def test_an_error_says_which_part_is_wrong(read, text, says):
    """Who reads the message knows where in the text to look."""
    with pytest.raises(Invalid, match=says):
        read(text)


def test_further_lines_of_a_checkpoint_are_allowed():
    """A checkpoint of another log may have extension lines; they are ignored."""
    assert parse_checkpoint(CHECKPOINT.text + "extension\n") == CHECKPOINT


@given(
    st.integers(0, 1 << 40),
    st.lists(st.binary(min_size=32, max_size=32), max_size=41).map(tuple),
    st.none() | st.binary(min_size=1, max_size=100),
)
def test_a_proof_is_read_back(index, hashes, extra):
    """Index, hashes, checkpoint and extra data of a proof survive."""
    proof = LogProof(index, hashes, ALICE.note(), extra)

    assert parse_log_proof(proof.text.encode()) == proof


def test_a_proof_is_written_as_specified():
    """The lines of a proof are those of the specification, in its order."""
    text = LogProof(73_894, (ROOT,), ALICE.note()).text

    assert text.startswith(
        f"c2sp.org/tlog-proof@v1\nindex 73894\n{base64.b64encode(ROOT).decode()}\n\n{NAME}\n"
    )
    assert LogProof(0, (), ALICE.note(), b"x").text.startswith(
        "c2sp.org/tlog-proof@v1\nextra eA==\nindex 0\n\n"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tlog-proof@v1", "tlog-proof@v2"),
        ("index 5\n", ""),
        ("index 5", "index 05"),
        ("index 5", "index -5"),
        ("index 5\n", "index 5\nindex 5\n"),
        ("index 5\n", "index 5\nextra eA==\n"),
        ("index 5\n", "extra =\nindex 5\n"),
        ("index 5\n", "index 5\nAAAA\n"),
        ("index 5\n", "index 5\n" + (base64.b64encode(ROOT).decode() + "\n") * 60),
        ("\n\n", "\n"),
    ],
)
def test_what_is_no_proof_is_refused(old, new):
    """Every deviation from the format is refused."""
    text = LogProof(5, (ROOT,), ALICE.note()).text
    assert old in text

    with pytest.raises(Malformed):
        parse_log_proof(text.replace(old, new, 1) if old != "\n\n" else text.replace(old, new))


def test_a_proof_of_the_largest_size_is_read():
    """As many hashes and as much extra data as the limits say are read, one more is not."""
    largest = LogProof(5, (ROOT,) * HASHES_MAX, ALICE.note(), b"x" * EXTRA_BYTES_MAX)

    assert parse_log_proof(largest.text) == largest
    with pytest.raises(Malformed, match=f"has {HASHES_MAX + 1} hashes"):
        parse_log_proof(largest._replace(hashes=(ROOT,) * (HASHES_MAX + 1)).text)
    with pytest.raises(TooLarge, match=f"has {EXTRA_BYTES_MAX + 1} bytes"):
        parse_log_proof(largest._replace(extra=b"x" * (EXTRA_BYTES_MAX + 1)).text)


@given(st.text() | st.binary())
def test_nothing_crashes_a_reader(data):
    """Any text or bytes give a value or one of our errors."""
    for read in (parse_note, parse_log_proof):
        with contextlib.suppress(Invalid):
            read(data)
    if isinstance(data, str):
        for read_text in (parse_checkpoint, parse_verifier_key):
            with contextlib.suppress(Invalid):
                read_text(data)
