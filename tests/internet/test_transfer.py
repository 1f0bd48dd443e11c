"""Answers that trickle or never end are given up in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

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
