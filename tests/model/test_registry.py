from __future__ import annotations

from pathlib import Path

import pytest

from mftscreen.errors import ModelFileError, UnknownModelError
from mftscreen.model.download import BACKBONES
from mftscreen.model.registry import DEFAULT_MODEL, registered_models, resolve_model


def test_default_model_is_registered_and_has_a_checksum() -> None:
    model = registered_models()[DEFAULT_MODEL]
    assert model.name == DEFAULT_MODEL
    assert model.path.name == f"{DEFAULT_MODEL}.mft"
    assert len(bytes.fromhex(model.sha256)) == 32


def test_registered_name_gives_its_file_and_checksum() -> None:
    model = registered_models()[DEFAULT_MODEL]
    assert resolve_model(DEFAULT_MODEL) == (model.path, model.sha256)


@pytest.mark.parametrize("as_type", [str, Path])
@pytest.mark.parametrize("name", ["own.mft", "own.pt", "no_ending"])
def test_existing_file_is_found_and_has_no_checksum(
    tmp_path: Path, name: str, as_type: type
) -> None:
    path = tmp_path / name
    path.touch()
    assert resolve_model(as_type(path)) == (path, None)


def test_path_wins_over_a_registered_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(DEFAULT_MODEL)
    path.touch()
    assert resolve_model(path) == (path, None)
    assert resolve_model(f"./{DEFAULT_MODEL}") == (path, None)


@pytest.mark.parametrize("name", ["none.mft", "none.pt"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match=f"{name}: no such file"):
        resolve_model(tmp_path / name)


@pytest.mark.parametrize("source", ["mft-maxi", "", "folder/none"])
def test_unknown_name_lists_the_known_ones(source: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        resolve_model(source)
    assert f"no model named {source!r}" in str(caught.value)
    assert all(name in str(caught.value) for name in registered_models())
    assert all(name in str(caught.value) for name in BACKBONES)
    assert ".mft" in str(caught.value)
