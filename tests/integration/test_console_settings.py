"""Promises of a destination's settings: every field is changed after a look at what changes, nothing typed is lost, no secret is shown."""

import html
import re

import pytest

from aegis_stream.console.settings_form import DRAFT_S, SHOWN
from aegis_stream.domain.attempt import Response
from aegis_stream.domain.destination import Filter
from support.api import SECRET, open_world
from support.console import Visitor

HOME = "/console/o/org_abc"
CANARY = "c4n4ry-of-the-settings"
_FIELD = re.compile(r'<(?:input|textarea|select)[^>]* name="([a-z_0-9]+)"')


@pytest.fixture
async def world(tmp_path):
    """A running application that records who did what."""
    async with open_world(tmp_path, audit_actions=True) as world:
        yield world


class Editor:
    """Somebody who changes the settings of one destination, as a browser would send them."""

    def __init__(self, visitor, dst_id):
        """Begin with nothing opened."""
        self.visitor, self.path = visitor, f"{HOME}/d/{dst_id}/settings"

    @property
    def page(self):
        """The page that was shown last, as text."""
        return html.unescape(self.visitor.page)

    def value(self, name):
        """Return the value of a field on the page; a list of what is ticked for boxes."""
        page = self.visitor.page
        if found := re.search(rf'<textarea[^>]* name="{name}"[^>]*>(.*?)</textarea>', page, re.DOTALL):
            return html.unescape(found[1])
        if found := re.search(rf'<select[^>]* name="{name}"[^>]*>(.*?)</select>', page, re.DOTALL):
            return re.search(r"<option selected>([^<]*)", found[1])[1]
        if f'type="checkbox" name="{name}"' in page:
            return re.findall(rf'name="{name}" value="([^"]*)" checked', page)
        return html.unescape(re.search(rf'<input[^>]* name="{name}"[^>]* value="([^"]*)"', page)[1])

    async def open(self):
        """Open the page."""
        await self.visitor.get(self.path)
        return self

    async def send(self, **changes):
        """Send the form with some fields changed."""
        form = self.visitor.page.partition(f'action="{self.path}"')[2].partition("</form>")[0]
        fields = {name: self.value(name) for name in dict.fromkeys(_FIELD.findall(form))}
        assert changes.keys() <= fields.keys(), changes.keys() - fields.keys()
        return await self.visitor.post(self.path, fields | changes)

    async def confirm(self, button="anyway"):
        """Press a button of the page that shows what changes; by default the one that saves without a test."""
        fields = {name: self.value(name) for name in ("draft", "confirmed")}
        return await self.visitor.post(self.path, fields | {button: "1"})

    def changes(self):
        """Return what the page says that changes: field → (before, after)."""
        rows = re.findall(
            r'<th scope="row">(.*?)</th>\s*<td[^>]*>(.*?)</td>\s*<td[^>]*>(.*?)</td>', self.page
        )
        return {label: (before, after) for label, before, after in rows}


async def editor_of(world, key, dst_id):
    """Return somebody who has signed in and opened the settings."""
    visitor = Visitor(world)
    await visitor.sign_in(key)
    return await Editor(visitor, dst_id).open()


EVERYTHING = {
    "name": ("New name", "Name", "New name"),
    "auth_header_name": ("X-Key", "Name of the auth header", "X-Key"),
    "auth_header_value": (CANARY, "Credential", "replaced"),
    "datasets": ("my.app\nother app, too", "Datasets", "my.app, other app, too"),
    "decisions": (["BLOCKED"], "Decisions", "BLOCKED"),
    "format": ("ndjson", "Format", "ndjson"),
    "compression": ("gzip", "Compression", "gzip"),
    "max_events": ("50", "Most events in a request", "50"),
    "max_bytes": ("5000", "Most bytes in a request", "5000"),
    "max_wait_ms": ("0", "Longest wait for a full batch, ms", "0"),
    "max_attempts": ("7", "Attempts before the dead letter", "7"),
    "base_seconds": ("0.5", "Delay before the second attempt, s", "0.5"),
    "multiplier": ("3", "Growth of the delay", "3"),
    "max_seconds": ("90", "Longest delay, s", "90"),
    "h_name_0": ("X-Tenant", None, None),
    "h_value_0": (f"{CANARY}-header", "Header X-Tenant", "set"),
}


