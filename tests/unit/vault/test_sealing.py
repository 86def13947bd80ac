"""Promises of the vault: a sealed secret can be opened only in its own place with its own key."""

import contextlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.ports import Place
from aegis_stream.vault import GivenKeys, MasterKey, Vault
from support.api import FakeRandom

KEY, OTHER_KEY = MasterKey(bytes(range(32))), MasterKey(bytes(range(1, 33)))
SECRET, PLACE = "Bearer c4n4ry-t0ken", Place("org_1", "dst_1", "auth_header_value", "siem.example")
UNBOUND = PLACE._replace(audience="")


def make_vault(*ring: MasterKey, **values) -> Vault:
    """Build a vault."""
    return Vault(GivenKeys(ring or (KEY,)), FakeRandom(), **values)


def seal_as_version_one(secret: str, key: MasterKey = KEY, place: Place = PLACE) -> bytes:
    """Seal a secret as the version did that bound records to destination and field alone."""
    bound = f"{place.dst_id}|{place.field}".encode()
    data_key, outer, inner = b"d" * 32, b"o" * 12, b"i" * 12
    wrapped = AESGCM(key.secret).encrypt(outer, data_key, bound)
    return (
        b"\x01"
        + key.key_id
        + outer
        + wrapped
        + inner
        + AESGCM(data_key).encrypt(inner, secret.encode(), bound)
    )


class ChangingKeys:
    """A place of keys that can be changed under the running process."""

    setting = "keys of a test"

    def __init__(self, *ring: MasterKey) -> None:
        self.ring, self.reads, self.gone = ring, 0, False

    def read(self) -> tuple[MasterKey, ...]:
        """Return the ring as it is now."""
        self.reads += 1
        if self.gone:
            raise Misconfigured("the file cannot be read")
        return self.ring


@settings(deadline=None)
@given(secret=st.text(max_size=200), org=st.text(max_size=60), field=st.text(max_size=60))
def test_opens_what_it_sealed(secret, org, field):
    """Any secret can be opened again, also by another vault with the same key."""
    place = Place(org, "dst_1", field)

    assert make_vault().open(make_vault().seal(secret, place), place) == secret


def test_the_record_does_not_show_the_secret():
    """The record contains neither secret nor place nor master key."""
    sealed = make_vault().seal(SECRET, PLACE)

    assert b"c4n4ry" not in sealed
    assert b"dst_1" not in sealed
    assert KEY.secret[:8] not in sealed


def test_the_same_secret_is_sealed_otherwise_each_time():
    """Two records of the same secret share only version and key id, so that equal secrets cannot be recognised."""
    vault = make_vault()

    one, other = vault.seal(SECRET, PLACE), vault.seal(SECRET, PLACE)

    assert one[:5] == other[:5] == vault.stamp(KEY.key_id)
    assert one[5:17] != other[5:17]
    assert one[-20:] != other[-20:]


@pytest.mark.parametrize(
    "place",
    [
        Place("", "", ""),
        PLACE._replace(org_id="org_2"),
        PLACE._replace(dst_id="dst_2"),
        PLACE._replace(audience="evil.example"),
        PLACE._replace(audience=""),
        PLACE._replace(field="url"),
        Place("org_1|dst_1", "auth_header_value", ""),
        Place("", "dst_1", "auth_header_value"),
    ],
    ids=str,
)
def test_fails_closed_in_another_place(place):
    """A record that is moved to another organization, destination or field cannot be opened, and the error names no secret."""
    sealed = make_vault().seal(SECRET, PLACE)

    with pytest.raises(Unavailable) as caught:
        make_vault().open(sealed, place)
    assert caught.value.code == "sealed-record-damaged"
    assert "c4n4ry" not in str(caught.value)


def test_a_missing_key_is_named():
    """A record of a missing master key has another error than a damaged one, with the fix."""
    sealed = make_vault(OTHER_KEY).seal(SECRET, PLACE)

    with pytest.raises(Unavailable, match="AEGIS_MASTER_KEY") as caught:
        make_vault().open(sealed, PLACE)
    assert caught.value.code == "wrong-master-key"


