"""Reads the file of a password, as Docker and Kubernetes make them of secrets."""

from pathlib import Path

from aegis_stream.errors import Misconfigured

PASSWORD_BYTES_MAX = 4096
"""Longest file."""


def read_password(path: Path) -> str:
    """Return the password that is in a file, without the end of its line. Raises: Misconfigured."""
    try:
        with path.open("rb") as file:
            content = file.read(PASSWORD_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured(f"cannot read AEGIS_DATABASE_PASSWORD_FILE {path}: {error.strerror}") from error
    password = content.decode(errors="replace").removesuffix("\n").removesuffix("\r")
    if not password or len(content) > PASSWORD_BYTES_MAX or any(one in password for one in "\r\n\0\ufffd"):
        raise Misconfigured(
            f"AEGIS_DATABASE_PASSWORD_FILE {path} must have the password in UTF-8 and nothing else: one line of at most "
            f"{PASSWORD_BYTES_MAX:,} bytes"
        )
    return password
