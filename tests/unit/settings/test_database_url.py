"""Promises of DatabaseUrl: what a URL means, what libpq gets, and that nothing but `conninfo` shows a secret."""

import pickle
import traceback
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from aegis_stream.settings.database_url import _PARAMETERS, DEFAULTS, DatabaseUrl, Host

CANARY = "c4n4ry"


def parse(text: str) -> DatabaseUrl:
    """Parse a URL."""
    return DatabaseUrl.parse(text)


def asked(text: str) -> dict[str, str]:
    """Return what libpq understands by the URI that it gets for a URL."""
    return {name: str(value) for name, value in conninfo_to_dict(parse(text).conninfo()).items()}


def refused(text: str) -> str:
    """Return why a URL is rejected, with everything that a traceback of the error shows."""
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)).replace("parse(text)", "")
    assert CANARY not in shown
    return str(caught.value)


@pytest.mark.parametrize(
    "text, path",
    [
        ("sqlite:///aegis.db", Path("aegis.db")),
        ("sqlite:////var/lib/aegis.db", Path("/var/lib/aegis.db")),
        ("sqlite:///a b?c#d.db", Path("a b?c#d.db")),
    ],
)
def test_a_sqlite_url_names_its_file(text, path):
    """What follows sqlite:/// is the path, as it is written."""
    url = parse(text)

    assert (url.is_postgres, url.sqlite_path, url.safe()) == (False, path, text)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("postgresql://h/d", {"host": "h", "dbname": "d"}),
        ("postgres://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
        ("postgresql://u:p@h:5433/d", {"user": "u", "password": "p", "host": "h", "port": "5433"}),
        ("postgresql://u:p@h1:1,h2,h3:3/d", {"host": "h1,h2,h3", "port": "1,,3"}),
        ("postgresql://u@[::1]:5433,[fe80::1%25eth0]/d", {"host": "::1,fe80::1%eth0", "port": "5433,"}),
        ("postgresql:///d?host=/run/postgresql", {"host": "/run/postgresql", "dbname": "d"}),
        ("postgresql://%2Frun%2Fpg/d", {"host": "/run/pg"}),
        ("postgresql:///d?host=h1,h2&port=1,2", {"host": "h1,h2", "port": "1,2"}),
        ("postgresql:///d?host=h1,h2&port=5433", {"host": "h1,h2", "port": "5433,5433"}),
        ("postgresql:///?user=u&password=p&dbname=d&host=h", {"user": "u", "password": "p", "dbname": "d"}),
        (
            "postgresql://u%40b:%40%3A%2F%3F%25%20@h/d%2Fe",
            {"user": "u@b", "password": "@:/?% ", "dbname": "d/e"},
        ),
        ("postgresql://u:a:b@h/d", {"password": "a:b"}),
        ("postgresql://u:a?b#c@h/d", {"password": "a?b#c"}),
        ("postgresql://u:a+b@h/d", {"password": "a+b"}),
        ("postgresql://u:%C3%A9@h/d", {"password": "é"}),
        ("postgresql://h/d?sslmode=verify-full&sslrootcert=%2Fa%20b", {"sslrootcert": "/a b"}),
        ("postgresql://h/d?ssl=true", {"sslmode": "require"}),
        ("postgresql://h/?service=audit", {"service": "audit"}),
    ],
)
def test_libpq_gets_what_the_url_says(text, wanted):
    """Users, passwords, hosts, sockets and parameters reach libpq unchanged, in each spelling that libpq reads."""
    found = asked(text)

    assert {name: found.get(name) for name in wanted} == wanted


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@given(user=PLAIN, password=PLAIN, name=PLAIN)
def test_any_password_survives(user, password, name):
    """Any user, password and database name arrives unchanged, and no text of the URL but conninfo has the password."""
    url = DatabaseUrl(None, user, password, (Host("h", "5432"),), name)

    found = conninfo_to_dict(url.conninfo())

    assert (found["user"], found["password"], found["dbname"]) == (user, password, name)
    assert parse(url.conninfo()).password == password
    assert url.safe() == DatabaseUrl(None, user, "another", (Host("h", "5432"),), name).safe()


