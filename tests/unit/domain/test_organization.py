"""Promises of domain/organization.py: which quotas hold for an organization."""

import pytest

from aegis_stream.domain.organization import OwnQuotas, Quotas

DEFAULT = Quotas(1000, 50)


@pytest.mark.parametrize(
    ("own", "holds"),
    [
        (OwnQuotas(), DEFAULT),
        (OwnQuotas(7), Quotas(7, 50)),
        (OwnQuotas(None, 9), Quotas(1000, 9)),
        (OwnQuotas(7, 9), Quotas(7, 9)),
        (OwnQuotas(0, 0), Quotas(0, 0)),
    ],
)
def test_a_quota_of_its_own_goes_before_the_default(own, holds):
    """Each quota that is set for an organization holds, also that of no limit, and the default holds for the others."""
    assert own.over(DEFAULT) == holds
