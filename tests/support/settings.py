"""Settings for tests, by the names that operators use."""

from typing import Any

from aegis_stream.settings import SETTINGS, Settings, build


def make_settings(base: Settings | None = None, /, **values: Any) -> Settings:
    """Return settings that differ from `base`, or from the defaults, in these values: `make_settings(lease_seconds=20)`."""
    assert values.keys() <= SETTINGS.keys(), values.keys() - SETTINGS.keys()
    return build((base or Settings()).values() | values)