async def test_every_field_is_changed_after_a_look_at_what_changes(world, tenant):
    """The page shows each change before and after, saves nothing before it is confirmed, then exactly that; no secret is on any page."""
    dst_id = await world.make_destination(tenant, name="Elastic prod")
    before = (await world.stored(tenant, dst_id)).spec
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await editor.send(**{name: value for name, (value, _, _) in EVERYTHING.items()})
    looked = editor.visitor.page
    told = editor.changes()
    unsaved = (await world.stored(tenant, dst_id)).spec
    answer = await editor.confirm()
    await editor.visitor.get(answer.headers["location"])
    saved = editor.visitor.page
    await editor.open()
    after = (await world.stored(tenant, dst_id)).spec

    expected = {label: shown for _, label, shown in EVERYTHING.values() if label}
    assert {label: now for label, (_, now) in told.items()} == expected
    assert told["Name"] == ("Elastic prod", "New name")
    assert told["Datasets"] == ("all", "my.app, other app, too")
    assert told["Credential"] == ("set", "replaced")
    assert unsaved == before
    assert "The change is saved" in saved
    assert (after.name, after.url, after.auth_header_name) == ("New name", before.url, "X-Key")
    assert after.auth_header_value == CANARY
    assert after.filter == Filter(("my.app", "other app, too"), ("BLOCKED",))
    assert (after.format, after.compression) == ("ndjson", "gzip")
    assert (after.batch.max_events, after.batch.max_bytes, after.batch.max_wait_ms) == (50, 5000, 0)
    assert (after.retry.max_attempts, after.retry.base_seconds, after.retry.multiplier) == (7, 0.5, 3)
    assert after.retry.max_seconds == 90
    assert after.headers == (("X-Tenant", f"{CANARY}-header"),)
    assert CANARY not in looked + saved + editor.visitor.page
    assert SECRET not in looked + saved + editor.visitor.page


async def test_the_form_shows_what_is_stored(world, tenant):
    """Sent as it was opened, the form changes nothing and says so."""
    dst_id = await world.make_destination(
        tenant,
        name="Elastic prod",
        filter={"datasets": ["a", "b c"], "decisions": ["ALLOWED", "BLOCKED"]},
        retry={"base_seconds": 0.25},
        headers={"X-One": "1", "X-Two": "2"},
    )
    before = await world.stored(tenant, dst_id)
    editor = await editor_of(world, tenant.admin.key, dst_id)
    answer = await editor.send()

    assert answer.status_code == 422
    assert "Nothing differs from what is stored" in editor.page
    assert await world.stored(tenant, dst_id) == before


async def test_a_wrong_field_is_told_beside_it_and_everything_stays(world, tenant):
    """Each problem is at its field and linked from the top; all that was typed is still there, secrets sealed, and can be saved."""
    dst_id = await world.make_destination(tenant, name="Elastic prod")
    editor = await editor_of(world, tenant.admin.key, dst_id)
    answer = await editor.send(
        url="https://10.0.0.5/x",
        auth_header_value=CANARY,
        max_events="many",
        name="Mine",
    )
    unread = editor.page
    again = await editor.send(max_events="20000", base_seconds="0")
    refused = editor.page
    await editor.send(max_events="20", base_seconds="2", url="https://siem.example.com/other")
    await editor.confirm()
    after = (await world.stored(tenant, dst_id)).spec

    assert (answer.status_code, again.status_code) == (422, 422)
    assert "must be a whole number" in unread
    assert 'value="many"' in unread
    for field in ("url", "max_events", "base_seconds"):
        assert f'href="#f-{field}"' in refused
        assert re.search(rf'name="{field}"[^>]*aria-invalid="true"', refused)
    assert "AEGIS_ALLOWED_NETWORKS" in refused
    assert "What you typed is kept" in refused
    assert CANARY not in unread + refused
    assert (after.name, after.auth_header_value, after.batch.max_events) == ("Mine", CANARY, 20)


async def test_back_to_the_form_keeps_everything(world, tenant):
    """From the page that shows what changes one can go back, and what was typed is still there, the secret too."""
    dst_id = await world.make_destination(tenant, name="Elastic prod")
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await editor.send(name="Mine", auth_header_value=CANARY, datasets="my.app")
    await editor.confirm("edit")
    back = editor.visitor.page
    typed = (editor.value("name"), editor.value("datasets"))
    await editor.send()
    await editor.confirm()

    assert typed == ("Mine", "my.app")
    assert CANARY not in back
    assert (await world.stored(tenant, dst_id)).spec.auth_header_value == CANARY