def test_our_defaults_give_way():
    """A dead server is noticed in seconds unless the URL says otherwise; the text is UTF-8 in any case."""
    found = asked("postgresql://h/d")
    other = asked("postgresql://h/d?connect_timeout=60&application_name=mine&client_encoding=latin1")

    assert {name: found[name] for name in DEFAULTS} == DEFAULTS
    assert (found["application_name"], found["client_encoding"]) == ("aegis-audit-stream", "UTF8")
    assert (other["connect_timeout"], other["application_name"], other["client_encoding"]) == (
        "60",
        "mine",
        "UTF8",
    )


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("postgresql://h/d", None),
        ("postgresql://h1,h2/d", "read-write"),
        ("postgresql:///d?host=h1,h2", "read-write"),
        ("postgresql:///d?hostaddr=127.0.0.1,127.0.0.2", "read-write"),
        ("postgresql://h1,h2/d?target_session_attrs=primary", "primary"),
    ],
)
def test_several_hosts_are_asked_for_the_one_that_writes(text, wanted):
    """With several hosts the one that accepts writes is used, unless the URL asks for something else."""
    assert asked(text).get("target_session_attrs") == wanted


def test_we_know_the_parameters_of_libpq():
    """Every parameter that libpq has is known, except that for replication, so that none of them is rejected."""
    theirs = {one.keyword.decode() for one in psycopg.pq.Conninfo.get_defaults()}

    assert theirs - _PARAMETERS <= {"replication"}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "c4n4ry",
            "mysql://u:c4n4ry@h/d",
            "sqlite:c4n4ry",
            "sqlite://",
            "sqlite:///",
            "postgresql:c4n4ry",
        ),
        *("postgresql://u:c4n4ry@h", "postgresql://u:c4n4ry@h/", "postgresql://"),
        *("postgresql://u:c4n@4ryc4n4ry@h/d", "postgresql://u:/c4n4ry@h/d", "postgresql://u:c/c4n4ry@h/d"),
        *("postgresql://u:5?c4n4ry/x@h/d", "postgresql://u:c4n4ry?a=b/x@h/d"),
        *("postgresql://u:c4n4ry%@h/d", "postgresql://u:c4n4ry%zz@h/d", "postgresql://u:c4n4ry%00@h/d"),
        *("postgresql://u:c4n4ry%ff@h/d", "postgresql://u: c4n4ry@h/d", "postgresql://u:c4n4ry\n@h/d"),
        *(
            "postgresql://u@h:c4n4ry/d",
            "postgresql://u@h:0/d",
            "postgresql://u@h:65536/d",
            "postgresql://h:٣/d",
        ),
        *("postgresql://u:c4n4ry@[::1/d", "postgresql://u:c4n4ry@::1/d", "postgresql://u:c4n4ry@[::1]x/d"),
        *("postgresql://u@h c4n4ry/d", "postgresql://u@c4n4ry$/d", "postgresql://u@h/d/c4n4ry"),
        *(
            "postgresql://h/d?c4n4ry",
            "postgresql://h/d?c4n4ry=1",
            "postgresql://h/d?=c4n4ry",
            "postgresql://h/d?",
        ),
        *("postgresql://h/d?sslmode=a&sslmode=c4n4ry", "postgresql://u:a@h/d?password=c4n4ry"),
        *("postgresql://u@h/d?user=c4n4ry", "postgresql://h/d?dbname=c4n4ry", "postgresql://h/d?host=c4n4ry"),
        *("postgresql:///d?host=a,b&port=1,2,3", "postgresql://h/d?replication=c4n4ry"),
        *("postgresql://h1,h2/d?target_session_attrs=standby", "postgresql://h/d?password=c4n4ry%"),
    ],
    ids=ascii,
)
def test_a_bad_url_is_rejected_and_not_repeated(text):
    """A URL that is not one, or that a raw character of the password splits elsewhere, is rejected without any part of it."""
    assert refused(text)


