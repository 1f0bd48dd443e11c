"""Answers that trickle or never end are given up in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from mftscreen.errors import DownloadError
from mftscreen.internet import transfer
from mftscreen.internet.transfer import opened, read_chunks

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Serve = Callable[[bytes, bytes], str]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Answer with a beginning and, without end, with more of the same."""
    monkeypatch.setattr(transfer, "TIMEOUT", 0.5)
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def start(beginning: bytes, more: bytes) -> str:
            def answer() -> None:
                client, _ = server.accept()
                with client, suppress(OSError):
                    client.recv(1 << 16)
                    client.sendall(beginning)
                    while not done.wait(0.05):
                        client.sendall(more)

            threading.Thread(target=answer, daemon=True).start()
            return f"http://127.0.0.1:{server.getsockname()[1]}/"

        yield start
        done.set()


@pytest.mark.parametrize(
    ("beginning", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (CHUNKED + b"0\r\n", b"X: y\r\n"),
        (CHUNKED, b"0"),
    ],
    ids=["header", "trailer", "chunk size"],
)
def test_an_answer_that_trickles_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, beginning: bytes, more: bytes
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    begun = time.monotonic()
    with (
        pytest.raises(TimeoutError, match="stalls"),
        opened(serve(beginning, more)) as answer,
    ):
        list(read_chunks(answer, max_bytes=1 << 20))
    assert time.monotonic() - begun < 3


def test_a_socket_closed_in_the_last_moment_is_no_error() -> None:
    one, other = socket.socketpair()
    with other, pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "TIMEOUT", 0.05)
        one.close()
        failures: list[object] = []
        patch.setattr(threading, "excepthook", failures.append)
        with pytest.raises(TimeoutError), transfer._in_time(one):
            time.sleep(0.3)
    assert failures == []


def test_a_refusal_whose_reasons_trickle_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with (
        pytest.raises(HTTPError) as refused,
        opened(serve(b"HTTP/1.1 404 Not Found\r\n\r\n", b"x")),
    ):
        pass
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="stalls"):
        refused.value.read(1 << 16)
    refused.value.close()
    assert time.monotonic() - begun < 3


class _Redirecting(BaseHTTPRequestHandler):
    """Redirects as often as the address says, and elsewhere if it says so."""

    def do_GET(self) -> None:
        what = self.path.removeprefix("/")
        if what == "0":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"here")
            return
        self.send_response(302)
        if what.isdecimal():
            following = f"/{int(what) - 1}"
        else:
            following = {"endless": "/0", "loop": "/loop"}.get(what, what)
        self.send_header("Location", following)
        self.end_headers()
        with suppress(OSError):
            while what == "endless":
                self.wfile.write(b"x" * 1000)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def redirecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Redirecting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", [str(transfer.MAX_REDIRECTS), "endless"])
def test_redirects_are_followed_and_what_comes_with_them_is_not_read(
    redirecting: str, path: str
) -> None:
    with opened(f"{redirecting}/{path}") as answer:
        assert b"".join(read_chunks(answer, max_bytes=10)) == b"here"


@pytest.mark.parametrize("path", [str(transfer.MAX_REDIRECTS + 1), "loop"])
def test_redirects_without_end_are_given_up(redirecting: str, path: str) -> None:
    with (
        pytest.raises(DownloadError, match="redirects more than 5 times"),
        opened(f"{redirecting}/{path}"),
    ):
        pass


@pytest.mark.parametrize(
    "address", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x"]
)
def test_redirects_to_no_web_address_are_refused(
    redirecting: str, address: str
) -> None:
    with (
        pytest.raises(OSError, match=r"not followed|not allowed") as refused,
        opened(f"{redirecting}/{address}"),
    ):
        pass
    assert address in str(refused.value)
    if isinstance(refused.value, HTTPError):
        refused.value.close()


def test_redirects_to_less_than_was_asked_for_are_refused() -> None:
    def follow(before: str, after: str) -> Request | None:
        body, handler = BytesIO(b"x"), transfer._Redirects()
        return handler.redirect_request(Request(before), body, 302, "", {}, after)

    for before, after in (("https", "https"), ("http", "https"), ("http", "http")):
        followed = follow(f"{before}://a.org/x", f"{after}://b.org/y")
        assert followed is not None
        assert followed.full_url == f"{after}://b.org/y"
    with pytest.raises(DownloadError, match=r"'http://b\.org/y', which is not"):
        follow("https://a.org/x", "http://b.org/y")
