"""Downloads from a server on this machine, of a checkpoint that deepmd-kit made."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from mftscreen.errors import ModelError, ModelFileError, UnknownModelError
from mftscreen.model.backbones import pretrained_models
from mftscreen.model.files import download
from mftscreen.model.files.download import (
    backbone,
    downloaded_name,
    fetch_backbone,
)
from mftscreen.model.files.registry import resolve_model

NAME = "DPA-3.1-3M"

SCRIPT = """
import sys
from deepmd.pretrained.registry import MODEL_REGISTRY
from mftscreen.model.files.download import fetch_backbone
name, url, file, sha256 = sys.argv[1:]
MODEL_REGISTRY[name] = {"urls": [url], "filename": file, "sha256": sha256}
print(fetch_backbone(name).path)
"""


def start_process(publisher: Any) -> subprocess.Popen[str]:
    known = backbone(NAME)
    arguments = [NAME, known.urls[0], known.path.name, known.sha256]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_registry_of_deepmd_has_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepmd.pretrained.download import DEFAULT_CACHE_DIR

    monkeypatch.delenv("MFTSCREEN_MODELS", raising=False)
    for name in pretrained_models():
        known = backbone(name)
        assert known.path.parent == DEFAULT_CACHE_DIR
        assert known.path.suffix == ".pt"
        assert len(bytes.fromhex(known.sha256)) == 32
        assert known.urls
        assert all(url.startswith("https://") for url in known.urls)


def test_model_is_downloaded_once(publisher: Any) -> None:
    path, sha256 = resolve_model(NAME)
    assert path == publisher.path
    assert path.read_bytes() == publisher.content
    assert sha256 == backbone(NAME).sha256
    assert resolve_model(NAME) == (path, sha256)
    assert publisher.requests == 1


def truncated(publisher: Any, request: BaseHTTPRequestHandler) -> None:
    publisher.send(request, publisher.content[: len(publisher.content) // 2])


def tampered(publisher: Any, request: BaseHTTPRequestHandler) -> None:
    content = bytearray(publisher.content)
    content[len(content) // 2] ^= 1
    publisher.send(request, bytes(content))


def missing(publisher: Any, request: BaseHTTPRequestHandler) -> None:
    request.send_error(404)


def garbled(publisher: Any, request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"nothing like HTTP\r\n\r\n")


FAULTS = {
    truncated: r"the connection ended after \d+ of \d+ bytes",
    tampered: "has the sha256",
    missing: "HTTP Error 404",
    garbled: "nothing like HTTP",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_server_leaves_nothing(publisher: Any, fault: Any) -> None:
    publisher.answers = [lambda request: fault(publisher, request)] * 2
    with pytest.raises(ModelError, match=FAULTS[fault]) as caught:
        fetch_backbone(NAME)
    assert all(url in str(caught.value) for url in publisher.urls)
    assert not list(publisher.path.parent.iterdir())
    fetch_backbone(NAME)
    assert publisher.path.read_bytes() == publisher.content


@pytest.mark.parametrize("fault", FAULTS)
def test_next_address_is_tried(publisher: Any, fault: Any) -> None:
    publisher.answers = [lambda request: fault(publisher, request)]
    fetch_backbone(NAME)
    assert publisher.path.read_bytes() == publisher.content
    assert list(publisher.path.parent.iterdir()) == [publisher.path]
    assert publisher.requests == 2


def test_damaged_file_that_is_there_is_not_used(publisher: Any) -> None:
    publisher.path.parent.mkdir()
    publisher.path.write_bytes(publisher.content[:-1])
    with pytest.raises(ModelFileError, match="has the sha256") as caught:
        resolve_model(NAME)
    assert f"{publisher.path}: " in str(caught.value)
    assert "remove it" in str(caught.value)
    assert publisher.requests == 0
    publisher.path.unlink()
    resolve_model(NAME)
    assert publisher.path.read_bytes() == publisher.content


def test_offline_message_says_what_to_do(
    publisher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepmd.pretrained.registry import MODEL_REGISTRY

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    urls = [f"http://127.0.0.1:{port}/a.pt", f"http://127.0.0.1:{port}/b.pt"]
    monkeypatch.setitem(MODEL_REGISTRY[NAME], "urls", urls)
    with pytest.raises(ModelError) as caught:
        resolve_model(NAME)
    text = str(caught.value)
    assert text.startswith(f"{NAME} cannot be downloaded:\n  {urls[0]}: ")
    assert f"\n  {urls[1]}: " in text
    assert f"\n  dp pretrained download {NAME} --cache-dir .\n" in text
    assert str(publisher.path) in text
    assert "MFTSCREEN_MODELS" in text
    # what it says helps
    publisher.path.write_bytes(publisher.content)
    assert resolve_model(NAME)[0] == publisher.path


def test_folder_that_cannot_be_written(
    publisher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("MFTSCREEN_MODELS", str(file / "folder"))
    with pytest.raises(ModelError, match="another folder in MFTSCREEN_MODELS") as found:
        resolve_model(NAME)
    assert f"cannot be written to {file / 'folder'}" in str(found.value)
    assert publisher.requests == 0


def test_killed_download_is_not_used_and_can_be_repeated(publisher: Any) -> None:
    half_sent, over = threading.Event(), threading.Event()

    def stall(request: BaseHTTPRequestHandler) -> None:
        truncated(publisher, request)
        half_sent.set()
        over.wait(60)

    publisher.answers = [stall]
    process = start_process(publisher)
    try:
        assert half_sent.wait(60)
        assert not publisher.path.exists()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    finally:
        over.set()
    assert not publisher.path.exists()
    assert resolve_model(NAME)[0].read_bytes() == publisher.content


def test_two_processes_at_once(publisher: Any) -> None:
    both = threading.Barrier(2)

    def send_together(request: BaseHTTPRequestHandler) -> None:
        both.wait(60)
        publisher.send(request, publisher.content)

    publisher.answers = [send_together, send_together]
    processes = [start_process(publisher) for _ in range(2)]
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert output.strip() == str(publisher.path)
    assert list(publisher.path.parent.iterdir()) == [publisher.path]
    assert publisher.path.read_bytes() == publisher.content
    assert publisher.requests == 2


def test_threads_download_once(publisher: Any) -> None:
    threads = [threading.Thread(target=fetch_backbone, args=(NAME,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publisher.path.read_bytes() == publisher.content
    assert publisher.requests == 1


def test_file_is_known_by_its_checksum(publisher: Any) -> None:
    assert downloaded_name(backbone(NAME).sha256) == NAME
    assert downloaded_name("0" * 64) is None


def test_unknown_name() -> None:
    with pytest.raises(UnknownModelError, match="no model 'DPA-9' to download; there"):
        backbone("DPA-9")


def test_deepmd_without_the_model(
    publisher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepmd.pretrained.registry import MODEL_REGISTRY

    sha256 = backbone(NAME).sha256
    monkeypatch.delitem(MODEL_REGISTRY, NAME)
    for function in (backbone, fetch_backbone, resolve_model):
        with pytest.raises(UnknownModelError, match=r"does not know DPA.*; it has"):
            function(NAME)
    # files are known as far as they can be
    assert downloaded_name(sha256) is None
    other = "DPA-3.3-1M"
    assert downloaded_name(backbone(other).sha256) == other


@pytest.mark.parametrize("shown", [False, True])
def test_progress_is_shown_if_asked_for(
    publisher: Any, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    asked = []
    original = download.fetch

    def record(*arguments: Any, progress: bool) -> None:
        asked.append(progress)
        original(*arguments, progress=progress)

    monkeypatch.setattr(download, "fetch", record)
    options = {"progress": True} if shown else {}
    resolve_model(NAME, **options)
    assert asked == [shown]
