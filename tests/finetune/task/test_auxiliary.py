from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write
from pydantic import ValidationError

from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.config.auxiliary import AuxiliaryConfig
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.task.auxiliary import load_auxiliary, select_diverse
from mftscreen.finetune.task.self_replay import Teacher
from mftscreen.ood import OFMFeaturizer

NOBODY = Teacher({}, "", "oxides")
"""Labelled files need no teacher."""


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    frames = [
        bulk("Cu", cubic=True),
        bulk("Cu"),
        bulk("CuAu", "rocksalt", a=5.0),
        molecule("N2"),
        bulk("Al"),
    ]
    for atoms in frames:
        atoms.calc = EMT()
        atoms.get_forces()
    write(tmp_path / "ff.extxyz", frames)
    return tmp_path / "ff.extxyz"


def formulas(path: Path, **filters: object) -> list[str]:
    config = AuxiliaryConfig(head="oxides", data=[path], **filters)
    downstream = [LabelledStructure(s, bulk(s)) for s in ("Cu", "Al")]
    frames = load_auxiliary(config, downstream, NOBODY, seed=0)
    return [str(frame.atoms.symbols) for frame in frames]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["Cu4", "Cu", "CuAu", "N2", "Al"]),
        ({"elements": "downstream"}, ["Cu4", "Cu", "Al"]),
        ({"elements": ["Cu", "Au"]}, ["Cu4", "Cu", "CuAu"]),
        ({"max_atoms": 2}, ["Cu", "CuAu", "N2", "Al"]),
        # all others are in equilibrium by symmetry
        ({"max_force": 0.1}, ["Cu4", "Cu", "CuAu", "Al"]),
        ({"elements": ["N"], "max_atoms": 2, "n_frames": 7}, ["N2"]),
    ],
)
def test_filters(labelled: Path, filters: dict, expected: list[str]) -> None:
    assert formulas(labelled, **filters) == expected


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"elements": ["Xe"]}, "none of 5 auxiliary frames has only elements"),
        ({"elements": ["Cu"], "max_atoms": 0}, "greater than 0"),
        (
            {"elements": ["N"], "max_atoms": 1},
            "1 have the elements .* none of these has up to 1 atoms",
        ),
    ],
)
def test_nothing_left(labelled: Path, filters: dict, message: str) -> None:
    with pytest.raises((DataError, ValidationError), match=message):
        formulas(labelled, **filters)


def crystals() -> list[Atoms]:
    """Return four kinds of crystals, five nearly equal ones of each, and molecules."""
    kinds = [
        ("MgO", "rocksalt", 4.2), ("GaAs", "zincblende", 5.6),
        ("Cu", "fcc", 3.6), ("CsCl", "cesiumchloride", 4.1),
    ]  # fmt: skip
    found = [
        bulk(formula, kind, a=a + 1e-3 * k)
        for k in range(5)
        for formula, kind, a in kinds
    ]
    return [*found, *(molecule(name) for name in ("H2O", "N2", "CO", "CH4", "NH3"))]


def test_farthest_points_take_one_of_each_kind() -> None:
    chosen = select_diverse(crystals(), 5, seed=3)
    assert sorted(k % 4 for k in chosen[:4]) == [0, 1, 2, 3]
    assert chosen[4] >= 20  # 1 of 5, as 5 of 25 are molecules
    assert (np.diff(chosen) > 0).all()


def test_choice_is_the_definitions_for_the_crystals() -> None:
    periodic = crystals()[:20]
    rows = OFMFeaturizer()(periodic)
    points = np.array([row.features for row in rows if row.features is not None])
    expected = [0]
    while len(expected) < 8:
        gaps = np.linalg.norm(points[:, None] - points[None, expected], axis=2)
        gaps = gaps.min(axis=1)
        gaps[expected] = -1.0
        expected.append(int(np.argmax(gaps)))
    assert select_diverse(periodic, 8, seed=0).tolist() == sorted(expected)


def test_seed_decides_among_molecules_only() -> None:
    choices = {tuple(select_diverse(crystals(), 10, seed=seed)) for seed in range(8)}
    assert len(choices) > 1
    assert len({choice[:8] for choice in choices}) == 1
    assert tuple(select_diverse(crystals(), 10, seed=2)) in choices
    assert select_diverse(crystals()[20:], 2, seed=0).shape == (2,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either 'data' or 'self_replay'"),
        ({"data": ["a.extxyz"], "self_replay": {}}, "either 'data' or 'self_replay'"),
        ({"self_replay": {}, "group": "parent"}, "stay with their parent"),
        ({"self_replay": {"per_structure": 0}}, "greater than 0"),
        ({"self_replay": {"strain": 0.5}}, "less than 0.3"),
        ({"data": ["a.extxyz"], "elements": []}, "at least 1 item"),
    ],
)
def test_refused_configurations(fields: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AuxiliaryConfig(head="oxides", **fields)


def test_unknown_key_of_self_replay_gets_a_hint(tmp_path: Path) -> None:
    document = {
        "strategy": "mft",
        "auxiliary": {"head": "oxides", "self_replay": {"ratle": 0.1}},
    }
    (tmp_path / "mft.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=r"self_replay\.ratle: .* mean 'rattle'"):
        load_config(tmp_path / "mft.yaml")


def test_card_says_what_self_replay_is() -> None:
    config = AuxiliaryConfig(head="oxides", self_replay={}, description="no DFT")
    assert config.training_set == (
        "no DFT; self-replay (beyond the paper): frames rattled by 0.1 Å, strained by "
        "0.03 and labelled by the pretrained model's own head 'oxides'"
    )
