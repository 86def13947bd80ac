"""Text that is valid in a header or a form: visible ASCII on one line. It may be a secret, so no message repeats it."""

import re

_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def visible_fault(text: str, characters_max: int) -> str | None:
    """Return what is wrong with a text and what to do, or None. Source: RFC 9110 section 5.5, RFC 6749 appendix A."""
    if _VISIBLE.fullmatch(text) and len(text) <= characters_max:
        return None
    limit = f"must be 1 to {characters_max} visible ASCII characters without line breaks"
    return f"{limit}: check for a pasted line break or quotation mark"
