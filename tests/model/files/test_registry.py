from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mftscreen.errors import ModelFileError, UnknownModelError, UnknownPropertyError
from mftscreen.model.files.pretrained import BACKBONES
from mftscreen.model.files.registry import (
    DEFAULT_MODEL,
    FAMILIES,
    find_members,
    registered_models,
    resolve_model,
)

CRYSTALS, MOLECULES = FAMILIES[DEFAULT_MODEL].values()


@pytest.mark.parametrize("name", [CRYSTALS, MOLECULES])
def test_registered_name_gives_its_file_and_checksum(name: str) -> None:
    model = registered_models()[name]
    assert model.path.name == f"{name}.mft"
    assert len(bytes.fromhex(model.sha256)) == 32
    assert resolve_model(name) == (model.path, model.sha256)
    assert find_members(name, ["whatever"]) == (name,)


@pytest.mark.parametrize(
    ("wanted", "member"),
    [
        ({}, CRYSTALS),
        ({"domain": "crystals"}, CRYSTALS),
        ({"domain": "molecules"}, MOLECULES),
        ({"domain": "SPICE2"}, CRYSTALS),  # a head's name: the model says what it has
        ({"properties": ["dielectric"]}, CRYSTALS),
        ({"properties": ["gap", "homo"]}, MOLECULES),
        ({"properties": ["gap"], "domain": "crystals"}, MOLECULES),
    ],
)
def test_family_gives_the_member_that_is_asked_for(
    wanted: dict[str, Any], member: str
) -> None:
    assert resolve_model(DEFAULT_MODEL, **wanted) == resolve_model(member)


def test_members_are_those_that_predict_something_of_use() -> None:
    assert find_members(DEFAULT_MODEL) == (CRYSTALS, MOLECULES)
    assert find_members(DEFAULT_MODEL, ["gap", "other"]) == (MOLECULES,)
    assert find_members(DEFAULT_MODEL, ["gap", "dielectric"]) == (CRYSTALS, MOLECULES)


def test_family_that_predicts_nothing_of_use_says_what_it_does() -> None:
    with pytest.raises(UnknownPropertyError) as caught:
        resolve_model(DEFAULT_MODEL, properties=["colour"])
    assert "mft-mini does not predict colour" in str(caught.value)
    for name, own in ((CRYSTALS, "dielectric"), (MOLECULES, "zpve")):
        assert name in str(caught.value)
        assert own in str(caught.value)
    assert "such as one of your own" in str(caught.value)
    with pytest.raises(UnknownPropertyError) as caught:
        resolve_model(DEFAULT_MODEL, properties=["dielectrics"])
    assert "did you mean 'dielectric'" in str(caught.value)
    assert "one of your own" not in str(caught.value)


def test_unknown_name_has_the_closest_known_one() -> None:
    with pytest.raises(UnknownModelError, match=r"'7net0'; .* did you mean '7net-0'\?"):
        resolve_model("7net0")


def test_no_single_model_for_properties_of_crystals_and_molecules() -> None:
    expected = f"no single model .* gap, dielectric; .* {CRYSTALS}, some of {MOLECULES}"
    with pytest.raises(UnknownPropertyError, match=expected):
        resolve_model(DEFAULT_MODEL, properties=["gap", "dielectric"])


def test_the_folder_of_a_training_stands_for_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("runs/mft")
    (run / "best").mkdir(parents=True)
    with pytest.raises(ModelFileError, match=r"runs/mft: a folder without model\.mft"):
        resolve_model(run)
    best = run / "best" / "model.mft"
    best.touch()
    assert resolve_model(str(run)) == (best, None)
    own = run / "model.mft"
    own.touch()
    assert find_members(str(run), ["gap"]) == (own,)
    assert resolve_model(run) == resolve_model(own) == (own, None)
    # what is empty, as of a variable that is not set, is not the folder one is in
    monkeypatch.chdir(run)
    assert resolve_model(".") == (Path("model.mft"), None)
    with pytest.raises(UnknownModelError, match="no model named ''"):
        resolve_model("")
    monkeypatch.chdir(tmp_path)
    # a name is that of a model, whatever folder is called so
    Path(CRYSTALS).mkdir()
    Path(CRYSTALS, "model.mft").touch()
    assert resolve_model(CRYSTALS)[0] == registered_models()[CRYSTALS].path
    assert resolve_model(Path(CRYSTALS)) == (Path(CRYSTALS, "model.mft"), None)


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
    assert DEFAULT_MODEL in str(caught.value)
    assert all(name in str(caught.value) for name in BACKBONES)
    assert ".mft" in str(caught.value)
