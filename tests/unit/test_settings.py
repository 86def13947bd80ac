"""Promises of settings: where values come from, how wrong ones are reported, and that secrets are not shown."""

import os
import tempfile
from ipaddress import ip_network
from pathlib import Path

import pytest

from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.errors import Misconfigured
from aegis_stream.settings import NOT_SETTINGS, SETTINGS, DatabaseUrl, Ranged, Settings, load_settings
from aegis_stream.settings.tree import GROUPS
from support.settings import make_settings

PASSWORD_FILE = Path(tempfile.gettempdir()) / f"aegis-test-password-{os.getpid()}"
POSTGRES = {"AEGIS_DATABASE_URL": "postgresql://u@h/d"}
NEEDS = {"AEGIS_DATABASE_LISTEN_URL": POSTGRES, "AEGIS_DATABASE_PASSWORD_FILE": POSTGRES}
"""What some variables are refused without."""
OPERATOR_KEY = "aegis_op_c4n4ry-operator-key"
RANGED = {name: one for name, one in SETTINGS.items() if isinstance(one, Ranged)}
SECRETS = {name for name, one in SETTINGS.items() if one.secret}

GOOD = {
    "data_dir": ("/var/lib/aegis", Path("/var/lib/aegis")),
    "database_url": ("postgresql://u:c4n4ry@h/d", DatabaseUrl.parse("postgresql://u:c4n4ry@h/d")),
    "database_listen_url": ("postgresql://u:c4n4ry@h/d", DatabaseUrl.parse("postgresql://u:c4n4ry@h/d")),
    "database_password_file": (str(PASSWORD_FILE), PASSWORD_FILE),
    "require_sync": ("yes", True),
    "atomic_pages": ("on", True),
    "master_key": ("c4n4ry", "c4n4ry"),
    "master_key_file": ("/run/key", Path("/run/key")),
    "operator_key": (OPERATOR_KEY, OPERATOR_KEY),
    "allow_http": ("true", True),
    "allowed_networks": ("10.0.0.0/8, ::1", (ip_network("10.0.0.0/8"), ip_network("::1/128"))),
    "ca_bundle": ("/etc/ca.pem", Path("/etc/ca.pem")),
    "request_timeout_seconds": ("2.5", 2.5),
    "retry_max_attempts": ("5", 5),
    "retry_base_seconds": ("0.5", 0.5),
    "retry_multiplier": ("3", 3.0),
    "retry_max_seconds": ("7200", 7200.0),
    "retry_jitter": ("0", 0.0),
    "window_max": ("8", 8),
    "retention_days": ("7", 7.0),
    "auto_redrive": ("off", False),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
    "lease_seconds": ("60", 60.0),
    "settle_interval_ms": ("10", 10.0),
    "metrics_port": ("9100", 9100),
    "destinations_max": ("5", 5),
    "ingest_queue_bytes_max": ("1048576", 1_048_576),
    "audit_actions": ("false", False),
    "dead_letters_max": ("5", 5),
    "privacy_check": ("off", False),
    "request_bytes_max": ("2000000", 2_000_000),
    "request_events_max": ("500", 500),
    "event_bytes_max": ("4096", 4096),
    "json_depth_max": ("16", 16),
    "number_digits_max": ("40", 40),
    "decompression_ratio_max": ("50", 50),
    "call_bytes_max": ("65536", 65_536),
    "bytes_under_way_max": ("2000000", 2_000_000),
    "key_ingest_per_second": ("100", 100),
    "key_calls_per_second": ("10", 10),
    "ingest_bytes_per_second": ("1000000", 1_000_000),
    "stored_bytes_max": ("5000000000000", 5_000_000_000_000),
    "failed_keys_per_minute": ("6", 6),
    "tests_per_minute": ("5", 5),
    "trusted_proxies": ("10.0.0.7", (ip_network("10.0.0.7/32"),)),
    "keys_max": ("20", 20),
    "replays_max": ("2", 2),
    "own_addresses": ("192.0.2.1,2001:db8::/64", (ip_network("192.0.2.1/32"), ip_network("2001:db8::/64"))),
    "destination_connections_max": ("600", 600),
    "address_connections_max": ("500", 500),
    "address_requests_per_second": ("500", 500),
    "connections_max": ("100", 100),
    "header_bytes_max": ("8192", 8192),
    "headers_max": ("50", 50),
    "header_timeout_seconds": ("2.5", 2.5),
    "body_timeout_seconds": ("5", 5.0),
    "drain_seconds": ("2.5", 2.5),
    "keep_alive_seconds": ("7.5", 7.5),
    "console_brand_name": ("Acme Audit", "Acme Audit"),
    "console_brand_colour": ("#0B5CAD", "#0b5cad"),
    "console_frame_ancestors": (
        "https://app.example.com/, http://localhost:3000",
        ("https://app.example.com", "http://localhost:3000"),
    ),
    "proof": ("off", False),
    "proof_origin": ("audit.example.com", "audit.example.com"),
    "proof_seconds": ("2.5", 2.5),
    "proof_events": ("100", 100),
    "proof_heartbeat_seconds": ("0", 0.0),
    "proof_contents": ("off", "off"),
    "proof_retention_days": ("400", 400.0),
    "proof_key_overlap_days": ("0.5", 0.5),
}
"""For every setting a value that is not its default, as text and as it is read."""


