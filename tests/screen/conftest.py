"""A small database, and what a ranking of it gives."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.db import connect

from mftscreen import ScreenResult, rank
from mftscreen.model.files.bundle import PropertyHead, read_bundle, write_bundle
from mftscreen.properties import PropertySpec
from mftscreen.screen.work import workers
from mftscreen.screen.work.evaluation import EvaluationSettings
from mftscreen.screen.work.workers import Results


@pytest.fixture(scope="session")
def crystals() -> list[Atoms]:
    """Oxides, two with elements of no reference structure, one of no model, a copy."""
    return [
        *(bulk("MgO", "rocksalt", a=4.1 + 0.05 * k) for k in range(4)),
        bulk("GaAs", "zincblende", a=5.65),
        Atoms("Pb"),
        bulk("MgO", "rocksalt", a=4.1),
        bulk("Si", cubic=True),
    ]


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory, crystals: list[Atoms]) -> Path:
    path = tmp_path_factory.mktemp("pool") / "pool.db"
    with connect(path, append=False) as database:
        for atoms in crystals:
            database.write(atoms)
    return path


@pytest.fixture(scope="session")
def ranked(pool: Path, tiny_model: Path) -> ScreenResult:
    return rank(pool, goals="gap:max", models=tiny_model)


@pytest.fixture(scope="session")
def two_headed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with an extensive property beside the gap."""
    return _with_alpha(tiny_model, tmp_path_factory.mktemp("two") / "two.mft", 1.0)


@pytest.fixture(scope="session")
def other_member(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with other weights."""
    return _with_alpha(tiny_model, tmp_path_factory.mktemp("other") / "o.mft", 1.1)


@pytest.fixture(scope="session")
def opposite(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with weights that turn the order of values around."""
    return _with_alpha(tiny_model, tmp_path_factory.mktemp("opposite") / "o.mft", -1.0)


def _with_alpha(tiny_model: Path, path: Path, scale: float) -> Path:
    import torch

    bundle = read_bundle(tiny_model)
    gap = bundle.card.properties["gap"]
    alpha = PropertyHead(
        **{
            **dict(gap),
            "spec": PropertySpec(
                name="alpha", label="polarizability", unit="Å^3", head="extensive"
            ),
            "head": "alpha",
        }
    )
    card = bundle.card.model_copy(update={"properties": {"gap": gap, "alpha": alpha}})
    content = torch.load(io.BytesIO(bundle.checkpoint), weights_only=True)
    for name, tensor in content["model"].items():
        if ".fitting_net." in name and torch.is_tensor(tensor):
            content["model"][name] = tensor * scale
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bundle(path, card, buffer.getvalue(), bundle.reference)
    return path


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of structures that were evaluated, one for each chunk."""
    counts: list[int] = []
    evaluate = workers.evaluate

    def count(settings: EvaluationSettings, structures: Sequence[Atoms]) -> Results:
        counts.append(len(structures))
        return evaluate(settings, structures)

    monkeypatch.setattr(workers, "evaluate", count)
    return counts
