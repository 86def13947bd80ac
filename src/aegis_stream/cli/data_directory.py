"""Refuses commands that would make a second database because they run in the wrong directory."""

from aegis_stream.errors import Misconfigured
from aegis_stream.settings import Settings


def expect_database(settings: Settings, *, may_be_first: bool = False) -> None:
    """Refuse to go on where no service has its database.

    Args:
        may_be_first: the command may run before the first start of the service, which makes the database. It is refused all the
            same if the path is relative, as the default is: then it may be the wrong directory.
    Raises: Misconfigured, with the place where it looked.
    """
    from aegis_stream.wiring.stores import database_location, lost_database  # noqa: PLC0415

    location = database_location(settings)
    if location.shared:  # its URL says where it is, whatever the directory
        return
    path = location.path
    if path.exists() or lost_database(
        settings.store.data_dir, path
    ):  # opening tells what is wrong with the latter
        return
    if may_be_first and path.is_absolute():
        return
    raise Misconfigured(
        f"there is no database at {path.absolute()}: set AEGIS_DATA_DIR to the data directory of the service, "
        "or run this in the directory where aegis serve runs; the first start of aegis serve creates it",
        code="no-database",
    )