@pytest.fixture(autouse=True, scope="module")
def password_file():
    """Put a password where the table above expects it."""
    PASSWORD_FILE.write_text("c4n4ry\n")
    yield
    PASSWORD_FILE.unlink()


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"AEGIS_{name.upper()}"


def refused(environment: dict, config: Path | None = None) -> str:
    """Return the one line with which settings are rejected."""
    with pytest.raises(Misconfigured) as caught:
        load_settings(environment, config)
    assert "\n" not in caught.value.message
    return caught.value.message


def write(tmp_path, text: str) -> Path:
    """Write a TOML file."""
    path = tmp_path / "aegis.toml"
    path.write_text(text)
    return path


def test_the_defaults_are_those_of_the_contract():
    """Without environment and file, the documented defaults apply."""
    found = load_settings({})

    assert found == Settings()
    assert found.store.data_dir == Path("aegis-data")
    assert (found.egress.allow_http, found.egress.allowed_networks) == (False, ())
    assert (found.delivery.request_timeout_seconds, found.delivery.window_max) == (10, 512)
    assert (found.delivery.auto_redrive, found.retention.days) == (True, 30)
    assert found.retry.policy == RetryPolicy(3, 60, 2, 3600, 0.1)


def test_these_tests_know_every_setting():
    """The table above has a row for each setting, so that new ones are tested too."""
    assert set(GOOD) == set(SETTINGS)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_every_variable_is_read(name):
    """Each setting is read from its variable, with its own type."""
    text, value = GOOD[name]

    found = load_settings(NEEDS.get(variable(name), {}) | {variable(name): text}).values()[name]

    assert found == value
    assert type(found) is type(value)
    assert value != Settings().values()[name]


@pytest.mark.parametrize("name", sorted(GOOD))
def test_every_setting_is_read_from_the_file(tmp_path, name):
    """Each setting is read from the TOML file under its name in lower case, as a string or as TOML's own type."""
    text, value = GOOD[name]
    spellings = [f'{name} = "{text}"']
    if isinstance(value, bool | int | float):
        spellings.append(f"{name} = {str(value).lower()}")

    for spelling in spellings:
        found = load_settings(NEEDS.get(variable(name), {}), write(tmp_path, spelling))

        assert found.values()[name] == value