async def test_a_credential_never_follows_to_another_host(world, tenant):
    """Another host drops credential and headers, the page says so before; a kept header beside it is refused."""
    dst_id = await world.make_destination(tenant, headers={"X-One": "of-the-old-host", "X-Two": "2"})
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await editor.send(url="https://evil.example.com/x", h_name_2="X-New", h_value_2="new")
    kept = editor.page
    await editor.open()
    await editor.send(url="https://evil.example.com/x")
    told, page = editor.changes(), editor.page
    await editor.confirm()
    after = (await world.stored(tenant, dst_id)).spec

    assert "a stored value is not kept when the host of url" in kept
    assert 'href="#f-h_value_0"' in kept
    assert told["Credential"] == ("set", "removed")
    assert told["Header X-One"] == ("set", "removed")
    assert "never follows to another host" in page
    assert (after.auth_header_value, after.headers) == (None, ())


async def test_headers_are_kept_replaced_removed_and_added(world, tenant):
    """A header whose value is left empty keeps it; one without a name goes; a value without a name is told."""
    dst_id = await world.make_destination(tenant, headers={"X-One": "1", "X-Two": "2", "X-Three": "3"})
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await editor.send(h_value_3="nameless")
    nameless = editor.page
    await editor.open()
    await editor.send(h_value_1="new", h_name_2="", h_name_3="X-Four", h_value_3="4")
    told = editor.changes()
    await editor.confirm()

    assert "the value beside it needs a name" in nameless
    assert told == {
        "Header X-Two": ("set", "replaced"),
        "Header X-Three": ("set", "removed"),
        "Header X-Four": ("none", "set"),
    }
    assert (await world.stored(tenant, dst_id)).spec.headers == (
        ("X-One", "1"),
        ("X-Two", "new"),
        ("X-Four", "4"),
    )


async def test_the_oauth_client_is_changed_and_removed(world, tenant):
    """Scope and secret of the client change, the secret is never shown, and empty fields remove the client."""
    client = {"token_url": "https://login.example.com/t", "client_id": "me", "client_secret": "0ld-one"}
    dst_id = await world.make_destination(
        tenant, auth_header_name=None, auth_header_value=None, oauth2=client
    )
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await editor.send(oauth_scope="read", client_secret=CANARY)
    told = editor.changes()
    await editor.confirm()
    changed = (await world.stored(tenant, dst_id)).spec.oauth2
    await editor.open()
    shown = editor.visitor.page
    await editor.send(token_url="", client_id="", oauth_scope="")
    await editor.confirm()

    assert told == {"Scope": ("none", "read"), "Client secret": ("set", "replaced")}
    assert (changed.scope, changed.client_secret) == ("read", CANARY)
    assert CANARY not in shown
    assert (await world.stored(tenant, dst_id)).spec.oauth2 is None


async def test_a_second_editor_is_told_and_loses_nothing(world, tenant):
    """Whoever saves after somebody else sees who changed what, both versions, and everything typed; the others' fields are not undone."""
    dst_id = await world.make_destination(tenant, name="Elastic prod")
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await tenant.admin.patch(
        f"/forwarding-destinations/{dst_id}", json={"name": "Theirs", "batch": {"max_events": 9}}
    )
    answer = await editor.send(name="Mine", auth_header_value=CANARY)
    page = editor.page
    again = await editor.send()
    told = editor.changes()
    await editor.confirm()
    after = (await world.stored(tenant, dst_id)).spec

    assert answer.status_code == 409
    assert 'value="Mine"' in page
    assert "Stored now: Theirs; when you opened the page: Elastic prod." in page
    assert "changed destination" in page
    assert CANARY not in page
    assert again.status_code == 200
    assert told == {"Name": ("Theirs", "Mine"), "Credential": ("set", "replaced")}
    assert (after.name, after.batch.max_events, after.auth_header_value) == ("Mine", 9, CANARY)


