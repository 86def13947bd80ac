"""Promises of `console.zone`: a page's URL names the zone of its times, and everything that leads on keeps it."""

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.console.words import clock, iso, moment, offset
from aegis_stream.console.zone import Zone, kept, kept_in_page, without_zone, zone_in
from aegis_stream.domain.ids import Micros

AT = Micros(1_780_000_000_123_456)
KATHMANDU = zone_in("zone=Asia/Kathmandu")


@pytest.mark.parametrize("query", ["", "zone=", "zone=utc", "zone=UTC", "state=any", "&".join(["a=1"] * 500)])
def test_times_are_utc_by_default(query):
    """Without a zone, with UTC in any spelling, and with more parameters than are looked at."""
    assert zone_in(query) == Zone("UTC", UTC, "")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Nowhere/Here",
            "../../etc/passwd",
            "/etc/localtime",
            "Europe",
            "Europe/",
            "zone.tab",
            "leapseconds",
        ),
        *("local", "\x00", "Europe/Berlin\n", "a" * 5000, "<script>", "Asia/Kathmandu/../Kathmandu"),
    ],
)
def test_a_zone_that_is_not_known(name):
    """It is told, cut to what a line can show, and times are UTC; nothing else is looked for among files."""
    found = zone_in(without := f"q=1&zone={name}")

    assert (found.name, found.info) == ("UTC", UTC)
    assert found.unknown == name[:64]
    assert kept("/console/o/a", found) == "/console/o/a"
    assert without_zone(without)[:1] == [("q", "1")]


def test_times_in_a_zone():
    """Each way to write a time has the zone's clock, and what stands behind it the distance from UTC at that time."""
    assert (iso(AT), moment(AT), offset(AT)) == ("2026-05-28T20:26:40.123456Z", "2026-05-28 20:26:40", "UTC")
    assert iso(AT, KATHMANDU.info) == "2026-05-29T02:11:40.123456+05:45"
    assert moment(AT, KATHMANDU.info) == "2026-05-29 02:11:40"
    assert offset(AT, KATHMANDU.info) == "UTC+05:45"
    assert clock(AT, AT, KATHMANDU.info) == "02:11"
    assert clock(Micros(AT - 3 * 3600 * 1_000_000), AT, KATHMANDU.info) == "28 May 23:11"
    berlin = zone_in("zone=Europe/Berlin").info
    half_a_year_us = 183 * 86_400 * 1_000_000
    assert (offset(AT, berlin), offset(Micros(AT + half_a_year_us), berlin)) == ("UTC+02:00", "UTC+01:00")


@pytest.mark.parametrize(
    ("href", "found"),
    [
        ("/console/o/a", "/console/o/a?zone=Asia/Kathmandu"),
        ("/console/o/a/d/b?state=any#rows", "/console/o/a/d/b?state=any&zone=Asia/Kathmandu#rows"),
        ("/console/operator", "/console/operator?zone=Asia/Kathmandu"),
        *(
            (one, one)
            for one in ("/console", "/console/static/x/style.css", "/docs", "https://a.example/", "")
        ),
    ],
)
def test_paths_keep_the_zone(href, found):
    """Those of pages, before what stands behind the #; and no others."""
    assert kept(href, KATHMANDU) == found
    assert kept(href, Zone()) == href


def test_a_page_keeps_the_zone():
    """All links and forms to pages do, also below a drawing and by GET; links that name a zone, other addresses and text stay."""
    page = (
        '<link href="/console/o/x"><a class="b" href="/console/o/x?a=1&amp;b=2#c">?</a>\n<a href="?state=any">'
        '<a href="?zone=UTC" data-zone><a href="?timezone=1"><a href="/docs"><a tabindex="-1" href="#f-name">'
        '<form method="post" action="/console/o/x/new"><form class="f" method="get"><form method="get" data-zone-form>'
        "&lt;a href=&#34;/console/o/x&#34;&gt;"
    )
    zone = "zone=Asia/Kathmandu"

    assert kept_in_page(page, KATHMANDU) == (
        f'<link href="/console/o/x"><a class="b" href="/console/o/x?a=1&amp;b=2&amp;{zone}#c">?</a>\n'
        f'<a href="?state=any&amp;{zone}"><a href="?zone=UTC" data-zone><a href="?timezone=1&amp;{zone}"><a href="/docs">'
        f'<a tabindex="-1" href="#f-name"><form method="post" action="/console/o/x/new?{zone}">'
        '<form class="f" method="get"><input type="hidden" name="zone" value="Asia/Kathmandu"><form method="get" data-zone-form>'
        "&lt;a href=&#34;/console/o/x&#34;&gt;"
    )
    assert kept_in_page(page, Zone()) == page


@given(st.text(max_size=80))
def test_any_query(query):
    """Whatever a URL says, there is a zone, and its name can stand in a page as it is."""
    name = zone_in(f"zone={query}").name

    assert name.replace("/", "").replace("_", "").replace("+", "").replace("-", "").isalnum()
