"""What a report shows of a run folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.db import connect

from mftscreen import rank
from mftscreen.errors import ModelError
from mftscreen.model.files.bundle import PropertyHead, read_bundle, write_bundle
from mftscreen.properties import PropertySpec
from mftscreen.screen.report.contents import collect
from mftscreen.screen.report.page import build_report

pytest.importorskip("plotly", reason="reports need plotly")


@pytest.fixture(scope="module")
def alpha_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another property, with other elements and without a reference set."""
    bundle = read_bundle(tiny_model)
    spec = PropertySpec(
        name="alpha", label="polarizability", unit="Å^3", head="extensive"
    )
    head = PropertyHead(
        **{
            **dict(bundle.card.properties["gap"]),
            "spec": spec,
            "head": "alpha",
            "elements": ["O", "Si"],
        }
    )
    update = {"name": "second", "properties": {"alpha": head}}
    path = tmp_path_factory.mktemp("alpha") / "alpha.mft"
    write_bundle(path, bundle.card.model_copy(update=update), bundle.checkpoint)
    return path


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    with connect(tmp_path / "pool.db") as database:
        for a in (4.1, 4.2, 4.3):
            database.write(bulk("MgO", "rocksalt", a=a))
        database.write(bulk("Si"))
        database.write(bulk("Si"))
    return tmp_path / "pool.db"


def test_models_of_different_properties(
    pool: Path, tiny_model: Path, alpha_model: Path, tmp_path: Path
) -> None:
    models = [alpha_model, tiny_model]
    result = rank(
        pool, goals=["gap:max", "alpha:min"], models=models, run=tmp_path / "run"
    )
    data = collect(tmp_path / "run")
    assert [spec.name for spec in data.properties] == ["gap", "alpha"]
    assert [card["name"] for card in data.model_cards] == ["second", "tiny"]
    assert data.training_elements == {"O"}
    assert data.command is None
    assert list(data.records) == list(result.records())
    assert data.embedding is not None
    build_report(data, tmp_path / "report.html")
    assert "polarizability" not in (tmp_path / "report.html").read_text("utf-8")


def test_other_options(pool: Path, tiny_model: Path, tmp_path: Path) -> None:
    rank(pool, goals="gap:min", models=tiny_model, run=tmp_path / "run", diverse=2)
    plain = collect(tmp_path / "run", "none", diverse=0)
    assert [record["rank"] for record in plain.records] == [1, 2, 3, 4, None]
    diverse = collect(tmp_path / "run", "none")
    assert {record["formula"] for record in diverse.records[:2]} == {"MgO", "Si"}
    other = collect(tmp_path / "run", "none", ["gap:max"], diverse=0)
    ids = [record["id"] for record in plain.records]
    assert [record["id"] for record in other.records][:4] == ids[3::-1]


def test_model_that_was_replaced(
    pool: Path, tiny_model: Path, alpha_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.mft"
    path.write_bytes(tiny_model.read_bytes())
    rank(pool, goals="gap:max", models=path, run=tmp_path / "run")
    path.write_bytes(alpha_model.read_bytes())
    with pytest.raises(ModelError, match="is not the model any more"):
        collect(tmp_path / "run")


def test_a_funnel_shows_the_cards_of_both_models(
    pool: Path, tiny_model: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(tiny_model)
    gap = bundle.card.properties["gap"]
    heads = {"gap": gap.model_copy(update={"elements": ["Mg", "O", "Si"]})}
    card = bundle.card.model_copy(update={"name": "slow", "properties": heads})
    slow = tmp_path / "slow.mft"
    write_bundle(slow, card, bundle.checkpoint, bundle.reference)
    result = rank(
        pool, goals="gap:max", models=tiny_model, then=slow, keep=2,
        run=tmp_path / "run",
    )  # fmt: skip
    data = collect(tmp_path / "run")
    assert [card["name"] for card in data.model_cards] == ["slow", "tiny"]
    assert data.training_elements == {"Mg", "O", "Si"}
    assert list(data.records) == list(result.records())
    assert sorted(data.structures) == [
        k for k, row in enumerate(result.rows) if row.status == "ok"
    ]
    build_report(data, tmp_path / "report.html")
    tiny_model_moved = tmp_path / "tiny.mft"
    tiny_model_moved.write_bytes(tiny_model.read_bytes())
    rank(
        pool, goals="gap:max", models=tiny_model_moved, then=slow,
        run=tmp_path / "other",
    )  # fmt: skip
    tiny_model_moved.write_bytes(slow.read_bytes())
    with pytest.raises(ModelError, match="is not the model any more"):
        collect(tmp_path / "other")


def test_what_the_intervals_rest_on_and_molecules_are_shown(
    tiny_model: Path, tmp_path: Path
) -> None:
    with connect(tmp_path / "pool.db") as database:
        database.write(bulk("MgO", "rocksalt", a=4.2))
        database.write(molecule("H2O2"))
        database.write(bulk("MgO", "rocksalt", a=4.2).repeat(2))
    result = rank(
        tmp_path / "pool.db", goals="gap:max", models=tiny_model, run=tmp_path / "run",
        check_domain=False,
    )  # fmt: skip
    data = collect(tmp_path / "run", "none")
    found = {record["id"]: record["formula"] for record in data.records}
    # HO is another molecule; of a crystal the smallest unit counts
    assert found == {"1": "MgO", "2": "H2O2", "3": "MgO"}
    assert data.remarks == result.remarks
    assert data.remark_details == result.details


def test_what_was_in_memory_has_a_report(tiny_model: Path, tmp_path: Path) -> None:
    run, crystals = tmp_path / "run", [bulk("MgO", "rocksalt", a=4.2), bulk("Si")]
    rank(crystals, goals="gap", models=tiny_model, run=run)
    assert collect(run).title == "structures in memory: gap"
    files = []
    for k, atoms in enumerate(crystals):
        files.append(tmp_path / f"{k}.extxyz")
        atoms.write(files[-1])
    rank(files, goals="gap", models=tiny_model, run=run)
    assert collect(run).title == "0.extxyz and 1 more: gap"
