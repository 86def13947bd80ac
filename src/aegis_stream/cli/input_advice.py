"""What to do with a file of events that is not one JSON object per line."""

import json

_BINARY = {
    b"\x1f\x8b": "compressed with gzip: decompress it first, with zcat",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: decompress it first, with zstdcat",
    b"BZh": "compressed with bzip2: decompress it first, with bzcat",
    b"\xfd7zXZ": "compressed with xz: decompress it first, with xzcat",
    b"\x04\x22\x4d\x18": "compressed with lz4: decompress it first, with lz4cat",
    b"PK\x03\x04": "a zip archive: extract it first, with unzip -p",
    b"PAR1": "a Parquet file: export it as one JSON object per line first",
    b"\xff\xfe": "UTF-16: convert it first, with iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16: convert it first, with iconv -f UTF-16 -t UTF-8",
}
"""First bytes → what the input is and how to convert it."""
_ACTIONS = (b'{"create"', b'{"index"', b'{ "create"', b'{ "index"')
"""How lines of a bulk request begin that announce an event."""
_ACTION_FIELDS = frozenset(
    {"_index", "_id", "_type", "routing", "require_alias", "require_data_stream", "dynamic_templates"}
    | {
        "pipeline",
        "list_executed_pipelines",
        "version",
        "version_type",
        "if_seq_no",
        "if_primary_term",
        "op_type",
    }
)
_INCOMPLETE = (
    "the first line is not one complete JSON object: convert it to one object per line first, with jq -c ."
)


def binary_advice(first_line: bytes) -> str | None:
    """Return what an input is that is no UTF-8 text at all, and how to convert it; None for text."""
    for magic, advice in _BINARY.items():
        if first_line.startswith(magic):
            return f"the input is {advice}"
    if b"\0" not in first_line:
        return None
    if first_line[1:2] == b"\0" and first_line[:1] != b"\0":
        return "the input is UTF-16: convert it first, with iconv -f UTF-16LE -t UTF-8"
    if first_line[:1] == b"\0" and first_line[1:2] != b"\0":
        return "the input is UTF-16: convert it first, with iconv -f UTF-16BE -t UTF-8"
    return "the input is binary: write one JSON object per line"


def unsendable(first_line: bytes) -> str | None:
    """Return why none of a file must be sent, and how to convert it; None for a file whose lines may be events.

    Lines of a bulk request are objects, so each would be stored as an event of its own.
    """
    if (advice := binary_advice(first_line)) is not None:
        return advice
    if not first_line.startswith(_ACTIONS):
        return None
    try:
        ((action, of),) = json.loads(first_line).items()
    except (ValueError, AttributeError, RecursionError):
        return None
    if not isinstance(of, dict) or not of.keys() <= _ACTION_FIELDS:
        return None
    return (
        f"the input is a bulk request of Elasticsearch, with an action ({action!r}) before each event: take the events out first, "
        "with awk 'NR % 2 == 0'"
    )


def advice_on(first_line: bytes) -> str | None:
    """Return what is wrong with a file as a whole and how to convert it, or None if its first line is an object.

    Args:
        first_line: the first line of the file that is not blank; empty for an empty file.
    """
    line = first_line.strip()
    if not line:
        return "the input is empty"
    if (advice := binary_advice(line)) is not None:
        return advice
    if line.startswith(b"["):
        return "the input is a JSON array: convert it to one object per line first, with jq -c '.[]'"
    if not line.startswith(b"{"):
        return "the input is not JSON: write one JSON object per line"
    return _advice_on_object(line)


def _advice_on_object(line: bytes) -> str | None:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return (
            "the input is not UTF-8: convert it first, with iconv -f ISO-8859-1 -t UTF-8 or its true encoding"
        )
    numbers: list[str] = []
    try:
        json.loads(text, parse_constant=numbers.append)
    except json.JSONDecodeError as error:
        return _advice_on_error(text, error)
    except RecursionError:
        return _INCOMPLETE
    return f"{numbers[0]} is not JSON: write a number, null or a string" if numbers else None


def _advice_on_error(text: str, error: json.JSONDecodeError) -> str:
    if error.msg == "Extra data" and text[error.pos :] == ",":
        return "the lines end with commas: remove them first, with sed 's/,$//'"
    if text.endswith("}") and error.msg != "Extra data":
        return f"the first line is not valid JSON: {error.msg.lower()} (character {error.pos + 1})"
    return _INCOMPLETE