async def test_a_change_between_look_and_save_is_told(world, tenant):
    """Somebody who is faster between the two pages is noticed as well."""
    dst_id = await world.make_destination(tenant, name="Elastic prod")
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await editor.send(name="Mine")
    await tenant.admin.patch(f"/forwarding-destinations/{dst_id}", json={"name": "Theirs"})
    answer = await editor.confirm()

    assert answer.status_code == 409
    assert editor.value("name") == "Mine"
    assert (await world.stored(tenant, dst_id)).spec.name == "Theirs"


async def test_what_is_no_change_of_settings_disturbs_nobody(world, tenant):
    """A redrive gives the destination another revision; whoever changes settings meanwhile is not stopped by it."""
    dst_id = await world.make_destination(tenant, name="Elastic prod")
    await world.send_events(tenant, 3)
    await world.add_dead_letters(tenant, dst_id, [2])
    editor = await editor_of(world, tenant.admin.key, dst_id)
    before = (await world.stored(tenant, dst_id)).revision
    await tenant.admin.post(f"/forwarding-destinations/{dst_id}/dead-letters/redrive", json={})
    answer = await editor.send(name="Mine")

    assert (await world.stored(tenant, dst_id)).revision > before
    assert answer.status_code == 200
    assert editor.changes() == {"Name": ("Elastic prod", "Mine")}


async def test_a_page_that_was_opened_long_ago_is_compared(world, tenant):
    """After four hours the draft is not taken: what was typed stands beside what is stored now, and can be saved then."""
    dst_id = await world.make_destination(tenant, name="Elastic prod")
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await tenant.admin.patch(f"/forwarding-destinations/{dst_id}", json={"name": "Theirs"})
    world.clock.advance(DRAFT_S + 1)
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    again = Editor(visitor, dst_id)
    answer = await visitor.post(again.path, {"draft": editor.value("draft"), "name": "Mine"})
    page = again.page
    await again.send()
    await again.confirm("anyway")

    assert answer.status_code == 409
    assert "opened too long ago" in page
    assert "Stored now: Theirs." in page
    assert (await world.stored(tenant, dst_id)).spec.name == "Mine"


async def test_a_draft_belongs_to_its_author(world, tenant):
    """A draft that somebody else sealed, or for another destination, gives its secret to nobody."""
    dst_id = await world.make_destination(tenant)
    other_id = await world.make_destination(tenant)
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await editor.send(auth_header_value=CANARY)
    stolen = editor.value("draft")
    made = (await tenant.admin.post("/api-keys", json={"name": "x", "scope": "admin"})).json()
    thief = await editor_of(world, made["api_key"], dst_id)
    by_thief = await thief.visitor.post(
        thief.path, {"draft": stolen, "confirmed": "1", "save": "1", "url": "https://evil.example.com/"}
    )
    elsewhere = Editor(editor.visitor, other_id)
    await elsewhere.open()
    by_path = await editor.visitor.post(elsewhere.path, {"draft": stolen, "confirmed": "1", "save": "1"})

    assert (by_thief.status_code, by_path.status_code) == (409, 409)
    for one in (dst_id, other_id):
        assert (await world.stored(tenant, one)).spec.auth_header_value == SECRET


async def test_a_url_that_is_the_credential_is_masked_once_it_is_typed(world, tenant):
    """Where the URL is the secret, neither form nor comparison shows it in full, and it is saved all the same."""
    url = "https://collect.example.com/receiver/v1/http/"
    dst_id = await world.make_destination(
        tenant, url=url + "b2xkLW9sZC1vbGQtb2xk", auth_header_name=None, auth_header_value=None
    )
    editor = await editor_of(world, tenant.admin.key, dst_id)
    opened = editor.page
    await editor.send(url=f"{url}{CANARY}", max_events="0")
    refused = editor.page
    await editor.send(max_events="10")
    told = editor.page
    await editor.confirm()

    assert "b2xkLW9sZC1vbGQ" not in opened + refused + told
    assert CANARY not in refused + told
    assert (await world.stored(tenant, dst_id)).spec.url == f"{url}{CANARY}"


async def test_a_read_key_sees_every_setting_and_no_form(world, tenant):
    """Whoever may only read sees what is set, without secrets and without a form."""
    dst_id = await world.make_destination(tenant, name="Elastic prod", headers={"X-One": CANARY})
    reader = await editor_of(world, tenant.read.key, dst_id)

    assert "X-One" in reader.page
    assert "set, never shown" in reader.page
    assert CANARY not in reader.page
    assert SECRET not in reader.page
    assert f'action="{reader.path}"' not in reader.page