def test_a_misspelled_parameter_gets_advice():
    """A parameter that libpq does not know is answered with the one that is meant."""
    assert "did you mean sslmode?" in refused("postgresql://h/d?ssl_mode=require")
    assert "%40" in refused("postgresql://u:a@b@h/d")


SECRET = [
    "postgresql://u:c4n4ry@h/d",
    "postgresql://u:c%34n4ry@h/d",
    "postgresql://u:c4n4r%79@h/d",
    "postgresql://u:%63%34%6E%34%72%79@h1,h2/d?sslmode=require",
    "postgresql://u@h/d?password=c4n4ry",
    "postgresql://u@h/d?pass%77ord=c4n4r%79",
    "postgresql://u@h/d?sslpassword=c4n4ry",
    "postgresql://u@h/d?options=-c%20my.key%3Dc4n4ry",
    "postgresql://u@h/d?scram_client_key=c4n4ry",
    "postgresql://u@h/d?oauth_client_secret=c4n4ry",
]


@pytest.mark.parametrize("text", SECRET)
def test_only_conninfo_shows_a_secret(text):
    """However a secret is written, no text of the URL has it, neither plain nor encoded, except what libpq gets."""
    url = parse(text)

    shown = [
        url.safe(),
        repr(url),
        str(url),
        f"{url}",
        f"{[url]}",
        f"{url!r:>10}",
        repr((url.hosts, url.name)),
    ]

    assert all(CANARY not in one and "%63" not in one and "c%34" not in one for one in shown)
    assert all("****" in one for one in shown[:3])
    assert CANARY in str(conninfo_to_dict(url.conninfo()))


def test_what_is_shown_helps():
    """The safe text names user, hosts, database and parameters, and says whether there is a password."""
    text = "postgresql://u:c4n4ry@h1:1,h2/d?sslmode=require&passfile=/run/pass"

    assert parse(text).safe() == "postgresql://u:****@h1:1,h2/d?sslmode=require&passfile=/run/pass"
    assert parse("postgresql://u@h/d").safe() == "postgresql://u@h/d"


@pytest.mark.parametrize("text", SECRET)
def test_texts_of_others_are_scrubbed(text):
    """A text that repeats a secret, plain or encoded, has it masked, and is one line."""
    url = parse(text)

    found = url.scrub(
        f'connection failed:\n\tinvalid "{url.conninfo()}" and {conninfo_to_dict(url.conninfo())}'
    )

    assert CANARY not in found
    assert "\n" not in found
    assert found.startswith("connection failed: invalid")


def test_a_url_can_be_passed_on():
    """A URL compares by value, can be hashed, and survives pickling; nobody can change it."""
    url = parse(SECRET[0])

    assert pickle.loads(pickle.dumps(url)) == url == parse(SECRET[0]) != parse(SECRET[3])
    assert len({url, parse(SECRET[0])}) == 1
    with pytest.raises(AttributeError):
        url.password = ""


def test_a_password_that_changes_in_its_file_needs_no_restart(tmp_path):
    """Each connection gets the password that the file has then; while the file is gone or empty, the one from the start."""
    path = tmp_path / "password"
    path.write_text("first")
    url = parse("postgresql://u@h/d").with_password_of(path)
    found = []

    for content in ("first", "c4n4ry/2", "", None):
        path.unlink() if content is None else path.write_text(content)
        found.append(conninfo_to_dict(url.conninfo())["password"])
        assert CANARY not in f"{url!r} {url.safe()} {url.scrub(url.conninfo())}"

    assert found == ["first", "c4n4ry/2", "first", "first"]
