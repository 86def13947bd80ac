"""How much text a destination's `ca_certificate` may be. `sender/tls.py` tells whether it can be used."""

CHARACTERS_MAX = 64 * 1024
"""Most characters of the text; a certificate has 1 to 4 KiB."""
COUNT_MAX = 16
"""Most certificates in it; one chain, or a few authorities. 16 take 5 ms to parse and up to 150 KiB of memory."""


def certificate_fault(text: str) -> str | None:
    """Return what is wrong with the size of the text, before anybody parses it; None if nothing is."""
    if len(text) > CHARACTERS_MAX:
        return f"has {len(text):,} characters; the limit is {CHARACTERS_MAX:,}: send the authority's certificates only"
    count = text.count("-----BEGIN")
    if count > COUNT_MAX:
        return f"has {count:,} certificates; the limit is {COUNT_MAX}: send the authority's certificates only"
    return None