def test_networks_may_be_a_list_in_the_file(tmp_path):
    """allowed_networks may be a TOML array."""
    found = load_settings({}, write(tmp_path, 'allowed_networks = ["10.0.0.0/8", "::1"]'))

    assert found.egress.allowed_networks == GOOD["allowed_networks"][1]


@pytest.mark.parametrize("name", sorted(GOOD))
def test_every_setting_is_read_from_its_table(tmp_path, name):
    """Each setting is read from the table of its group, under the name of its field."""
    text, value = GOOD[name]
    group, field = next(
        (group, field)
        for group, members in GROUPS.items()
        for field, setting in members.items()
        if setting.name == name
    )

    found = load_settings(NEEDS.get(variable(name), {}), write(tmp_path, f'[{group}]\n{field} = "{text}"'))

    assert getattr(getattr(found, group), field) == value


def test_a_table_and_a_flat_name_may_stand_in_one_file(tmp_path):
    """Flat names and tables can be mixed, as long as each setting is given once."""
    found = load_settings({}, write(tmp_path, "window_max = 8\n[delivery]\nlease_seconds = 60"))

    assert (found.delivery.window_max, found.delivery.lease_seconds) == (8, 60)


def test_environment_goes_before_file_goes_before_default(tmp_path):
    """A variable takes precedence over the file, and the file over the default."""
    path = write(tmp_path, "window_max = 8\nretry_max_attempts = 9")

    found = load_settings({"AEGIS_WINDOW_MAX": "16"}, path)

    assert (found.delivery.window_max, found.retry.max_attempts, found.retention.days) == (16, 9, 30)


def test_the_file_is_named_by_variable_or_argument(tmp_path):
    """AEGIS_CONFIG names the file; the argument takes precedence; an empty variable names none."""
    one, other = write(tmp_path, "window_max = 8"), tmp_path / "other.toml"
    other.write_text("window_max = 9")

    assert load_settings({"AEGIS_CONFIG": str(one)}).delivery.window_max == 8
    assert load_settings({"AEGIS_CONFIG": str(one)}, other).delivery.window_max == 9
    assert load_settings({"AEGIS_CONFIG": ""}) == Settings()


def test_a_hidden_wrong_value_does_not_matter(tmp_path):
    """A wrong value in the file is ignored if a variable replaces it."""
    path = write(tmp_path, 'window_max = "many"')

    assert load_settings({"AEGIS_WINDOW_MAX": "16"}, path).delivery.window_max == 16


def test_other_variables_are_left_alone():
    """Variables of other programs and of the command line are not settings."""
    environment = {"PATH": "/bin", "XAEGIS_WINDOW_MAX": "x"} | dict.fromkeys(
        NOT_SETTINGS - {"AEGIS_CONFIG"}, "x"
    )

    assert load_settings(environment) == Settings()