def test_a_forged_key_id_does_not_help():
    """A record of another master key cannot be opened even if its key id is replaced with ours."""
    sealed = make_vault(OTHER_KEY).seal(SECRET, PLACE)

    with pytest.raises(Unavailable):
        make_vault().open(sealed[:1] + KEY.key_id + sealed[5:], PLACE)


@settings(deadline=None)
@given(at=st.integers(0, 10_000), bits=st.integers(1, 255))
def test_a_damaged_byte_is_noticed_wherever_it_is(at, bits):
    """A record with any changed byte cannot be opened, including version and key id."""
    sealed = bytearray(make_vault().seal(SECRET, PLACE))
    sealed[at % len(sealed)] ^= bits

    with pytest.raises(Unavailable):
        make_vault().open(bytes(sealed), PLACE)


def test_a_record_cut_anywhere_is_noticed():
    """A record that lost its end, or got more bytes, does not open, and raises nothing but Unavailable."""
    sealed = make_vault().seal(SECRET, PLACE)

    for record in [sealed[:length] for length in range(len(sealed))] + [sealed + b"\0"]:
        with pytest.raises(Unavailable):
            make_vault().open(record, PLACE)


@settings(deadline=None)
@given(st.binary(max_size=150))
def test_any_bytes_fail_closed(record):
    """Opening any bytes raises at most Unavailable."""
    for sealed in (record, b"\x01" + KEY.key_id + record, b"\x02" + KEY.key_id + record):
        with pytest.raises(Unavailable):
            make_vault().open(sealed, PLACE)


def test_wrapped_keys_cannot_be_exchanged_between_records():
    """The data key of one record cannot open the ciphertext of another."""
    vault = make_vault()
    one, other = vault.seal("one", PLACE), vault.seal("two", PLACE)

    with pytest.raises(Unavailable):
        vault.open(one[:65] + other[65:], PLACE)


def test_the_key_is_not_in_the_repr():
    """A vault that ends up in a traceback does not show its keys."""
    shown = repr(make_vault(KEY, OTHER_KEY)) + repr(make_vault().keys)

    assert not any(repr(one.secret)[2:20] in shown for one in (KEY, OTHER_KEY))


# ── the version before ──


def test_opens_records_of_version_one():
    """A record of the previous version can be opened, only for its destination and field."""
    sealed = seal_as_version_one(SECRET)

    assert make_vault().open(sealed, UNBOUND) == SECRET
    for place in (UNBOUND._replace(dst_id="dst_2"), UNBOUND._replace(field="url")):
        with pytest.raises(Unavailable):
            make_vault().open(sealed, place)


@pytest.mark.parametrize("seal", [seal_as_version_one, lambda secret: make_vault().seal(secret, UNBOUND)])
def test_a_record_without_audience_is_accepted_only_where_it_may_be(seal):
    """A record of an earlier version opens in a place with an audience only if the caller accepts that; a current one needs it."""
    vault = make_vault()
    old, current = seal(SECRET), vault.seal(SECRET, PLACE)

    assert (vault.is_bound(old), vault.is_bound(current)) == (False, True)
    assert vault.open(old, PLACE, unbound=True) == SECRET
    with pytest.raises(Unavailable):
        vault.open(old, PLACE)
    with pytest.raises(Unavailable):
        vault.open(current, PLACE._replace(audience="evil.example"), unbound=True)


@pytest.mark.parametrize("version", [b"\x01", b"\x02"])
def test_a_record_cannot_be_taken_back_to_a_version_without_audience(version):
    """A current record with an earlier version's byte cannot be opened; otherwise its audience would not be checked."""
    sealed = make_vault().seal(SECRET, PLACE)

    for place in (PLACE, UNBOUND, UNBOUND._replace(field=f"{PLACE.field}|{PLACE.audience}")):
        with pytest.raises(Unavailable):
            make_vault().open(version + sealed[1:], place, unbound=True)


def test_a_record_cannot_be_taken_back_to_version_one():
    """A current record with the previous version's byte cannot be opened; otherwise its organization would not be checked."""
    sealed = make_vault().seal(SECRET, PLACE)

    alike = Place(
        "", f"{PLACE.org_id}|{PLACE.dst_id}", PLACE.field
    )  # what version 1 would have been bound to, reads the same
    for place in (PLACE, alike):
        with pytest.raises(Unavailable):
            make_vault().open(b"\x01" + sealed[1:], place)


