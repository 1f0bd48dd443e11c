from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mftscreen.errors import DownloadError
from mftscreen.internet.downloading import check_digest, fetch


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(b"content" * 100_000)
    return path


def test_file_is_whole_or_absent(source: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    fetch(source.as_uri(), tmp_path / "new" / "copy.bin", "sha256", digest)
    assert (tmp_path / "new" / "copy.bin").read_bytes() == source.read_bytes()
    with pytest.raises(DownloadError, match=f"expected {'0' * 64}"):
        fetch(source.as_uri(), tmp_path / "bad" / "copy.bin", "sha256", "0" * 64)
    assert not list((tmp_path / "bad").iterdir())


class _WrongLength(BaseHTTPRequestHandler):
    """Announces as many bytes as the address says, and sends seven."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", self.path.removeprefix("/"))
        self.end_headers()
        self.wfile.write(b"content")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), _WrongLength) as http:
        thread = threading.Thread(
            target=http.serve_forever, kwargs={"poll_interval": 0.01}
        )
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("length", "message"),
    [("many", "announced is 'many', not a number"), ("9", "ended after 7 of 9 bytes")],
)
def test_wrong_length_is_told(
    server: str, tmp_path: Path, length: str, message: str
) -> None:
    with pytest.raises(DownloadError, match=message) as caught:
        fetch(f"{server}/{length}", tmp_path / "copy.bin", "sha256", "0" * 64)
    assert str(caught.value).startswith(f"{server}/{length}: ")
    assert not list(tmp_path.iterdir())


def test_endless_download_is_given_up(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mftscreen.internet.downloading._MAX_BYTES", 5)
    with pytest.raises(DownloadError, match="more than the 5 bytes"):
        fetch(f"{server}/7", tmp_path / "copy.bin", "sha256", "0" * 64)
    assert not list(tmp_path.iterdir())


def test_what_was_there_stays_if_the_download_fails(
    source: Path, tmp_path: Path
) -> None:
    path = tmp_path / "copy.bin"
    path.write_bytes(b"old")
    with pytest.raises(DownloadError, match=r"none\.bin"):
        fetch((tmp_path / "none.bin").as_uri(), path, "sha256", "0" * 64)
    assert path.read_bytes() == b"old"


def test_folder_that_cannot_be_written_is_no_fault_of_the_address(source: Path) -> None:
    with pytest.raises(OSError) as caught:
        fetch(source.as_uri(), source / "copy.bin", "sha256", "0" * 64)
    assert not isinstance(caught.value, DownloadError)


def test_wrong_checksum_names_the_file_and_both_checksums(source: Path) -> None:
    found = hashlib.md5(source.read_bytes()).hexdigest()
    check_digest(source, "md5", found)
    with pytest.raises(DownloadError) as caught:
        check_digest(source, "md5", "0" * 32)
    assert str(caught.value) == (f"{source}: has the md5 {found}, expected {'0' * 32}")