@pytest.mark.parametrize(
    "name, text",
    [
        *(("allow_http", text) for text in ("maybe", "", "2", "tru")),
        *(("allowed_networks", text) for text in ("x", "10.0.0.1/8", "10.0.0.0/8,,", "10.0.0.0/33")),
        *(("trusted_proxies", text) for text in ("*", "proxy.example.com", "10.0.0.1/8")),
        *(("retry_max_attempts", text) for text in ("0", "21", "2.5", "x", "", "nan", "1e1")),
        *(("retry_base_seconds", text) for text in ("0", "86401", "x", "nan", "inf", "-1")),
        *(("retry_multiplier", text) for text in ("0.9", "10.1")),
        *(("retry_max_seconds", text) for text in ("0", "604801", "59")),
        *(("retry_jitter", text) for text in ("-0.1", "1.1")),
        *(("request_timeout_seconds", text) for text in ("0", "60.1", "10s")),
        *(("window_max", text) for text in ("0", "1025", "-1")),
        *(("retention_days", text) for text in ("0", "36501")),
        *(("lease_seconds", text) for text in ("0.4", "3601", "14.9")),
        *(("settle_interval_ms", text) for text in ("-1", "1001")),
        *(("metrics_port", text) for text in ("-1", "65536", "http")),
        *(("destinations_max", text) for text in ("0", "100001")),
        *(("ingest_queue_bytes_max", text) for text in ("1048575", "8589934593")),
        *(("log_format", text) for text in ("xml", "JSON")),
        ("log_level", "loud"),
        *(("console_brand_name", text) for text in ("x" * 61, "a\nb", "a\u202eb")),
        *(("console_brand_colour", text) for text in ("blue", "#0b5", "0b5cad", "#0b5cad;}")),
        *(
            ("console_frame_ancestors", text)
            for text in (
                *(
                    "*",
                    "'self'",
                    "https://*",
                    "https://*.example.com",
                    "http://app.example.com",
                    "app.example.com",
                ),
                *(
                    "https://a.example/x",
                    "https://a.example; script-src *",
                    "https://a.example https://b.example",
                ),
                ",".join(f"https://a{number}.example" for number in range(21)),
            )
        ),
        *(("database_url", text) for text in ("mysql://u:c4n4ry@h/d", "c4n4ry.db", "sqlite:c4n4ry")),
        *(("database_listen_url", text) for text in ("sqlite:///c4n4ry", "postgresql://u:c4n4ry@h")),
        *(("operator_key", text) for text in ("c4n4ry", "aegis_op_c4n4ry", "c4n4ry" * 8)),
    ],
)
def test_a_wrong_value_names_its_variable(name, text):
    """A wrong value stops the start with one line that names the variable and repeats no secret."""
    message = refused({variable(name): text})

    assert variable(name) in message
    assert "c4n4ry" not in message


@pytest.mark.parametrize("name", sorted(RANGED))
@pytest.mark.parametrize("side", [0, 1], ids=["lowest", "highest"])
def test_what_lies_beyond_a_range_is_refused(name, side):
    """Values just outside a range are rejected, with both limits in the message."""
    low, high = RANGED[name].low, RANGED[name].high
    step = 1 if isinstance(Settings().values()[name], int) else 0.01

    message = refused({variable(name): str((low - step, high + step)[side])})

    assert variable(name) in message
    assert f"from {low} to {high}" in message


@pytest.mark.parametrize("name", sorted(RANGED))
@pytest.mark.parametrize("side", [0, 1], ids=["lowest", "highest"])
def test_both_ends_of_each_range_are_good(name, side):
    """The lowest and the highest value of each range are accepted."""
    environment = {
        "AEGIS_REQUEST_TIMEOUT_SECONDS": "0.1",
        "AEGIS_LEASE_SECONDS": "3600",
        "AEGIS_RETRY_BASE_SECONDS": "0.001",
        "AEGIS_RETRY_MAX_SECONDS": "604800",
        "AEGIS_EVENT_BYTES_MAX": "1024",
        "AEGIS_REQUEST_BYTES_MAX": "1073741824",
        variable(name): str((RANGED[name].low, RANGED[name].high)[side]),
    }
    if name == "lease_seconds" and side == 0:
        environment[variable(name)] = "5.1"  # must be longer than a request

    assert load_settings(environment).values()[name] == pytest.approx(float(environment[variable(name)]))


@pytest.mark.parametrize(
    "name", ["AEGIS_WINDOWMAX", "AEGIS_", "AEGIS_RETRY", "AEGIS_window_max_", "AEGIS_MASTER_KEYS"]
)
def test_an_unknown_variable_is_named(name):
    """An unknown variable with our prefix stops the start; the message has its name and not its value."""
    message = refused({name: "c4n4ry"})

    assert name in message
    assert "c4n4ry" not in message