# ── another master key ──


def test_opens_with_any_key_of_the_ring_and_seals_with_the_first():
    """During a rotation old records can be opened, and new ones are sealed with the new key."""
    old = make_vault(OTHER_KEY).seal(SECRET, PLACE)
    vault = make_vault(KEY, OTHER_KEY)

    assert vault.open(old, PLACE) == SECRET
    assert vault.seal(SECRET, PLACE)[1:5] == vault.newest == KEY.key_id
    assert vault.seal(SECRET, PLACE, OTHER_KEY.key_id)[1:5] == OTHER_KEY.key_id


@pytest.mark.parametrize(
    "seal",
    [
        seal_as_version_one,
        lambda secret: make_vault().seal(secret, UNBOUND),
        lambda secret: make_vault().seal(secret, PLACE),
    ],
)
def test_a_rewrapped_record_needs_the_new_key_alone(seal):
    """A rewrapped record can be opened without the old key, in its own place only."""
    sealed = make_vault(OTHER_KEY, KEY).rewrap(seal(SECRET), PLACE, OTHER_KEY.key_id, unbound=True)

    assert make_vault(OTHER_KEY).open(sealed, PLACE) == SECRET
    assert sealed[:5] == make_vault().stamp(OTHER_KEY.key_id)
    for vault, place in ((make_vault(), PLACE), (make_vault(OTHER_KEY), PLACE._replace(org_id="org_2"))):
        with pytest.raises(Unavailable):
            vault.open(sealed, place)


def test_a_record_that_does_not_open_is_not_rewrapped():
    """A damaged record cannot be rewrapped, wherever the damage is."""
    sealed = make_vault().seal(SECRET, PLACE)

    for at in range(len(sealed)):
        damaged = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(Unavailable):
            make_vault(OTHER_KEY, KEY).rewrap(damaged, PLACE, OTHER_KEY.key_id)


def test_looks_again_for_a_key_that_it_does_not_know():
    """A process that started before a key existed can open records of that key and seal with it."""
    keys = ChangingKeys(KEY)
    vault = Vault(keys, FakeRandom())
    sealed = make_vault(OTHER_KEY).seal(SECRET, PLACE)

    keys.ring = (OTHER_KEY, KEY)

    assert vault.open(sealed, PLACE) == SECRET
    assert vault.seal(SECRET, PLACE, OTHER_KEY.key_id)[1:5] == OTHER_KEY.key_id
    assert keys.reads == 2, "once at the start, once for the key that was not known"


def test_a_key_that_stays_unknown_fails_closed_with_one_alarm():
    """If the ring still lacks the key after a second read, nothing is opened or sealed, and each place is logged once."""
    heard = []
    vault = make_vault(alarm=lambda name, **values: heard.append((name, values)))
    sealed = make_vault(OTHER_KEY).seal(SECRET, PLACE)

    for _ in range(3):
        with pytest.raises(Unavailable):
            vault.open(sealed, PLACE)
    with pytest.raises(Unavailable):
        vault.seal(SECRET, PLACE._replace(field="url"), OTHER_KEY.key_id)

    place = {"org_id": "org_1", "destination_id": "dst_1", "key_id": OTHER_KEY.key_id.hex()}
    assert heard == [
        ("vault.key_unknown", place | {"field": "auth_header_value"}),
        ("vault.key_unknown", place | {"field": "url"}),
    ]


def test_a_moved_record_sounds_an_alarm():
    """A record in another place is logged with the place; after it could be opened again, the next failure is logged, too."""
    heard = []
    vault = make_vault(alarm=lambda name, **values: heard.append((name, values["org_id"])))
    ours, theirs = vault.seal(SECRET, PLACE), vault.seal(SECRET, PLACE._replace(org_id="org_2"))

    for sealed in (theirs, theirs, ours, theirs):
        with contextlib.suppress(Unavailable):
            vault.open(sealed, PLACE)

    assert heard == [("vault.record_refused", "org_1")] * 2


