"""Files that options name: small texts, read whole, and results, written whole."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click


def read_text(path: str, option: str, characters_max: int) -> str:
    """Read a file, or standard input for "-", up to a number of characters.

    Args:
        option: the option that named the file, for the message.
    Raises: click.BadParameter when the file cannot be read or is not UTF-8.
    """
    try:
        with click.open_file(path, encoding="utf-8") as file:
            text: str = file.read(characters_max)
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} is not a readable text file", param_hint=option) from error
    return text


@contextlib.contextmanager
def whole_file(target: Path, option: str) -> Iterator[BinaryIO]:
    """Write a file that has its name only when it is complete: until then an older one stays, and also when writing it fails.

    What is no file, such as /dev/stdout, is written as it is: it must not be replaced.

    Args:
        option: the option that named the file, for the message.
    Raises: click.ClickException when it cannot be written.
    """
    place = target.resolve()  # a link stays a link
    whole = place.is_file() or not place.exists()
    part = place.with_name(f"{place.name}.part") if whole else place
    try:
        with part.open("wb") as file:
            yield file
        if whole:
            part.replace(place)
    except OSError as error:
        raise click.ClickException(
            f"{target} cannot be written ({error.strerror}): name another file with {option}"
        ) from error
    finally:
        if whole:
            with contextlib.suppress(OSError):
                part.unlink()
