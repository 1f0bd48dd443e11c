"""Answers of web servers, read within limits: a server may stall or never end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
)
from socket import SHUT_RDWR
from threading import Event, Timer
from typing import Any
from urllib.parse import urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    Request,
    build_opener,
)

from mftscreen.errors import DownloadError

__all__ = ["TIMEOUT", "announced_length", "opened", "read_chunks"]

TIMEOUT = 60.0
"""Seconds without a sign of the other side, or until all headers are there."""

MIN_BYTES = 1 << 14
"""To come in each ``TIMEOUT``; a server that is slower will not end."""

MAX_REDIRECTS = 5
"""From one address to the next; more are a loop, or as good as one."""

_CHUNK = 1 << 18


@contextmanager
def opened(url: str | Request) -> Iterator[Any]:
    """Open an address.

    Parameters
    ----------
    url : str or Request

    Yields
    ------
    http.client.HTTPResponse
        Or what stands for it, of a ``file://``.

    Raises
    ------
    DownloadError
        If it redirects too often, from ``https`` to anything less, or to no web
        address.
    OSError, http.client.HTTPException, ValueError
        If it cannot be reached, is no address, or does not answer in time.
    """
    # with the proxies of this moment
    with build_opener(_HTTP, _HTTPS, _Redirects).open(url, timeout=TIMEOUT) as answer:
        yield answer


def announced_length(answer: Any) -> int:
    """Return the length that an answer announces, 0 if it does not.

    Raises
    ------
    DownloadError
        If it is not a number.
    """
    text = answer.headers.get("Content-Length")
    try:
        return int(text or 0)
    except ValueError as error:
        msg = f"the length that is announced is {text!r}, not a number"
        raise DownloadError(msg) from error


def read_chunks(answer: Any, *, max_bytes: int) -> Iterator[bytes]:
    """Yield what an answer holds, as it comes.

    Parameters
    ----------
    answer : http.client.HTTPResponse
        As :func:`opened` gives it.
    max_bytes : int

    Yields
    ------
    bytes

    Raises
    ------
    DownloadError
        If there is more than that.
    ConnectionError
        If there is less than was announced.
    TimeoutError
        If it comes too slowly.
    OSError, http.client.HTTPException
        Whatever else ends a connection.
    """
    length = announced_length(answer)
    received, before, since = 0, 0, time.monotonic()
    while chunk := answer.read1(_CHUNK):
        received += len(chunk)
        if max(length, received) > max_bytes:
            msg = f"the answer has more than the {max_bytes} bytes that are read"
            raise DownloadError(msg)
        yield chunk
        passed = time.monotonic() - since
        if passed > TIMEOUT:
            if received - before < MIN_BYTES:
                msg = f"only {received - before} bytes came in {passed:.0f} s"
                raise TimeoutError(msg)
            before, since = received, time.monotonic()
    if received < length:  # urllib takes the end of a connection for that of a file
        msg = f"the connection ended after {received} of {length} bytes"
        raise ConnectionError(msg)


@contextmanager
def _in_time(sock: Any) -> Iterator[None]:
    """Give a block ``TIMEOUT`` seconds, whatever trickles in meanwhile.

    The time limit of a socket is one for each byte. :mod:`http.client` waits for whole
    lines, and in chunked answers for any number of them.
    """
    late = Event()

    def end() -> None:
        late.set()
        with suppress(OSError):  # closed in this moment
            sock.shutdown(SHUT_RDWR)

    timer = Timer(TIMEOUT, end)
    timer.daemon = True
    timer.start()
    msg = f"the answer stalls: no end of a line or part of it came in {TIMEOUT:g} s"
    try:
        yield
    except (OSError, HTTPException, ValueError) as error:
        if late.is_set():
            raise TimeoutError(msg) from error
        raise
    finally:
        timer.cancel()
    if late.is_set():  # what was read may end too early
        raise TimeoutError(msg)


class _Response(HTTPResponse):
    """An answer whose parts have to come in time, and not only each byte of them."""

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._socket = sock

    def begin(self) -> None:
        """Read the headers, as :mod:`http.client` asks for it."""
        with _in_time(self._socket):
            super().begin()

    def read1(self, n: int = -1) -> bytes:
        """Read a part, as :func:`read_chunks` asks for it."""
        with _in_time(self._socket):
            return super().read1(n)

    def read(self, amt: int | None = None) -> bytes:
        """Read at once, as is done with the reasons of a refusal."""
        with _in_time(self._socket):
            return super().read(amt)


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _HTTP(HTTPHandler):
    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_Connection, request)


class _HTTPS(HTTPSHandler):
    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, request)


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, a few of them, and to nothing less than what was asked for."""

    # those of urllib, whose message takes three lines, come later
    max_repeats = max_redirections = MAX_REDIRECTS + 1

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        # urllib would read what comes with it, whole, and throw it away
        fp.close()
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in ("http", "https") or (before, after) == ("https", "http"):
            problem = f"redirects to {newurl[:200]!r}, which is not followed"
            raise DownloadError(problem)
        visited: dict[str, int] = getattr(req, "redirect_dict", {})
        if sum(visited.values()) >= MAX_REDIRECTS:
            problem = f"redirects more than {MAX_REDIRECTS} times"
            raise DownloadError(problem)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
