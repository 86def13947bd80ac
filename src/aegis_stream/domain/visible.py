"""Text that may stand in a header or a form: visible ASCII on one line. No message repeats it, since it may be a secret."""

import re

_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def visible_fault(text: str, characters_max: int) -> str | None:
    """Return what is wrong with a text and the way out, or None. Source: RFC 9110 section 5.5, RFC 6749 appendix A."""
    if _VISIBLE.fullmatch(text) and len(text) <= characters_max:
        return None
    limit = f"must be 1 to {characters_max} visible ASCII characters without line breaks"
    return f"{limit}: check for a pasted line break or quotation mark"
