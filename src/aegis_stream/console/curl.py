"""A request to a destination as a command for a shell, with variables in place of what is secret; pure.

export SECRET=...     the whole value of the header
printf %s BODY | gzip -c | curl ...
"""

from collections.abc import Iterator

from aegis_stream.control.one_delivery import SentRequest
from aegis_stream.domain.destination import MASK

from .commands import quoted
from .words import visible

_BY_CURL = ("host", "content-length")
_COMPRESS = {"none": "", "gzip": " | gzip -c", "zstd": " | zstd -q -c"}


def curl_of(sent: SentRequest) -> str:
    """Return the command that sends the same request.

    Control and bidirectional characters of the body are written as octal numbers, because a terminal obeys them when they are pasted.
    Host and Content-Length are curl's own, and headers that it would add are taken away. The body is compressed as the
    destination wants it; other programs give other bytes, which mean the same.
    """
    url = '"$URL"' if MASK in sent.url else quoted(sent.url)
    body = (sent.body or b"").decode("utf-8", "replace")
    parts = [f"curl --globoff --path-as-is -i -X {sent.method} {url}", *_headers(sent), "--data-binary @-"]
    return f"{_printed(body)}{_COMPRESS[sent.compression]} | \\\n" + " \\\n  ".join(parts)


def variables_of(sent: SentRequest) -> list[tuple[str, str]]:
    """Return the variables of the command, and what each stands for."""
    found = [(_variable(number), f"the value of {name}") for number, name in enumerate(sent.secrets)]
    if MASK in sent.url:
        found.append(("URL", "the whole URL"))
    return found


def _printed(body: str) -> str:
    """Return the command that prints a body, in which nothing is hidden."""
    if visible(body) == body:
        return f"printf %s {quoted(body)}"
    shown = "".join(
        one if visible(one) == one else "".join(f"\\0{byte:03o}" for byte in one.encode())
        for one in body.replace("\\", "\\\\")
    )
    return f"printf %b {quoted(shown)}"


def _headers(sent: SentRequest) -> Iterator[str]:
    for name, value in sent.headers:
        if name in sent.secrets:
            yield f'-H {quoted(f"{name}: ")}"${_variable(sent.secrets.index(name))}"'
        elif name.lower() not in _BY_CURL:
            yield f"-H {quoted(f'{name}: {value}')}"
    yield "-H 'Accept:' -H 'Expect:'"


def _variable(number: int) -> str:
    return "SECRET" if number == 0 else f"SECRET_{number + 1}"
