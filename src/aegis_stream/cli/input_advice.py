"""What to do with a file of events that is not one JSON object per line."""

import json

_COMPRESSED = {
    b"\x1f\x8b": "gzip: decompress it first, with zcat",
    b"\x28\xb5\x2f\xfd": "zstd: decompress it first, with zstdcat",
}
_WIDE = (b"\xff\xfe", b"\xfe\xff")


def advice_on(first_line: bytes) -> str | None:
    """Return what is wrong with a file as a whole and how to convert it, or None if its first line is an object.

    Args:
        first_line: the first line of the file that is not blank; empty for an empty file.
    """
    line = first_line.strip()
    if not line:
        return "the input is empty"
    for magic, advice in _COMPRESSED.items():
        if line.startswith(magic):
            return f"the input is compressed with {advice}"
    if line.startswith(_WIDE) or b"\0" in line:
        return "the input is UTF-16: convert it first, with iconv -f UTF-16 -t UTF-8"
    if line.startswith(b"["):
        return "the input is a JSON array: convert it to one object per line first, with jq -c '.[]'"
    if not line.startswith(b"{"):
        return "the input is not JSON: write one JSON object per line"
    return None if _is_json(line) else _advice_on_object(line)


def _advice_on_object(line: bytes) -> str:
    if line.endswith(b",") and _is_json(line[:-1]):
        return "the lines end with commas: remove them first, with sed 's/,$//'"
    return (
        "the first line is not a complete JSON object: convert it to one object per line first, with jq -c ."
    )


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
