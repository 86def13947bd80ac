"""Promises of what a page shows of a test: which field looks wrong, and that the fields it names exist."""

import pytest

from aegis_stream.console.settings_form import LABELS
from aegis_stream.console.tested import told_of, wrong_field
from aegis_stream.control.stages import StageResult
from aegis_stream.control.tested import SentTest
from aegis_stream.domain.trace import Stage


def failed(stage: Stage, status: int | None = None) -> SentTest:
    """Return a test that failed at a stage."""
    return SentTest(status, 1.0, "no", stages=[StageResult(stage, False, None, "no")])


@pytest.mark.parametrize(
    ("stage", "status", "field"),
    [
        (Stage.TOKEN, None, "oauth2.client_secret"),
        (Stage.RESOLVE, None, "url"),
        (Stage.GUARD, None, "url"),
        (Stage.CONNECT, None, "url"),
        (Stage.TLS, None, "ca_certificate"),
        (Stage.SEND, None, ""),
        (Stage.ANSWER, None, ""),
        (Stage.ANSWER, 401, "auth_header_value"),
        (Stage.ANSWER, 403, "auth_header_value"),
        (Stage.ANSWER, 404, "url"),
        (Stage.ANSWER, 503, ""),
    ],
)
def test_the_field_that_looks_wrong(stage, status, field):
    """A failed stage leads to the field that a person would look at first, which the settings have."""
    assert wrong_field(failed(stage, status)) == field
    assert not field or field.removeprefix("oauth2.") in LABELS


def test_after_a_success_nothing_looks_wrong():
    """Nothing is to be checked, whatever the status."""
    sent = SentTest(404, 1.0, stages=[StageResult(Stage.ANSWER, True)])

    assert wrong_field(sent) == ""
    assert told_of(sent).ok


def test_without_a_request_there_is_no_command():
    """A test that tried no connection shows no request."""
    told = told_of(failed(Stage.RESOLVE))

    assert (told.body, told.curl, told.variables) == ("", "", [])