@pytest.mark.parametrize(
    "text, named",
    [
        ("windowmax = 8", "windowmax"),
        ("window_max = 0", "window_max"),
        ("window_max = true", "window_max"),
        ("window_max = 2.5", "window_max"),
        ("window_max = inf", "window_max"),
        ("window_max = nan", "window_max"),
        ("window_max = [1]", "window_max"),
        ("allow_http = 5", "allow_http"),
        ("allowed_networks = 5", "allowed_networks"),
        ("allowed_networks = [5]", "allowed_networks"),
        ("data_dir = 5", "data_dir"),
        ('data_dir = ["x"]', "data_dir"),
        ("log_level = 5", "log_level"),
        ("[retry]\nmax_tries = 5", "retry.max_tries"),
        ("[retry]\nmax_attempts = 0", "retry.max_attempts"),
        ("retry = 5", "retry"),
        ("[retry.max_attempts]\nx = 5", "retry.max_attempts"),
        ("[window_max]\nx = 5", "window_max"),
        ("[deliver]\nwindow_max = 5", "deliver"),
        ("window_max = 5\n[delivery]\nwindow_max = 5", "delivery.window_max"),
        ("window_max 5", "aegis.toml"),
        ("window_max = 5\nwindow_max = 6", "aegis.toml"),
    ],
    ids=ascii,
)
def test_a_wrong_value_in_the_file_is_named(tmp_path, text, named):
    """Wrong values, unknown names and wrong types in the file are reported with the file."""
    message = refused({}, write(tmp_path, text))

    assert named in message
    assert "aegis.toml" in message


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path):
    """A file that cannot be read is named."""
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")

    assert "none.toml" in refused({}, tmp_path / "none.toml")
    assert "binary.toml" in refused({}, binary)
    assert str(tmp_path) in refused({"AEGIS_CONFIG": str(tmp_path)})


def test_settings_that_do_not_go_together_name_both():
    """Settings that contradict each other are both named: lease and timeout, longest and first delay."""
    lease = refused({"AEGIS_LEASE_SECONDS": "20", "AEGIS_REQUEST_TIMEOUT_SECONDS": "16"})
    retry = refused({"AEGIS_RETRY_BASE_SECONDS": "100", "AEGIS_RETRY_MAX_SECONDS": "99"})

    assert "AEGIS_LEASE_SECONDS" in lease
    assert "AEGIS_REQUEST_TIMEOUT_SECONDS" in lease
    assert "AEGIS_RETRY_MAX_SECONDS" in retry
    assert "AEGIS_RETRY_BASE_SECONDS" in retry


def test_settings_that_do_not_go_together_say_where_each_was_set(tmp_path):
    """Both settings are reported with their value and its place: environment, file, or default."""
    path = write(tmp_path, "request_timeout_seconds = 28")

    message = refused({}, path)
    other = refused({"AEGIS_LEASE_SECONDS": "14"})

    assert "AEGIS_LEASE_SECONDS (30 by default)" in message
    assert f"AEGIS_REQUEST_TIMEOUT_SECONDS (28 in {path})" in message
    assert "AEGIS_LEASE_SECONDS (14 in the environment)" in other
    assert "AEGIS_REQUEST_TIMEOUT_SECONDS (10 by default)" in other


@pytest.mark.parametrize(
    "name, advice",
    [
        ("AEGIS_WINDOWMAX", "did you mean AEGIS_WINDOW_MAX?"),
        ("AEGIS_RETENTION_DAY", "did you mean AEGIS_RETENTION_DAYS?"),
        ("AEGIS_XYZ", "docs/"),
    ],
)
def test_an_unknown_name_gets_advice(name, advice):
    """A misspelled name is answered with the right one, any other with the page that lists them all."""
    assert advice in refused({name: "5"})


def test_an_unknown_name_in_a_table_gets_advice(tmp_path):
    """The advice includes the name of the table."""
    message = refused({}, write(tmp_path, "[retention]\nday = 5"))

    assert "retention.day in" in message
    assert "did you mean retention.days?" in message