def test_goes_on_with_its_keys_while_their_place_cannot_be_read():
    """If the file is gone, known keys stay in use, and an unknown key is reported as unknown."""
    keys = ChangingKeys(KEY)
    vault = Vault(keys, FakeRandom())
    sealed, other = vault.seal(SECRET, PLACE), make_vault(OTHER_KEY).seal(SECRET, PLACE)

    keys.gone = True

    assert vault.open(sealed, PLACE) == SECRET
    with pytest.raises(Unavailable):
        vault.open(other, PLACE)
    assert vault.open(sealed, PLACE) == SECRET


def test_alarms_are_bounded():
    """Many foreign records fill neither memory nor log."""
    heard = []
    vault = make_vault(alarm=lambda name, **values: heard.append(name))

    for number in range(3000):
        with pytest.raises(Unavailable):
            vault.open(b"", Place("org_1", f"dst_{number}", "url"))

    assert len(heard) == 1000


def test_a_key_that_the_ring_lacks_seals_nothing():
    """Sealing with a master key that this process does not have is an error that says so, and what to do."""
    vault = make_vault()

    with pytest.raises(Unavailable, match="nothing was stored; restart it with the new key") as caught:
        vault.seal(SECRET, PLACE, OTHER_KEY.key_id)
    assert caught.value.code == "wrong-master-key"
    assert (vault.holds(KEY.key_id), vault.holds(OTHER_KEY.key_id)) == (True, False)


def test_rewrapping_keeps_the_ciphertext():
    """A rewrapped record has another master key and the same ciphertext: the secret is not encrypted again."""
    vault = make_vault(KEY, OTHER_KEY)
    sealed = vault.seal(SECRET, PLACE)

    rewrapped = vault.rewrap(sealed, PLACE, OTHER_KEY.key_id)

    assert rewrapped[:5] == vault.stamp(OTHER_KEY.key_id)
    assert rewrapped[65:] == sealed[65:]


def test_a_record_of_an_old_version_is_sealed_anew_with_the_key_that_was_asked_for():
    """Where a record is too old for its place, rewrapping seals it with the given key, also if that is not the newest."""
    vault = make_vault(KEY, OTHER_KEY)

    rewrapped = vault.rewrap(seal_as_version_one(SECRET), PLACE, OTHER_KEY.key_id, unbound=True)

    assert rewrapped[:5] == vault.stamp(OTHER_KEY.key_id)
    assert vault.open(rewrapped, PLACE) == SECRET


def test_the_alarm_of_a_refused_record_names_its_key():
    """The log line about a record that cannot be decrypted has the id of its master key, so that the key can be found."""
    heard = []
    vault = make_vault(alarm=lambda event, **values: heard.append((event, values["key_id"])))

    with pytest.raises(Unavailable, match="was changed or moved; save the destination again"):
        vault.open(vault.seal(SECRET, PLACE), PLACE._replace(dst_id="dst_other"))

    assert heard == [("vault.record_refused", KEY.key_id.hex())]


def test_a_record_of_an_old_version_is_rewrapped_only_where_it_may_be():
    """A record without audience is not sealed again for a place that has one, unless the caller accepts that."""
    vault = make_vault(OTHER_KEY, KEY)

    with pytest.raises(Unavailable):
        vault.rewrap(seal_as_version_one(SECRET), PLACE, OTHER_KEY.key_id)


@pytest.mark.parametrize(
    ("record", "key_id"),
    [(b"\x09" + OTHER_KEY.key_id + b"x" * 100, OTHER_KEY.key_id.hex()), (b"\x03\x01", "01"), (b"", "")],
    ids=["of no known version", "cut within the key id", "empty"],
)
def test_what_is_no_record_is_damaged_and_lacks_no_key(record, key_id):
    """Bytes that no version wrote are reported as damaged: no master key would help."""
    heard = []
    vault = make_vault(alarm=lambda event, **values: heard.append((event, values["key_id"])))

    with pytest.raises(Unavailable) as caught:
        vault.open(record, PLACE)
    assert caught.value.code == "sealed-record-damaged"
    assert heard == [("vault.record_refused", key_id)]
