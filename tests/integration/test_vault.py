"""Master keys on a real store: found wrong at the start, turned while others read and write, never lost half-way."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.ids import DestinationId, Micros, OrganizationId
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.errors import Conflict, Misconfigured, NotFound, Unavailable
from aegis_stream.ports import Place
from aegis_stream.settings import Settings
from aegis_stream.store import organizations, proof_keys
from aegis_stream.store.sqlite import schema as sqlite_schema
from aegis_stream.store.sqlite.database import SqliteDatabase
from aegis_stream.vault import KeyFile, MasterKey, Rotated, Rotation
from aegis_stream.vault.ring import KEYS_MAX, locked
from aegis_stream.wiring.administration import make_rotation
from aegis_stream.wiring.process import SystemClock
from aegis_stream.wiring.stores import Stores, open_stores
from support.api import FakeLog
from support.cli import run_aegis
from support.directory import Directory
from support.settings import make_settings
from support.sql import raw

NOW = Micros(1_780_000_000_000_000)
COUNT = 120
"""Destinations of a rotation: three steps."""
OLD, NEW = MasterKey(b"o" * 32), MasterKey(b"n" * 32)


def as_text(*keys: MasterKey) -> str:
    """Write keys as they stand in a variable."""
    return ",".join(base64.b64encode(one.secret).decode() for one in keys)


def settings_in(tmp_path: Path, **changes) -> Settings:
    """Build settings with a data directory."""
    return make_settings(**{"data_dir": tmp_path / "data", "operator_key": "aegis_op_" + "t" * 20} | changes)


@contextmanager
def opened(settings: Settings, log: FakeLog | None = None) -> Iterator[Stores]:
    """Open the stores as a process does at its start."""
    stores = open_stores(settings, log or FakeLog())
    try:
        yield stores
    finally:
        stores.close()


def add_organization(stores: Stores, org_id: str) -> int:
    """Make an organization; returns its number."""
    return stores.db.write_now(
        lambda unit: organizations.add(unit, OrganizationId(org_id), org_id, Micros(NOW))
    )


async def add_destinations(stores, organization_no: int, first: int, count: int) -> None:
    """Make destinations whose credentials can be told apart; every third has none but a client, and every second has headers."""
    for number in range(first, first + count):
        auth = ("Authorization", f"Bearer c4n4ry-{number}") if number % 3 else (None, None)
        headers = (("X-Key", f"c4n4ry-key-{number}"),) if number % 2 else ()
        oauth2 = None if number % 3 else OAuth2("https://login.example/t", "id", f"c4n4ry-client-{number}")
        spec = DestinationSpec(f"https://siem.example/c4n4ry/{number}", *auth, headers=headers, oauth2=oauth2)
        await Directory.of(stores).add_destination(
            organization_no, DestinationId(f"dst_{organization_no}_{number:04d}"), spec, NOW, 1000
        )


async def secrets_of(stores, organization_no: int) -> list[tuple[str, str | None, dict[str, str]]]:
    """Return URL, credential (a client's secret for one) and headers of all destinations of an organization."""
    found = await Directory.of(stores).destinations_of(organization_no, "", 1000)

    def credential(spec: DestinationSpec) -> str | None:
        return spec.oauth2.client_secret if spec.oauth2 is not None else spec.auth_header_value

    return [(one.spec.url, credential(one.spec), dict(one.spec.headers)) for one in found]


def expected(count: int) -> list[tuple[str, str | None, dict[str, str]]]:
    """Return what `secrets_of` must find."""
    return [
        (
            f"https://siem.example/c4n4ry/{n}",
            f"Bearer c4n4ry-{n}" if n % 3 else f"c4n4ry-client-{n}",
            {"X-Key": f"c4n4ry-key-{n}"} if n % 2 else {},
        )
        for n in range(count)
    ]


SEED = b"c4n4ry-seed-of-a-proof-key-xxxxx"


def add_proof_key(stores: Stores, organization_no: int, seed: bytes) -> None:
    """Make a key that signs the checkpoints of org_a."""
    organization = (organization_no, OrganizationId("org_a"))
    stores.db.write_now(
        lambda unit: proof_keys.add_key(unit, stores.secrets.sealer, organization, (seed, b"p" * 32), NOW)
    )


def proof_seeds(stores: Stores, organization_no: int) -> list[bytes]:
    """Return the seeds of org_a, the newest first."""
    return [
        proof_keys.open_seed(stores.secrets.sealer, OrganizationId("org_a"), one)
        for one in stores.db.read_now(lambda unit: proof_keys.keys_of(unit, organization_no))
    ]


def silent(done: int, total: int) -> None:
    """Take no notice of progress."""


def key_ids(stores) -> set[bytes]:
    """Return the ids of the keys that records stand under, as they lie in the database."""
    rows = stores.db.read_now(
        lambda db: raw(db).rows(
            "SELECT url, auth_value, headers, oauth2 FROM destinations WHERE deleted_at IS NULL"
        )
    )
    return {bytes(one[1:5]) for row in rows for one in row if one is not None}


def versions(stores) -> set[int]:
    """Return the versions of the records in the database."""
    rows = stores.db.read_now(
        lambda db: raw(db).rows(
            "SELECT url, auth_value, headers, oauth2 FROM destinations WHERE deleted_at IS NULL"
        )
    )
    return {one[0] for row in rows for one in row if one is not None}


# ── a record in a foreign place ──


MOVES = {
    "between organizations": "UPDATE destinations SET org_no = 3 - org_no",
    "organizations exchanged": "UPDATE organizations SET org_id = 'org_x' WHERE org_no = 1;"
    "UPDATE organizations SET org_id = 'org_a' WHERE org_no = 2; UPDATE organizations SET org_id = 'org_b' WHERE org_no = 1",
    "between destinations": "CREATE TABLE kept AS SELECT dst_no, url, auth_value FROM destinations;"
    "UPDATE destinations SET url = (SELECT k.url FROM kept k WHERE k.dst_no <> destinations.dst_no),"
    " auth_value = (SELECT k.auth_value FROM kept k WHERE k.dst_no <> destinations.dst_no)",
    "from the header into the URL": "UPDATE destinations SET url = auth_value",
    "from the URL into the header": "UPDATE destinations SET auth_value = url",
    "under another id": "UPDATE destinations SET dst_id = dst_id || 'x'",
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
async def test_a_record_that_was_moved_in_the_database_does_not_open(tmp_path, move):
    """Whoever can write the database cannot use a credential elsewhere: it fails closed, for API and worker, with an alarm."""
    log = FakeLog()
    with opened(settings_in(tmp_path), log) as stores:
        for number, org_id in enumerate(("org_a", "org_b"), 1):
            assert add_organization(stores, org_id) == number
            await add_destinations(stores, number, 1, 1)
        stores.db.write_now(lambda db: [raw(db).run(one) for one in move.split(";")])

        for no in (1, 2):
            (shown,) = await Directory.of(stores).destinations_of(no, "", 10)
            assert shown.damaged
            assert (shown.spec.url, shown.spec.auth_header_value or "", shown.spec.headers) == ("", "", ())
            with pytest.raises(Unavailable) as caught:
                await Directory.of(stores).destination(no)
            assert caught.value.code == "sealed-record-damaged"
            assert "c4n4ry" not in str(caught.value)

    assert {(level, name) for level, name, _ in log.lines} == {("error", "vault.record_refused")}
    assert "c4n4ry" not in repr(log.lines)


def columns(stores: Stores, dst_id: str) -> tuple[bytes, ...]:
    """Return what of a destination decides to whom its credential goes."""
    [row] = stores.db.read_now(
        lambda db: raw(db).rows(
            "SELECT url, auth_value, headers, oauth2, spec FROM destinations WHERE dst_id = ?", (dst_id,)
        )
    )
    return row


TAMPERED = {
    "an older URL": lambda old, new: (old[0], *new[1:]),
    "an older header value": lambda old, new: (new[0], old[1], *new[2:]),
    "older headers": lambda old, new: (*new[:2], old[2], *new[3:]),
    "an older client": lambda old, new: (*new[:3], old[3], new[4]),
    "everything older but the URL": lambda old, new: (new[0], *old[1:]),
    "another CA certificate": lambda _, new: (
        *new[:4],
        new[4].replace('"ca_certificate":null', '"ca_certificate":"PEM"'),
    ),
    "another header's name": lambda _, new: (*new[:4], new[4].replace('"X-Auth"', '"X-Echo"')),
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
@pytest.mark.parametrize(
    "url", ["https://siem.example:8443/in", "http://siem.example/in", "https://siem.example.org/in"]
)
async def test_a_credential_is_bound_to_where_it_goes(tmp_path, tamper, url):
    """Whoever can write the database cannot send a credential elsewhere by older columns or others in the open: it fails closed."""
    log = FakeLog()
    client = OAuth2("https://login.example/t", "id", "c4n4ry")
    before = DestinationSpec(
        "https://siem.example/in", "X-Auth", "c4n4ry", headers=(("X-Key", "c4n4ry"),), oauth2=client
    )
    with opened(settings_in(tmp_path), log) as stores:
        directory = Directory.of(stores)
        add_organization(stores, "org_a")
        await directory.add_destination(1, DestinationId("dst_1"), before, NOW, 1000)
        old = columns(stores, "dst_1")
        after = replace(
            before,
            url=url,
            auth_header_value="c4n4ry-2",
            headers=(("X-Key", "c4n4ry-2"),),
            oauth2=replace(client, client_secret="c4n4ry-2"),
        )
        await directory.change_destination(1, "dst_1", lambda _: after, NOW)
        new = columns(stores, "dst_1")
        assert (await directory.destination_of(1, "dst_1")).spec == after
        tampered = tamper(old, new)
        assert tampered not in (old, new)

        update = "UPDATE destinations SET url = ?, auth_value = ?, headers = ?, oauth2 = ?, spec = ?"
        stores.db.write_now(lambda db: raw(db).run(update, tampered))

        (shown,) = await directory.destinations_of(1, "", 10)
        assert shown.damaged
        with pytest.raises(Unavailable):
            await directory.destination(1)
    assert {(level, name) for level, name, _ in log.lines} == {("error", "vault.record_refused")}


async def test_a_record_without_audience_is_refused_beside_bound_ones(tmp_path):
    """A credential of an earlier version, which is bound to no host, does not open beside the URL of a changed destination."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        add_organization(stores, "org_a")
        await add_destinations(stores, 1, 1, 1)
        old = stores.secrets.sealer.seal("Bearer c4n4ry", Place("org_a", "dst_1_0001", "auth_header_value"))
        stores.db.write_now(lambda db: raw(db).run("UPDATE destinations SET auth_value = ?", (old,)))

        with pytest.raises(Unavailable):
            await Directory.of(stores).destination(1)
        done = await make_rotation(settings, stores).rotate(silent)

    assert done.broken == ("dst_1_0001",)


async def test_a_destination_that_does_not_open_can_be_deleted(tmp_path):
    """Damage can be cleared away, by its own organization alone."""
    with opened(settings_in(tmp_path)) as stores:
        no, other = add_organization(stores, "org_a"), add_organization(stores, "org_b")
        await add_destinations(stores, no, 1, 2)
        stores.db.write_now(lambda db: raw(db).run("UPDATE destinations SET url = x'00' WHERE dst_no = 1"))

        with pytest.raises(NotFound):
            await Directory.of(stores).delete_destination(other, "dst_1_0001", NOW)
        await Directory.of(stores).delete_destination(no, "dst_1_0001", NOW)

        assert [url for url, *_ in await secrets_of(stores, no)] == ["https://siem.example/c4n4ry/2"]


# ── the start ──


@pytest.mark.parametrize("has_destination", [False, True])
@pytest.mark.parametrize("how", ["variable", "file", "missing file"])
async def test_a_wrong_master_key_stops_the_start(tmp_path, how, has_destination):
    """Another key than the one that sealed, or none, is found before anything is served, also before there is a credential."""
    settings = settings_in(tmp_path)
    key_file = settings.store.data_dir / "master.key"
    with opened(settings) as stores:
        if has_destination:
            await add_destinations(stores, add_organization(stores, "org_a"), 1, 1)
    right = key_file.read_text()
    if how == "variable":
        settings = make_settings(settings, master_key=as_text(NEW))
    elif how == "file":
        KeyFile(key_file).write((NEW,))
    else:
        key_file.unlink()

    with pytest.raises(Misconfigured, match="aegis vault reset") as caught, opened(settings):
        pass

    assert caught.value.code == "wrong-master-key"
    assert right.strip() not in caught.value.message
    assert key_file.exists() == (how != "missing file"), "no other key takes its place"


async def test_a_key_of_the_right_id_and_other_bytes_stops_the_start(tmp_path):
    """The key itself is tried, not only its name."""
    settings = settings_in(tmp_path, master_key=as_text(OLD))
    with opened(settings) as stores:
        sealed = stores.db.read_now(lambda db: raw(db).row("SELECT sentinel FROM master_keys"))[0]
        stores.db.write_now(
            lambda db: raw(db).run(
                "UPDATE master_keys SET sentinel = ?", (sealed[:-1] + bytes([sealed[-1] ^ 1]),)
            )
        )

    with pytest.raises(Misconfigured), opened(settings):
        pass


async def test_a_key_that_is_still_needed_is_missed_at_the_start(tmp_path):
    """In the middle of a rotation the older key is needed as well, and the start says which one is missing."""
    settings = settings_in(tmp_path, master_key=as_text(OLD))
    with opened(settings) as stores:
        await add_destinations(stores, add_organization(stores, "org_a"), 0, COUNT)
    with opened(make_settings(settings, master_key=as_text(NEW, OLD))) as stores:
        await stores.secrets.begin(NEW.key_id, NOW)
        await stores.secrets.rewrap_step(NEW.key_id, 0)

    with (
        pytest.raises(Misconfigured, match=OLD.key_id.hex()),
        opened(make_settings(settings, master_key=as_text(NEW))),
    ):
        pass
    with opened(make_settings(settings, master_key=as_text(NEW, OLD))) as stores:
        assert await secrets_of(stores, 1) == expected(COUNT)


async def test_one_damaged_record_does_not_stop_the_start(tmp_path):
    """A record with garbage for a key id is one organization's trouble, and no reason to serve nobody."""
    settings = settings_in(tmp_path, master_key=as_text(OLD))
    with opened(settings) as stores:
        await add_destinations(stores, add_organization(stores, "org_a"), 0, 2)
        stores.db.write_now(
            lambda db: raw(db).run(
                "UPDATE destinations SET url = CAST(x'02deadbeef' || zeroblob(99) AS BLOB) WHERE dst_no = 1"
            )
        )
        stores.db.write_now(lambda db: raw(db).run("UPDATE master_keys SET rewrapped_at = NULL"))

    with opened(settings) as stores:
        assert (await Directory.of(stores).destination(2)).spec.auth_header_value == "Bearer c4n4ry-1"


# ── a database of the version before ──


def seal_as_version_one(secret: str, dst_id: str, field: str) -> bytes:
    """Seal a secret as the version did that bound records to destination and field alone."""
    bound, data_key, outer, inner = f"{dst_id}|{field}".encode(), b"d" * 32, b"o" * 12, b"i" * 12
    wrapped = AESGCM(OLD.secret).encrypt(outer, data_key, bound)
    head = b"\x01" + OLD.key_id + outer + wrapped + inner
    return head + AESGCM(data_key).encrypt(inner, secret.encode(), bound)


def make_version_one(settings: Settings, monkeypatch, schema: int = 1) -> None:
    """Leave a data directory as an earlier version did, with one organization and two destinations.

    Args:
        schema: version of the database's schema.
    """
    settings.store.data_dir.mkdir(mode=0o700)
    KeyFile(settings.store.data_dir / "master.key").write((OLD,))
    spec = json.dumps(
        {
            "name": "",
            "auth_header_name": "Authorization",
            "format": "auto",
            "filter": {},
            "batch": {},
            "retry": {},
        }
        | {"ca_certificate": None, "compression": "none"}
    )
    with monkeypatch.context() as patch:
        first = sqlite_schema.migrations()[:schema]
        patch.setattr(sqlite_schema, "migrations", lambda: first)
        db = SqliteDatabase(settings.store.data_dir / "aegis.db", SystemClock())
        assert db.migrate() == (0, schema)
    insert_organization = (
        "INSERT INTO organizations (org_no, org_id, name, created_at) VALUES (1, 'org_a', 'A', 1)"
    )
    db.write_now(lambda one: raw(one).run(insert_organization))
    for number in (1, 2):
        dst_id = f"dst_1_{number:04d}"
        values = (
            number,
            dst_id,
            seal_as_version_one(f"https://siem.example/c4n4ry/{number}", dst_id, "url"),
            seal_as_version_one(f"Bearer c4n4ry-{number}", dst_id, "auth_header_value"),
            spec,
        )
        db.write_now(
            lambda one, values=values: raw(one).run(
                "INSERT INTO destinations (dst_no, dst_id, org_no, url, auth_value, spec, paused, revision, created_at,"
                " updated_at) VALUES (?, ?, 1, ?, ?, ?, 0, 1, 1, 1)",
                values,
            )
        )
        insert_cursor = "INSERT INTO cursors (dst_no, org_no, start_sequence, cursor) VALUES (?, 1, 0, 0)"
        db.write_now(lambda one, no=number, text=insert_cursor: raw(one).run(text, (no,)))
    db.close()


async def test_what_the_version_before_sealed_opens_and_is_sealed_anew_by_a_rotation(tmp_path, monkeypatch):
    """After the upgrade everything opens; a change seals one destination anew, a rotation all, and then v1 is gone."""
    settings = settings_in(tmp_path)
    make_version_one(settings, monkeypatch)
    wanted = [(f"https://siem.example/c4n4ry/{n}", f"Bearer c4n4ry-{n}", {}) for n in (1, 2)]

    with opened(settings) as stores:
        assert await secrets_of(stores, 1) == wanted
        assert versions(stores) == {1}
        await Directory.of(stores).change_destination(
            1, "dst_1_0001", lambda spec: replace(spec, name="new"), NOW
        )
        assert versions(stores) == {1, 3}
        done = await make_rotation(settings, stores).rotate(silent)
        assert (done.made, done.rewrapped, done.broken) == (True, 2, ())
        assert versions(stores) == {3}
        assert await secrets_of(stores, 1) == wanted


@pytest.mark.parametrize("schema", [1, 2])
async def test_destinations_from_before_there_were_headers_can_have_some(tmp_path, monkeypatch, schema):
    """After the upgrade from any earlier schema nothing has headers; given some, a destination keeps them over a restart."""
    settings = settings_in(tmp_path)
    make_version_one(settings, monkeypatch, schema)
    wanted = [(f"https://siem.example/c4n4ry/{n}", f"Bearer c4n4ry-{n}", {}) for n in (1, 2)]

    with opened(settings) as stores:
        assert await secrets_of(stores, 1) == wanted
        await Directory.of(stores).change_destination(
            1, "dst_1_0002", lambda spec: replace(spec, headers=(("X-Key", "c4n4ry-new"),)), NOW
        )

    with opened(settings) as stores:
        assert await secrets_of(stores, 1) == [wanted[0], (*wanted[1][:2], {"X-Key": "c4n4ry-new"})]


@pytest.mark.parametrize("schema", [1, 2, 3, 4])
async def test_destinations_from_before_there_were_clients_can_have_one(tmp_path, monkeypatch, schema):
    """After the upgrade from any earlier schema nothing has an OAuth2 client; given one, a destination keeps it over a restart."""
    settings = settings_in(tmp_path)
    make_version_one(settings, monkeypatch, schema)
    client = OAuth2("https://login.example/t", "id", "c4n4ry-client")

    with opened(settings) as stores:
        before = [one.spec.oauth2 for one in await Directory.of(stores).destinations_of(1, "", 10)]
        await Directory.of(stores).change_destination(
            1, "dst_1_0002", lambda spec: replace(spec, oauth2=client), NOW
        )

    with opened(settings) as stores:
        after = [one.spec.oauth2 for one in await Directory.of(stores).destinations_of(1, "", 10)]
    assert (before, after) == ([None, None], [None, client])


@pytest.mark.parametrize("how", ["wrong", "missing"])
def test_a_wrong_key_is_found_on_a_database_of_the_version_before(tmp_path, monkeypatch, how):
    """The first start after the upgrade tries the key on the credentials themselves."""
    settings = settings_in(tmp_path)
    make_version_one(settings, monkeypatch)
    key_file = KeyFile(settings.store.data_dir / "master.key")
    key_file.write((NEW,)) if how == "wrong" else key_file.path.unlink()

    with pytest.raises(Misconfigured) as caught, opened(settings):
        pass

    assert caught.value.code == "wrong-master-key"


# ── rotation ──


async def test_a_rotation_brings_everything_under_a_new_key(tmp_path):
    """After it all records stand under a new key, the same secrets open, and the old key can go and is gone."""
    settings = settings_in(tmp_path)
    told = []
    with opened(settings) as stores:
        await add_destinations(stores, add_organization(stores, "org_a"), 0, COUNT)
        before = stores.secrets.sealer.newest
        rotation = make_rotation(settings, stores)

        done = await rotation.rotate(lambda *progress: told.append(progress))
        assert (done.made, done.rewrapped, done.broken, done.old) == (True, COUNT, (), (before.hex(),))
        assert key_ids(stores) == {bytes.fromhex(done.key_id)} != {before}
        dropped = await rotation.drop_old()

    assert told == [(50, COUNT), (100, COUNT), (COUNT, COUNT)]
    assert dropped == (before.hex(),)
    with opened(settings) as stores:
        assert await secrets_of(stores, 1) == expected(COUNT)
    assert [one.key_id.hex() for one in rotation.keys.read()] == [done.key_id]


def recorded(stores: Stores, action: str) -> list[tuple[str, str, int | None]]:
    """Return organization, target and count of the events that tell of an action."""
    rows = stores.db.read_now(
        lambda db: raw(db).rows(
            "SELECT body FROM events WHERE dataset = 'aegis.audit_stream.admin' ORDER BY position"
        )
    )
    events = [json.loads(body) for (body,) in rows]
    found = [(one, one["aegis"]["audit"]) for one in events if one["event"]["action"] == action]
    return [(one["organization"]["id"], audit["target"]["id"], audit.get("count")) for one, audit in found]


@pytest.mark.parametrize("audited", [True, False])
async def test_every_organization_is_told_of_the_rotation_of_its_credentials(tmp_path, audited):
    """Each organization's log has how many destinations were rewrapped, unless the operator wants nothing recorded."""
    settings = settings_in(tmp_path, audit_actions=audited)
    with opened(settings) as stores:
        for org_id, count in (("org_a", 60), ("org_b", 3), ("org_c", 0)):
            await add_destinations(stores, add_organization(stores, org_id), 0, count)

        await make_rotation(settings, stores).rotate(silent)
        told = recorded(stores, "vault_rotate")

    steps = [("org_a", "org_a", 50), ("org_a", "org_a", 10), ("org_b", "org_b", 3)]
    assert told == (steps if audited else []), "one event for each transaction that did it"


async def test_a_second_rotation_makes_another_key(tmp_path):
    """A rotation that was finished is followed by another one, and older keys stay until they are dropped."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        await add_destinations(stores, add_organization(stores, "org_a"), 0, 3)
        rotation = make_rotation(settings, stores)
        made = [(await rotation.rotate(silent)).key_id for _ in range(3)]
        kept = [one.key_id.hex() for one in rotation.keys.read()]

    assert len({*made}) == 3
    assert kept[:3] == made[::-1]
    assert len(kept) == 4


async def test_others_go_on_while_keys_are_turned(tmp_path):
    """A process that runs since before the rotation reads what was rewrapped, and what it writes is never under the old key."""
    settings = settings_in(tmp_path)
    with opened(settings) as running, opened(settings) as stores:
        no = add_organization(running, "org_a")
        await add_destinations(running, no, 0, COUNT)
        rotation = make_rotation(settings, stores)
        old = rotation.keys.read()[0].key_id

        done = await rotation.rotate(silent)
        await add_destinations(running, no, COUNT, 5)
        assert await secrets_of(running, no) == expected(COUNT + 5)
        await rotation.drop_old()
        await Directory.of(running).change_destination(
            no, f"dst_{no}_0001", lambda spec: replace(spec, name="x"), NOW
        )

        assert key_ids(running) == {bytes.fromhex(done.key_id)} != {old}
        assert await secrets_of(running, no) == expected(COUNT + 5)


class Killed(BaseException):
    """What a SIGKILL leaves: everything that is durable, and nothing else."""


class Killer:
    """Kills a rotation at the n-th moment between two of its effects; counts them."""

    def __init__(self, monkeypatch, at: int | None) -> None:
        self.at, self.count = at, 0
        write_file, write_store = KeyFile.write, SqliteDatabase.write
        killer = self

        def key_file(self: KeyFile, ring) -> None:
            killer.moment()
            write_file(self, ring)
            killer.moment()

        async def store(self: SqliteDatabase, work):
            killer.moment()
            result = await write_store(self, work)
            killer.moment()
            return result

        monkeypatch.setattr(KeyFile, "write", key_file)
        monkeypatch.setattr(SqliteDatabase, "write", store)

    def moment(self) -> None:
        """Die, if it is time."""
        self.count += 1
        if self.count == self.at:
            raise Killed


async def test_a_rotation_killed_between_any_two_of_its_effects_loses_nothing(tmp_path, monkeypatch):
    """Killed anywhere, every credential opens at once for those who run and those who start; run again, it ends with one new key."""
    moments, finished = 0, 0
    for at in range(1, 100):
        settings = settings_in(tmp_path / str(at))
        settings.store.data_dir.parent.mkdir()
        with opened(settings) as running:
            no = add_organization(running, "org_a")
            await add_destinations(running, no, 0, COUNT)
            add_proof_key(running, no, SEED)
            with monkeypatch.context() as patch, opened(settings) as stores:
                killer = Killer(patch, at)
                with contextlib.suppress(Killed):
                    await make_rotation(settings, stores).rotate(silent)
                    moments = killer.count

            await add_destinations(running, no, COUNT, 1)
            assert await secrets_of(running, no) == expected(COUNT + 1), at
            assert proof_seeds(running, no) == [SEED], at
            with opened(settings) as stores:
                assert await secrets_of(stores, no) == expected(COUNT + 1), at
                rotation = make_rotation(settings, stores)
                row, ring = await stores.secrets.sealing_key(), rotation.keys.read()
                was_finished = (
                    len(ring) == 2 and row.key_id == ring[0].key_id and row.rewrapped_at is not None
                )
                finished += was_finished
                done = await rotation.rotate(silent)
                assert len(done.old) == (2 if was_finished else 1), (
                    "a rotation that had begun needs no further key"
                )
                assert key_ids(stores) == {bytes.fromhex(done.key_id)}
                await rotation.drop_old()
            assert await secrets_of(running, no) == expected(COUNT + 1), at
            assert proof_seeds(running, no) == [SEED], at
        if moments:
            break

    assert moments == 2 * (1 + 1 + 4 + 2 + 1), (
        "key file, note in the database, three steps and a look for a fourth, one step of proof keys and a look for more, end"
    )
    assert (at, finished) == (moments + 1, 2), "killed at every moment; finished only after the last effect"


@pytest.mark.parametrize("command", [Rotation.rotate, Rotation.drop_old, Rotation.reset])
async def test_two_rotations_at_once_are_one(tmp_path, command):
    """Whatever a second command wants to do with the keys, it is turned away at once, and no key of the first is lost."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores, opened(settings) as others:
        await add_destinations(stores, add_organization(stores, "org_a"), 0, 1)
        second = make_rotation(settings, others)
        refused = []

        async def try_it() -> None:
            with pytest.raises(Unavailable) as caught:
                await (command(second) if command is Rotation.drop_old else command(second, silent))
            refused.append(caught.value.message)

        tasks = []
        await make_rotation(settings, stores).rotate(
            lambda done, total: tasks.append(asyncio.get_running_loop().create_task(try_it()))
        )
        await asyncio.gather(*tasks)

        assert len(second.keys.read()) == 2
        assert "another process" in refused[0]


async def test_commands_that_share_a_key_file_lock_its_folder(tmp_path):
    """A key file outside of the data directory is locked where it lies, whatever the data directory of the other command is."""
    (tmp_path / "keys").mkdir()
    settings = settings_in(tmp_path, master_key_file=tmp_path / "keys" / "master.key")
    KeyFile(tmp_path / "keys" / "master.key").write((OLD,))
    with opened(settings) as stores:
        with locked(tmp_path / "keys", wait=False), pytest.raises(Unavailable, match="another process"):
            await make_rotation(settings, stores).rotate(silent)
        with locked(settings.store.data_dir, wait=False):
            assert (await make_rotation(settings, stores).rotate(silent)).made


async def test_a_new_key_has_an_id_of_its_own(tmp_path):
    """A random source that gives out the bytes of the current key again makes no second key with its id."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        rotation = make_rotation(settings, stores)
        [old] = rotation.keys.read()

        done = await replace(rotation, random=Repeats(old.secret)).rotate(silent)

    assert (done.old, done.key_id != old.key_id.hex()) == ((old.key_id.hex(),), True)


class Repeats:
    """A random source that begins with bytes it gave out before."""

    def __init__(self, given: bytes) -> None:
        self.given = [given]

    def random_bytes(self, count: int) -> bytes:
        return self.given.pop() if self.given else b"f" * count


async def test_no_key_is_made_on_one_of_several_machines(tmp_path):
    """The others would not have it: a rotation asks for it on every machine, and leaves the keys as they are."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        rotation = make_rotation(settings, stores)
        await rotation.rotate(silent)
        before = rotation.keys.read()

        with pytest.raises(Misconfigured, match=r"needs the new master key .* on every machine, then run"):
            await replace(rotation, shared=True).rotate(silent)

        assert rotation.keys.read() == before


async def test_a_ring_does_not_outgrow_its_limit(tmp_path):
    """With as many keys as a ring holds a rotation makes no other one, and says how the old ones go."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        rotation = make_rotation(settings, stores)
        for _ in range(KEYS_MAX - 1):
            await rotation.rotate(silent)

        with pytest.raises(Misconfigured, match=rf"holds {KEYS_MAX} keys.*vault rotate --drop-old"):
            await rotation.rotate(silent)

        assert len(await rotation.drop_old()) == KEYS_MAX - 1
        assert (await rotation.rotate(silent)).made


async def test_old_keys_stay_until_the_newest_one_seals(tmp_path):
    """Where the newest key of the file was never rotated to, no key is dropped, and the message names that key."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        rotation = make_rotation(settings, stores)
        ring = (NEW, *rotation.keys.read())
        rotation.keys.write(ring)

        with pytest.raises(Conflict, match=f"newest master key .{NEW.key_id.hex()}. is not in use yet"):
            await rotation.drop_old()

        assert rotation.keys.read() == ring


async def test_dropping_the_old_keys_finishes_a_rotation(tmp_path):
    """A rotation that a damaged record kept open is over once that destination is gone and the old key is dropped."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        no = add_organization(stores, "org_a")
        await add_destinations(stores, no, 0, 2)
        damage = "UPDATE destinations SET url = CAST(substr(url, 1, 100) || x'00' AS BLOB) WHERE dst_no = 2"
        stores.db.write_now(lambda db: raw(db).run(damage))
        rotation = make_rotation(settings, stores)
        done = await rotation.rotate(silent)
        await Directory.of(stores).delete_destination(no, done.broken[0], NOW)
        before = await stores.secrets.sealing_key()

        await rotation.drop_old()
        after = await stores.secrets.sealing_key()
        again = await rotation.rotate(silent)

    assert before.rewrapped_at is None
    assert after.rewrapped_at is not None
    assert again.made, "the next rotation is another one"


async def test_a_damaged_record_keeps_its_key_and_stops_nobody_else(tmp_path):
    """What does not open is named and stays as it is; all others are rotated; the old key cannot be dropped until it is gone."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        no = add_organization(stores, "org_a")
        await add_destinations(stores, no, 0, COUNT)
        stores.db.write_now(
            lambda db: raw(db).run(
                "UPDATE destinations SET url = CAST(substr(url, 1, 100) || x'00' AS BLOB) WHERE dst_no = 60"
            )
        )
        rotation = make_rotation(settings, stores)

        done = await rotation.rotate(silent)
        with pytest.raises(Conflict, match="records are still sealed with"):
            await rotation.drop_old()
        again = await rotation.rotate(silent)
        await Directory.of(stores).delete_destination(no, done.broken[0], NOW)
        last = await rotation.rotate(silent)
        dropped = await rotation.drop_old()

    assert (done.rewrapped, done.broken) == (COUNT - 1, (f"dst_{no}_0059",))
    assert (again.made, again.rewrapped, again.broken) == (False, 0, done.broken)
    assert (last.made, last.broken, len(last.old)) == (False, (), 1)
    assert dropped == done.old


# ── keys that come by the environment ──


async def test_turns_a_key_that_comes_by_the_environment(tmp_path):
    """New and old key, with a comma between: the service runs with both, the rotation takes the first, then the old one goes."""
    old = settings_in(tmp_path, master_key=as_text(OLD))
    both, new = make_settings(old, master_key=as_text(NEW, OLD)), make_settings(old, master_key=as_text(NEW))
    with opened(old) as stores:
        await add_destinations(stores, add_organization(stores, "org_a"), 0, 3)

    with opened(both) as running, opened(both) as stores:
        await add_destinations(running, 1, 3, 1)
        assert key_ids(running) == {OLD.key_id}, "until the rotation, the old key seals"
        done = await make_rotation(both, stores).rotate(silent)
        assert await secrets_of(running, 1) == expected(4)
        with pytest.raises(Misconfigured, match="only you can change"):
            await make_rotation(both, stores).drop_old()

    assert (done.key_id, done.made, done.rewrapped) == (NEW.key_id.hex(), False, 4)
    with opened(new) as stores:
        assert await secrets_of(stores, 1) == expected(4)


@pytest.mark.parametrize(
    ("keys", "message"), [((OLD,), "in front of the old one"), ((OLD, NEW), "the new key must stand first")]
)
async def test_says_how_to_turn_a_key_of_the_environment(tmp_path, keys, message):
    """Without a new key, or with the keys in the wrong order, nothing happens and the line says what to do."""
    settings = settings_in(tmp_path, master_key=as_text(OLD))
    with opened(settings) as stores:
        if NEW in keys:
            with opened(make_settings(settings, master_key=as_text(NEW, OLD))) as both:
                await make_rotation(make_settings(settings, master_key=as_text(NEW, OLD)), both).rotate(
                    silent
                )
    settings = make_settings(settings, master_key=as_text(*keys))

    with opened(settings) as stores, pytest.raises(Misconfigured, match=message):
        await make_rotation(settings, stores).rotate(silent)


async def test_a_service_without_the_new_key_stores_nothing_under_the_old_one(tmp_path):
    """A process that was not restarted with the new key fails closed: a credential under a key about to go would be lost."""
    old = settings_in(tmp_path, master_key=as_text(OLD))
    both = make_settings(old, master_key=as_text(NEW, OLD))
    log = FakeLog()
    with opened(old, log) as running, opened(both) as stores:
        no = add_organization(running, "org_a")
        await add_destinations(running, no, 0, 2)
        await make_rotation(both, stores).rotate(silent)

        with pytest.raises(Unavailable) as caught:
            await add_destinations(running, no, 2, 1)
        assert await secrets_of(stores, no) == expected(2)

    assert caught.value.code == "wrong-master-key"
    assert [name for _, name, _ in log.lines] == ["vault.key_unknown"]


async def test_a_single_key_of_the_environment_has_no_old_ones_to_drop(tmp_path):
    """Nothing is to be removed, so nothing has to be written where only people can write."""
    settings = settings_in(tmp_path, master_key=as_text(OLD))
    with opened(settings) as stores:
        assert await make_rotation(settings, stores).drop_old() == ()


# ── a key that is lost ──


async def test_a_lost_key_costs_its_destinations_and_nothing_else(tmp_path):
    """What only the lost key opened is deleted and listed with its place in the log; what another opens is kept."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        await add_destinations(stores, add_organization(stores, "org_a"), 0, COUNT)
        rotation = make_rotation(settings, stores)
        old = rotation.keys.read()
        with pytest.raises(Conflict, match="nothing to delete"):
            await rotation.reset(silent)
        stores.db.write_now(lambda db: raw(db).run("UPDATE cursors SET cursor = 41 WHERE dst_no <= 50"))
        rotation.keys.write((new := make_rotation(settings, stores)._add_new(old))[:2])
        await stores.secrets.begin(new[0].key_id, NOW)
        await stores.secrets.rewrap_step(new[0].key_id, 0)
        rotation.keys.write(old)  # the new key is lost, and fifty destinations with it

    with pytest.raises(Misconfigured), opened(settings):
        pass
    stores = open_stores(settings, FakeLog(), check_keys=False)
    try:
        done, lost = await make_rotation(settings, stores).reset(silent)
    finally:
        stores.close()

    assert [tuple(one) for one in lost] == [("org_a", f"dst_1_{n:04d}", 41) for n in range(50)]
    assert (done.made, done.rewrapped, done.broken) == (True, COUNT - 50, ())
    assert (done.key_id, *done.old) == tuple(one.key_id.hex() for one in rotation.keys.read())
    with opened(settings) as stores:
        assert await secrets_of(stores, 1) == expected(COUNT)[50:]
        assert recorded(stores, "destination_delete") == [("org_a", one.dst_id, None) for one in lost]


async def test_a_key_file_that_is_lost_costs_all_destinations_and_makes_one_key(tmp_path):
    """All destinations go, however many, and the key that the start made in place of the lost one is the only one."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        await add_destinations(stores, add_organization(stores, "org_a"), 0, COUNT)
    (settings.store.data_dir / "master.key").unlink()
    stores = open_stores(settings, FakeLog(), check_keys=False)
    try:
        rotation = make_rotation(settings, stores)
        [made] = rotation.keys.read()

        done, lost = await rotation.reset(silent)
    finally:
        stores.close()

    assert [one.dst_id for one in lost] == [f"dst_1_{n:04d}" for n in range(COUNT)]
    assert done == Rotated(made.key_id.hex(), made=False, rewrapped=0, broken=(), old=())
    with opened(settings) as stores:
        assert rotation.keys.read() == (made,)
        assert await secrets_of(stores, 1) == []


async def test_a_proof_key_needs_its_master_key_as_a_credential_does(tmp_path):
    """A key file with a proof key alone is not dropped before the key is sealed anew, and rotation names one that is damaged."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        no = add_organization(stores, "org_a")
        add_proof_key(stores, no, SEED)
        rotation = make_rotation(settings, stores)
        old = rotation.keys.read()
        rotation.keys.write(rotation._add_new(old))
        await stores.secrets.begin(rotation.keys.read()[0].key_id, NOW)
        with pytest.raises(Conflict, match=old[0].key_id.hex()):
            await rotation.drop_old()
        done = await rotation.rotate(silent)
        await rotation.drop_old()
        assert (done.broken, proof_seeds(stores, no)) == ((), [SEED])

        stores.db.write_now(lambda unit: raw(unit).run("UPDATE proof_keys SET seed = substr(seed, 1, 40)"))
        done = await rotation.rotate(silent)

    assert done.broken == ("org_a",)


async def test_a_proof_key_that_is_lost_with_its_master_key_is_given_up(tmp_path):
    """The seed goes, its public key stays for those who verify, and the organization is named; a second reset has nothing to do."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        no = add_organization(stores, "org_a")
        add_proof_key(stores, no, SEED)
    (settings.store.data_dir / "master.key").unlink()
    stores = open_stores(settings, FakeLog(), check_keys=False)
    try:
        done, lost = await make_rotation(settings, stores).reset(silent)
        (key,) = stores.db.read_now(lambda unit: proof_keys.keys_of(unit, no))
    finally:
        stores.close()

    assert (done.forgotten, done.broken, lost) == (("org_a",), (), [])
    assert (key.sealed_seed, key.public, key.retired_at is None) == (b"", b"p" * 32, False)
    with opened(settings) as stores, pytest.raises(Conflict, match="nothing to delete"):
        await make_rotation(settings, stores).reset(silent)


async def test_damaged_records_are_given_up_without_another_key(tmp_path):
    """Where no key is missing, only what is damaged goes, and no new key is made."""
    settings = settings_in(tmp_path)
    with opened(settings) as stores:
        await add_destinations(stores, add_organization(stores, "org_a"), 0, 3)
        stores.db.write_now(lambda db: raw(db).run("UPDATE destinations SET url = x'00' WHERE dst_no = 2"))
        rotation = make_rotation(settings, stores)

        done, lost = await rotation.reset(silent)

        assert ([one.dst_id for one in lost], done.made, done.broken) == (["dst_1_0001"], False, ())
        assert len(rotation.keys.read()) == 1
        assert await secrets_of(stores, 1) == [expected(3)[0], expected(3)[2]]


# ── the command ──


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Make a data directory with an organization and two destinations."""
    monkeypatch.setenv("AEGIS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("AEGIS_OPERATOR_KEY", "aegis_op_" + "t" * 20)
    return tmp_path / "data"


async def fill(tmp_path: Path) -> None:
    """Make an organization and two destinations."""
    with opened(settings_in(tmp_path)) as stores:
        await add_destinations(stores, add_organization(stores, "org_a"), 0, 2)


def test_the_command_says_what_it_did_and_what_is_next(tmp_path, folder, monkeypatch, capsys):
    """`aegis vault rotate` names the key, counts, and says when the old one can go; no key is printed."""
    asyncio.run(fill(tmp_path))
    secrets = [base64.b64encode(one.secret).decode() for one in KeyFile(folder / "master.key").read()]

    done = run_aegis(monkeypatch, capsys, "vault", "rotate")
    secrets += [base64.b64encode(one.secret).decode() for one in KeyFile(folder / "master.key").read()]
    dropped = run_aegis(monkeypatch, capsys, "vault", "rotate", "--drop-old")
    again = run_aegis(monkeypatch, capsys, "vault", "rotate", "--drop-old", "--json")

    assert (done.status, dropped.status, again.status) == (0, 0, 0)
    assert "2 destinations sealed with it" in done.stdout
    assert "aegis vault rotate --drop-old" in done.stdout
    assert "2 of 2 destinations" in done.stderr
    assert dropped.stdout.startswith("removed ")
    assert json.loads(again.stdout) == {"dropped": []}
    assert not [one for one in secrets for text in (done, dropped, again) if one in text.stdout + text.stderr]


def test_the_command_fails_when_a_record_does_not_open(tmp_path, folder, monkeypatch, capsys):
    """A damaged credential is an exit status of 1 and a line with its destination's id."""
    asyncio.run(fill(tmp_path))
    with opened(settings_in(tmp_path)) as stores:
        stores.db.write_now(lambda db: raw(db).run("UPDATE destinations SET url = x'00' WHERE dst_no = 1"))

    done = run_aegis(monkeypatch, capsys, "vault", "rotate")

    assert done.status == 1
    assert "dst_1_0000" in done.stderr


def test_the_command_resets_what_is_lost(tmp_path, folder, monkeypatch, capsys):
    """`aegis vault reset` lists what it deleted, as JSON too, and the service starts again."""
    asyncio.run(fill(tmp_path))
    (folder / "master.key").unlink()

    stopped = run_aegis(monkeypatch, capsys, "key", "list", "--org", "org_a")
    done = run_aegis(monkeypatch, capsys, "vault", "reset", "--yes", "--json")
    lives = run_aegis(monkeypatch, capsys, "key", "list", "--org", "org_a")

    assert (stopped.status, done.status, lives.status) == (1, 0, 0)
    assert "aegis vault reset" in stopped.stderr
    assert [one["dst_id"] for one in json.loads(done.stdout)["deleted"]] == ["dst_1_0000", "dst_1_0001"]
