"""Settings: a frozen tree that is read once, in `cli`, and passed down.

database_url.py   the URL of a database: what it names, and its texts with and without the password
password_file.py  the file of its password
kinds.py          the kinds of settings: each knows its variable, its range, and how a value is read
tree.py           the groups of settings: default, range, unit and reason beside each field
load.py           environment over TOML file over defaults; checks of values that depend on each other
"""

from .database_url import DatabaseUrl
from .kinds import Choice, Ranged, Setting
from .load import NOT_SETTINGS, load_settings
from .tree import (
    SETTINGS,
    ApiSettings,
    DeliverySettings,
    EgressSettings,
    IngestSettings,
    OrganizationSettings,
    RateSettings,
    RetentionSettings,
    RetrySettings,
    SecretSettings,
    Settings,
    StoreSettings,
    TelemetrySettings,
    build,
)

__all__ = [
    "NOT_SETTINGS",
    "SETTINGS",
    "ApiSettings",
    "Choice",
    "DatabaseUrl",
    "DeliverySettings",
    "EgressSettings",
    "IngestSettings",
    "OrganizationSettings",
    "Ranged",
    "RateSettings",
    "RetentionSettings",
    "RetrySettings",
    "SecretSettings",
    "Setting",
    "Settings",
    "StoreSettings",
    "TelemetrySettings",
    "build",
    "load_settings",
]
