"""Compresses request bodies, between encode and send (steps 5 and 6).

A small body is compressed at once. A large one takes milliseconds, during which the worker would serve nobody else, so it goes to
a thread; both libraries release the interpreter while they work. The same body always becomes the same bytes.
"""

import asyncio
import zlib
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import assert_never

import zstandard

from aegis_stream.domain.attempt import Request
from aegis_stream.domain.destination import Compression

INLINE_BYTES_MAX = 64 * 1024
"""Largest body that is compressed on the event loop, bytes: a quarter of a millisecond of gzip, a few times what the way to a
thread and back costs."""
BESIDE_MAX = 2
"""Most bodies of one destination that are on threads or wait for one, so that no destination keeps the others waiting."""
THREADS = 2
"""Threads of a worker; more would only take the event loop's share of the processors."""
LEVEL = 1
"""The fastest level of both: audit events are so repetitive that the next levels save little and cost much."""
_WITH_GZIP_HEADER = 16 + zlib.MAX_WBITS


def make_threads() -> Executor:
    """Return the threads of a worker; they end when nobody has them any more."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="aegis-compress")


def compressed(request: Request, compression: Compression) -> Request:
    """Return the request with its body compressed; the caller's route says so in Content-Encoding."""
    if compression == "none":
        return request
    return Request(compress(request.body, compression), request.content_type, request.path_suffix)


async def compressed_beside(request: Request, compression: Compression, threads: Executor) -> Request:
    """Return what `compressed` returns, made on a thread; where the machine has none to give, made here."""
    try:
        compressing = asyncio.get_running_loop().run_in_executor(threads, compressed, request, compression)
    except RuntimeError:
        return compressed(request, compression)
    return await compressing


def compress(body: bytes, compression: Compression) -> bytes:
    """Compress a body: one gzip member without a time or a name in its header, or one zstd frame that tells its size.

    Source: RFC 1952, RFC 8878.
    """
    match compression:
        case "none":
            return body
        case "gzip":
            return zlib.compress(body, LEVEL, _WITH_GZIP_HEADER)
        case "zstd":
            return zstandard.ZstdCompressor(level=LEVEL).compress(body)
        case _:
            assert_never(compression)
