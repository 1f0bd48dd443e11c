from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from mftscreen import MFTCalculator, load_model
from mftscreen.errors import PeriodicityError, UnknownModelError
from mftscreen.model.backbones import converted_models, pretrained_models
from mftscreen.model.backbones.sevennet import SevenNet
from mftscreen.model.files.checkpoint import keep_heads, save_state
from mftscreen.model.files.download import backbone
from mftscreen.model.files.pretrained import (
    BACKBONES,
    find_domains,
    obtain_backbone,
)
from mftscreen.model.files.reading import read_state
from mftscreen.model.files.registry import resolve_model

DOWNLOADED, CONVERTED = "DPA-3.1-3M", "7net-0"


@pytest.fixture
def state(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What the conversion gives: a small model in place of a large one."""
    monkeypatch.setenv("MFTSCREEN_MODELS", str(tmp_path / "kept"))
    state = keep_heads(read_state(checkpoint), {"MPtrj": "oxides"})
    monkeypatch.setattr(SevenNet, "convert", lambda *_: state)
    return state


def test_names_are_those_of_all_kinds() -> None:
    assert set(BACKBONES) == {*pretrained_models(), *converted_models()}
    assert list(BACKBONES)[-2:] == ["7net-0", "7net-l3i5"]
    for heads in BACKBONES.values():
        assert set(heads) <= {"crystals", "molecules"}
        assert heads


def test_what_is_downloaded(publisher: Any) -> None:
    expected = publisher.path, hashlib.sha256(publisher.content).hexdigest()
    assert obtain_backbone(DOWNLOADED) == resolve_model(DOWNLOADED) == expected


def test_what_is_converted(state: dict[str, Any], tmp_path: Path) -> None:
    content = save_state(state)
    path, sha256 = obtain_backbone(CONVERTED)
    assert path.read_bytes() == content
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert path.parent.parent == tmp_path / "kept"
    assert resolve_model(CONVERTED) == (path, sha256)


def test_files_are_known_by_their_checksums(
    state: dict[str, Any], publisher: Any
) -> None:
    assert find_domains(backbone(DOWNLOADED).sha256) == BACKBONES[DOWNLOADED]
    content = save_state(state)
    sha256 = hashlib.sha256(content).hexdigest()
    assert find_domains(sha256) == {}  # until it has been made
    _, made = obtain_backbone(CONVERTED)
    assert made == sha256
    assert find_domains(sha256) == {"crystals": "MPtrj"}
    assert find_domains("0" * 64) == find_domains("") == {}


def test_a_deepmd_without_a_model_knows_the_others(
    publisher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepmd.pretrained.registry import MODEL_REGISTRY

    sha256 = backbone(DOWNLOADED).sha256
    monkeypatch.delitem(MODEL_REGISTRY, DOWNLOADED)
    assert find_domains(sha256) == {}
    other = "DPA-3.3-1M"
    assert find_domains(backbone(other).sha256) == BACKBONES[other]


def test_other_names_are_refused() -> None:
    with pytest.raises(UnknownModelError, match="no model '7net' to download"):
        obtain_backbone("7net")


def test_a_calculator_of_a_name(
    state: dict[str, Any], mixed_structures: list[Any]
) -> None:
    crystal, water, *_ = mixed_structures
    calculator = MFTCalculator(CONVERTED)
    expected = MFTCalculator(load_model(obtain_backbone(CONVERTED)[0]))
    energy = calculator.get_potential_energy(crystal)
    assert energy == expected.get_potential_energy(crystal)
    with pytest.raises(
        PeriodicityError, match="loaded for crystals, with its head MPt"
    ):
        calculator.get_potential_energy(water)
    chosen = MFTCalculator(CONVERTED, energy_head="crystals")
    assert chosen.get_potential_energy(crystal) == pytest.approx(energy)
    by_head = MFTCalculator(CONVERTED, energy_head="MPtrj")
    assert chosen.get_potential_energy(water) == by_head.get_potential_energy(water)
