"""A destination that captures requests, and an environment without variables that vendor clients read."""

import os
from collections.abc import Iterator

import pytest

from oracles.capture import Capture, capturing

_TAKEN_OUT = ("AXIOM_", "DD_", "OTEL_", "ELASTIC", "NEW_RELIC_", "http_proxy", "https_proxy", "all_proxy")


@pytest.fixture(scope="module", autouse=True)
def own_environment() -> Iterator[None]:
    """Remove the variables that clients read: keys, addresses and proxies of the developer."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.lower().startswith(tuple(one.lower() for one in _TAKEN_OUT)):
                patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def capture() -> Iterator[Capture]:
    """Return a destination that keeps what arrives; a module's tests share it."""
    with capturing() as one:
        yield one