def test_the_form_has_every_field_that_can_be_changed():
    """Every field of the API's call that changes a destination is in the form, but `enabled`, which has buttons."""
    from aegis_stream.api.schemas.destinations import BatchBody, DestinationPatchWrite, RetryBody

    groups = {
        "filter": ("datasets", "decisions"),
        "oauth2": ("token_url", "client_id", "oauth_scope"),
        "headers": ("h_name_0",),
    }
    groups |= {"batch": BatchBody.__struct_fields__, "retry": RetryBody.__struct_fields__}
    groups |= {"enabled": (), "auth_header_value": ()}
    wanted = {part for name in DestinationPatchWrite.__struct_fields__ for part in groups.get(name, (name,))}

    assert wanted <= set(SHOWN)


async def test_a_change_is_tested_before_it_is_saved(world, tenant):
    """A test of the change goes out first, with what was typed; a failed one saves nothing and shows why, and can be saved anyway."""
    dst_id = await world.make_destination(tenant, name="Elastic prod", format="json")
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await editor.send(auth_header_value=CANARY)
    asked = editor.page
    world.sender.answers = [Response(401, b"who is " + CANARY.encode() + b"?", 8100)]
    await editor.confirm("save")
    failed = editor.page
    unsaved = (await world.stored(tenant, dst_id)).spec
    sent = [dict(route.headers)["Authorization"] for route, _ in world.sender.posts]
    await editor.confirm("anyway")
    saved = (await world.stored(tenant, dst_id)).spec

    assert "Test and save" in asked
    assert "Save anyway" not in asked
    assert "The test event was not taken" in failed
    assert 'data-stage="Answer"' in failed
    assert "does not accept the credential" in failed
    assert "Save anyway" in failed
    assert CANARY not in failed
    assert unsaved.auth_header_value == SECRET
    assert sent == [CANARY]
    assert saved.auth_header_value == CANARY
    assert len(world.sender.posts) == 1, "saving anyway sends nothing"


async def test_a_change_whose_test_is_taken_is_saved(world, tenant):
    """One button tests and saves; the test is in the audit trail by the destination's id, and what was tested by no secret."""
    dst_id = await world.make_destination(tenant, name="Elastic prod", format="json")
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await editor.send(auth_header_value=CANARY)
    answer = await editor.confirm("save")
    trail = (await tenant.read.get("/events", dataset="aegis.audit_stream.admin")).json()["data"]
    events = [one["event"] for one in trail][-2:]

    assert answer.status_code == 303
    assert [one["event"]["action"] for one in events] == ["destination_test", "destination_change"]
    assert events[0]["aegis"]["audit"] == {
        "target": {"type": "destination", "id": dst_id, "name": "Elastic prod"},
        "after": {"saved": False, "status_code": 202},
    }
    assert CANARY not in str(trail)


async def test_what_changes_no_request_is_not_tested(world, tenant):
    """A name or a filter is saved at once: nothing would be learned from a test."""
    dst_id = await world.make_destination(tenant, name="Elastic prod", format="json")
    editor = await editor_of(world, tenant.admin.key, dst_id)
    await editor.send(name="Elastic", datasets="my.app", max_attempts="5")
    asked = editor.page
    answer = await editor.confirm("save")

    assert "Test and save" not in asked
    assert answer.status_code == 303
    assert world.sender.posts == []


async def test_too_many_tests_do_not_keep_a_change_from_being_saved(tmp_path):
    """Where no more tests may be sent, the page says so, and the change can be saved without one."""
    async with open_world(tmp_path, tests_per_minute=1) as world:
        tenant = await world.make_organization()
        dst_id = await world.make_destination(tenant, format="json")
        await tenant.admin.post(f"/forwarding-destinations/{dst_id}/test")
        editor = await editor_of(world, tenant.admin.key, dst_id)
        await editor.send(auth_header_value=CANARY)
        await editor.confirm("save")
        late = editor.page
        unsaved = (await world.stored(tenant, dst_id)).spec
        await editor.confirm("anyway")
        saved = (await world.stored(tenant, dst_id)).spec

    assert "The change was not tested, and not saved: too many test events" in late
    assert unsaved.auth_header_value == SECRET
    assert saved.auth_header_value == CANARY