def test_a_setting_given_twice_in_the_file_names_both_places(tmp_path):
    """A flat name and its name in a table are the same setting: both in one file are rejected."""
    message = refused({}, write(tmp_path, "retention_days = 5\n[retention]\ndays = 6"))

    assert "retention_days and retention.days" in message


def test_a_wrong_value_says_where_it_was_set(tmp_path):
    """The message has the value, its place, and the range."""
    path = write(tmp_path, "window_max = 0")

    assert refused({"AEGIS_WINDOW_MAX": "9999"}) == (
        "AEGIS_WINDOW_MAX is '9999' in the environment: it must be a whole number from 1 to 1024"
    )
    assert refused({}, path) == f"window_max is 0 in {path}: it must be a whole number from 1 to 1024"


def test_a_long_wrong_value_is_cut():
    """A message repeats only the beginning of a long value."""
    assert len(refused({"AEGIS_WINDOW_MAX": "9" * 3000})) < 200


def test_the_largest_event_fits_into_the_largest_request():
    """A request limit below the event limit is rejected with both names; an equal one is accepted."""
    message = refused({"AEGIS_REQUEST_BYTES_MAX": "262143"})

    assert "AEGIS_REQUEST_BYTES_MAX" in message
    assert "AEGIS_EVENT_BYTES_MAX" in message
    assert load_settings({"AEGIS_REQUEST_BYTES_MAX": "262144"}).ingest.request_bytes_max == 262_144


@pytest.mark.parametrize(
    "name",
    [
        "database_url",
        "database_listen_url",
        "database_password_file",
        "master_key",
        "master_key_file",
        "operator_key",
        "ca_bundle",
        "data_dir",
    ],
)
def test_an_empty_variable_is_as_if_not_set(name):
    """An empty path or key counts as not set, because container tools set empty variables."""
    assert load_settings({variable(name): ""}) == Settings()


def test_an_empty_variable_does_not_hide_the_file(tmp_path):
    """An empty variable that counts as not set leaves the file's value in force."""
    path = write(tmp_path, 'data_dir = "/srv/aegis"')

    assert load_settings({"AEGIS_DATA_DIR": ""}, path).store.data_dir == Path("/srv/aegis")


@pytest.mark.parametrize(
    "text, value",
    [
        ("true", True),
        ("TRUE", True),
        ("1", True),
        ("yes", True),
        ("on", True),
        (" false ", False),
        ("0", False),
        ("No", False),
    ],
)
def test_reads_booleans_as_people_write_them(text, value):
    """Common spellings of true and false are accepted."""
    assert load_settings({"AEGIS_ALLOW_HTTP": text}).egress.allow_http is value


def test_shows_all_and_masks_secrets():
    """shown() has every setting as text; secrets are masked, or empty if they are not set."""
    environment = {variable(name): text for name, (text, _) in GOOD.items()}
    del environment["AEGIS_DATABASE_PASSWORD_FILE"]  # the URL has its password

    shown = load_settings(environment).shown()

    assert set(shown) == set(GOOD)
    assert all(isinstance(value, str) for value in shown.values())
    assert {shown[name] for name in SECRETS} == {"****"}
    assert "c4n4ry" not in repr(shown)
    assert shown["allowed_networks"] == "10.0.0.0/8,::1/128"
    assert (shown["allow_http"], shown["data_dir"], shown["window_max"]) == ("true", "/var/lib/aegis", "8")
    assert {Settings().shown()[name] for name in SECRETS} == {""}


def test_what_is_shown_can_be_set_again():
    """The shown values, except secrets, can be set as variables and give the same settings."""
    given = {name: text for name, (text, _) in GOOD.items() if name not in SECRETS}
    del given["database_password_file"]  # has no meaning without a URL, which is a secret
    found = load_settings({variable(name): text for name, text in given.items()})

    environment = {variable(name): text for name, text in found.shown().items() if name not in SECRETS}

    assert load_settings(environment) == found


