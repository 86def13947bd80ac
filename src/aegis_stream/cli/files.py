"""Small text files that options name, read whole."""

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
