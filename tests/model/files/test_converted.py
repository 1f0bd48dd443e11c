"""Models of other packages, converted once and kept; the conversion is made up here."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from mftscreen.errors import ModelError, UnknownModelError
from mftscreen.model.backbones.sevennet import SevenNet
from mftscreen.model.files.converted import convert_backbone, converted_model

NAME = "7net-0"


@dataclass
class Conversions:
    folder: Path
    made: list[str] = field(default_factory=list)


@pytest.fixture
def conversions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Conversions:
    """Keep models in a new folder, and count what is converted."""
    counted = Conversions(tmp_path / "kept")

    def convert(self: SevenNet, name: str) -> dict[str, Any]:
        counted.made.append(name)
        return {"weight": torch.arange(5.0), "_extra_state": {"name": name}}

    monkeypatch.setenv("MFTSCREEN_MODELS", str(counted.folder))
    monkeypatch.setattr(SevenNet, "convert", convert)
    return counted


def test_a_model_is_converted_once(conversions: Conversions) -> None:
    before = converted_model(NAME)
    assert before.sha256 is None
    assert before.path.parent.parent == conversions.folder
    assert not conversions.folder.exists()
    made = convert_backbone(NAME)
    assert made == convert_backbone(NAME) == converted_model(NAME)
    assert conversions.made == [NAME]
    content = made.path.read_bytes()
    assert made.path == before.path
    assert made.sha256 == hashlib.sha256(content).hexdigest()
    state = torch.load(made.path, weights_only=True)["model"]
    assert state["weight"].tolist() == [0, 1, 2, 3, 4]
    # nothing else is left there
    names = sorted(path.name for path in made.path.parent.iterdir())
    assert names == [made.path.name, f"{made.path.name}.sha256"]


def test_models_have_files_of_their_own(conversions: Conversions) -> None:
    paths = {convert_backbone(name).path for name in ("7net-0", "7net-l3i5")}
    assert len(paths) == 2
    assert conversions.made == ["7net-0", "7net-l3i5"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"0" * 3000])
def test_a_damaged_file_is_converted_again(
    conversions: Conversions, content: bytes
) -> None:
    made = convert_backbone(NAME)
    whole = made.path.read_bytes()
    made.path.write_bytes(content)
    assert convert_backbone(NAME) == made
    assert made.path.read_bytes() == whole
    assert conversions.made == [NAME] * 2


@pytest.mark.parametrize("record", [b"", b"0" * 64, b"\xff\xfe", None])
def test_a_damaged_record_is_written_again(
    conversions: Conversions, record: bytes | None
) -> None:
    made = convert_backbone(NAME)
    path = made.path.with_name(f"{made.path.name}.sha256")
    if record is None:
        path.unlink()
    else:
        path.write_bytes(record)
    assert convert_backbone(NAME) == made
    assert path.read_text().strip() == made.sha256
    assert conversions.made == [NAME] * 2


def test_a_missing_file_is_converted_again(conversions: Conversions) -> None:
    made = convert_backbone(NAME)
    made.path.unlink()
    assert converted_model(NAME).sha256 is None
    assert convert_backbone(NAME) == made
    assert made.path.is_file()


def test_threads_convert_once(conversions: Conversions) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(convert_backbone(NAME)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert conversions.made == [NAME]
    assert found == [convert_backbone(NAME)] * 4


def test_a_folder_that_cannot_be_written_is_named(
    conversions: Conversions, as_nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_nobody.chmod(0o500)
    monkeypatch.setenv("MFTSCREEN_MODELS", str(as_nobody / "kept"))
    with pytest.raises(ModelError, match=f"{NAME} cannot be written to") as no:
        convert_backbone(NAME)
    assert f"{as_nobody / 'kept'}: Permission denied" in str(no.value)
    assert "name another folder in MFTSCREEN_MODELS" in str(no.value)


def test_a_file_stands_where_the_folder_should(conversions: Conversions) -> None:
    conversions.folder.write_text("no folder")
    with pytest.raises(ModelError, match="name another folder in MFTSCREEN_MODELS"):
        convert_backbone(NAME)


def test_a_conversion_that_fails_leaves_nothing(
    conversions: Conversions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(self: SevenNet, name: str) -> dict[str, Any]:
        msg = f"{name} comes with the package sevenn, which is not installed"
        raise ModelError(msg)

    monkeypatch.setattr(SevenNet, "convert", convert)
    with pytest.raises(ModelError, match="not installed"):
        convert_backbone(NAME)
    assert not conversions.folder.exists()


@pytest.mark.parametrize("function", [converted_model, convert_backbone])
@pytest.mark.parametrize("name", ["7net-1", "DPA-3.1-3M", "../7net-0", ""])
def test_other_names(conversions: Conversions, function: Any, name: str) -> None:
    with pytest.raises(UnknownModelError, match="to convert; there are 7net-0, 7net-"):
        function(name)
    assert conversions.made == []