def test_keys_are_not_in_the_repr():
    """The repr of settings, which may be in a traceback, does not contain keys."""
    assert "c4n4ry" not in repr(
        make_settings(
            master_key="c4n4ry",
            operator_key=OPERATOR_KEY,
            database_url=DatabaseUrl.parse("postgresql://u:c4n4ry@h/d"),
        )
    )


# ── the database ──


def test_a_lease_is_shorter_on_postgresql():
    """A lease is 15 seconds by default on PostgreSQL and 30 on SQLite; a lease that is set is kept on both."""
    lite = {"AEGIS_DATABASE_URL": "sqlite:///a.db"}

    found = [load_settings(one).delivery.lease_seconds for one in ({}, lite, POSTGRES)]
    given = load_settings(POSTGRES | {"AEGIS_LEASE_SECONDS": "40"}).delivery.lease_seconds

    assert (*found, given) == (30, 30, 15, 40)


@pytest.mark.parametrize("content", ["c4n4ry", "c4n4ry\n", "c4n4ry\r\n"])
def test_the_password_may_be_in_a_file(tmp_path, content):
    """The line of the password file is the password of both URLs; the line's end is not part of it."""
    path = tmp_path / "password"
    path.write_bytes(content.encode())
    direct = {"AEGIS_DATABASE_LISTEN_URL": "postgresql://u@direct/d"}

    store = load_settings(POSTGRES | direct | {"AEGIS_DATABASE_PASSWORD_FILE": str(path)}).store

    assert (store.database_url.password, store.database_listen_url.password) == ("c4n4ry", "c4n4ry")


def test_the_direct_url_may_have_a_password_of_its_own(tmp_path):
    """The file's password replaces none that a URL for LISTEN has."""
    path = tmp_path / "password"
    path.write_text("one")
    direct = {"AEGIS_DATABASE_LISTEN_URL": "postgresql://u:other@direct/d"}

    store = load_settings(POSTGRES | direct | {"AEGIS_DATABASE_PASSWORD_FILE": str(path)}).store

    assert (store.database_url.password, store.database_listen_url.password) == ("one", "other")


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"c4n4ry\nc4n4ry\n", b"c4n4ry\0", b"c4n4ry\xff", b"c4n4ry" * 1000, None],
    ids=["empty", "blank", "two lines", "NUL", "not UTF-8", "long", "missing"],
)
def test_a_bad_password_file_stops_the_start(tmp_path, content):
    """A password file that is missing or has no one password is reported by its setting and path, without what is in it."""
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)

    message = refused(POSTGRES | {"AEGIS_DATABASE_PASSWORD_FILE": str(path)})

    assert "AEGIS_DATABASE_PASSWORD_FILE" in message
    assert str(path) in message
    assert "c4n4ry" not in message


@pytest.mark.parametrize("name", ["AEGIS_DATABASE_LISTEN_URL", "AEGIS_DATABASE_PASSWORD_FILE"])
@pytest.mark.parametrize("url", [{}, {"AEGIS_DATABASE_URL": "sqlite:///a.db"}], ids=["none", "sqlite"])
def test_what_belongs_to_postgresql_needs_its_url(name, url):
    """A URL for LISTEN or a password file without a PostgreSQL URL stops the start: nobody falls back to SQLite unnoticed."""
    text = GOOD[name.removeprefix("AEGIS_").lower()][0]

    message = refused(url | {name: text})

    assert name in message
    assert "AEGIS_DATABASE_URL" in message


def test_two_passwords_stop_the_start():
    """A password in the URL and a password file contradict each other; the message names both and shows neither."""
    message = refused({variable(name): GOOD[name][0] for name in ("database_url", "database_password_file")})

    assert "AEGIS_DATABASE_URL" in message
    assert "AEGIS_DATABASE_PASSWORD_FILE" in message
    assert "c4n4ry" not in message
