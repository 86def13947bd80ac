"""Promises of the vault: what is sealed opens in its own place with its own key, and nowhere else."""

import base64
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.vault import Vault, decode_master_key, read_or_make_master_key
from support.api import FakeDice

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SECRET, CONTEXT = "Bearer c4n4ry-t0ken", "dst_1|auth_header_value"


def make_vault(key: bytes = KEY) -> Vault:
    """Build a vault."""
    return Vault(key, FakeDice())


@settings(deadline=None)
@given(secret=st.text(max_size=200), context=st.text(max_size=60))
def test_opens_what_it_sealed(secret, context):
    """Any secret comes back, from another vault with the same key as well."""
    assert make_vault().open(make_vault().seal(secret, context), context) == secret


def test_the_record_does_not_show_the_secret():
    """Neither secret nor context nor master key stand in the record."""
    sealed = make_vault().seal(SECRET, CONTEXT)

    assert b"c4n4ry" not in sealed
    assert b"dst_1" not in sealed
    assert KEY[:8] not in sealed


def test_the_same_secret_is_sealed_otherwise_each_time():
    """Two records of one secret have nothing in common but version and key id, so that equal secrets cannot be told."""
    vault = make_vault()

    one, other = vault.seal(SECRET, CONTEXT), vault.seal(SECRET, CONTEXT)

    assert one[:5] == other[:5]
    assert one[5:17] != other[5:17]
    assert one[-20:] != other[-20:]


@pytest.mark.parametrize("context", ["", "dst_2|auth_header_value", "dst_1|url", CONTEXT + " "])
def test_fails_closed_in_another_place(context):
    """A record that was moved to another row or field does not open, and the error names no secret."""
    sealed = make_vault().seal(SECRET, CONTEXT)

    with pytest.raises(Unavailable) as caught:
        make_vault().open(sealed, context)
    assert caught.value.code == "sealed-record-damaged"
    assert "c4n4ry" not in str(caught.value)


def test_another_master_key_is_named():
    """A record of another master key is told apart from a damaged one, with the way out."""
    sealed = make_vault(OTHER_KEY).seal(SECRET, CONTEXT)

    with pytest.raises(Unavailable, match="AEGIS_MASTER_KEY") as caught:
        make_vault().open(sealed, CONTEXT)
    assert caught.value.code == "wrong-master-key"


def test_a_forged_key_id_does_not_help():
    """A record of another master key does not open when its key id is exchanged for ours."""
    vault, sealed = make_vault(), make_vault(OTHER_KEY).seal(SECRET, CONTEXT)

    with pytest.raises(Unavailable):
        vault.open(sealed[:1] + vault.key_id + sealed[5:], CONTEXT)


@settings(deadline=None)
@given(at=st.integers(0, 10_000), bits=st.integers(1, 255))
def test_a_damaged_byte_is_noticed_wherever_it_is(at, bits):
    """A record with any byte changed does not open."""
    sealed = bytearray(make_vault().seal(SECRET, CONTEXT))
    sealed[at % len(sealed)] ^= bits

    with pytest.raises(Unavailable):
        make_vault().open(bytes(sealed), CONTEXT)


def test_a_record_cut_anywhere_is_noticed():
    """A record that lost its end, or got more bytes, does not open, and raises nothing but Unavailable."""
    sealed = make_vault().seal(SECRET, CONTEXT)

    for record in [sealed[:length] for length in range(len(sealed))] + [sealed + b"\0"]:
        with pytest.raises(Unavailable):
            make_vault().open(record, CONTEXT)


@settings(deadline=None)
@given(st.binary(max_size=150))
def test_any_bytes_fail_closed(record):
    """Whatever lies in the store, opening it is an Unavailable at worst."""
    for sealed in (record, b"\x01" + make_vault().key_id + record):
        with pytest.raises(Unavailable):
            make_vault().open(sealed, CONTEXT)


def test_wrapped_keys_cannot_be_exchanged_between_records():
    """The data key of one record does not open the ciphertext of another."""
    vault = make_vault()
    one, other = vault.seal("one", CONTEXT), vault.seal("two", CONTEXT)

    with pytest.raises(Unavailable):
        vault.open(one[:65] + other[65:], CONTEXT)


def test_the_key_is_not_in_the_repr():
    """A vault that ends up in a traceback does not show its key."""
    assert repr(KEY) not in repr(make_vault())


# ── the master key ──


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(b"\xff" * 32).decode(),
        base64.b64encode(b"\xff" * 32).decode().rstrip("="),
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        "  " + base64.b64encode(b"\xff" * 32).decode() + "\n",
    ],
    ids=["plain", "unpadded", "URL-safe", "blanks around"],
)
def test_reads_a_master_key(text):
    """A key is 32 bytes in base64 of either alphabet, with or without padding."""
    assert decode_master_key(text, "AEGIS_MASTER_KEY") == b"\xff" * 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c4n4ry",
        "c4n4ry-é",
        base64.b64encode(b"x" * 31).decode(),
        base64.b64encode(b"x" * 33).decode(),
        "c4" * 32,
    ],
    ids=ascii,
)
def test_refuses_what_is_no_master_key(text):
    """Anything else is refused by the setting's name, with the command that makes one, and is not repeated."""
    with pytest.raises(Misconfigured, match="AEGIS_MASTER_KEY") as caught:
        decode_master_key(text, "AEGIS_MASTER_KEY")
    assert "openssl rand -base64 32" in str(caught.value)
    assert not text or text not in str(caught.value)


def test_refuses_a_master_key_with_stray_characters():
    """A key with characters that base64 does not have is refused: they would be dropped, and another key be used."""
    text = base64.b64encode(KEY).decode()

    with pytest.raises(Misconfigured):
        decode_master_key(text[:10] + "!*?" + text[10:], "AEGIS_MASTER_KEY")


def test_makes_the_master_key_file_once(tmp_path):
    """The file is made for its owner alone, and read from then on."""
    path = tmp_path / "master.key"

    key, made = read_or_make_master_key(path, FakeDice())
    again, made_again = read_or_make_master_key(path, FakeDice())

    assert (len(key), made) == (32, True)
    assert (again, made_again) == (key, False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_refuses_a_master_key_file_that_others_can_touch(tmp_path, mode):
    """A file that others may read or write is refused, with the command that mends it."""
    path = tmp_path / "master.key"
    read_or_make_master_key(path, FakeDice())
    path.chmod(mode)

    with pytest.raises(Misconfigured, match="chmod 600"):
        read_or_make_master_key(path, FakeDice())


def test_refuses_a_master_key_file_without_a_key(tmp_path):
    """A file that holds no key is refused by its path."""
    path = tmp_path / "master.key"
    path.touch(mode=0o600)

    with pytest.raises(Misconfigured, match=r"master\.key"):
        read_or_make_master_key(path, FakeDice())
