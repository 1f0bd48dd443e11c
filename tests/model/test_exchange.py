from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from mftscreen import MFTCalculator, Predictor, load_model, rank
from mftscreen.errors import (
    DataError,
    ModelFileError,
    UnknownHeadError,
    UnsupportedByBackboneError,
)
from mftscreen.model.exchange import export_model, import_model
from mftscreen.model.files.bundle import read_bundle, write_bundle
from mftscreen.transforms import Transform

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")


@pytest.mark.slow
def test_a_frozen_force_field_is_that_of_the_model(tmp_path: Path) -> None:
    from deepmd.infer import DeepPot

    path = tmp_path / "crystals.pth"
    assert export_model("mft-mini", path, "crystals") == "crystals"
    frozen = DeepPot(str(path))
    types = frozen.get_type_map()
    calculator = MFTCalculator("mft-mini-crystals")
    for seed, formula in enumerate(("MgO", "NaCl", "GaAs")):
        atoms = bulk(formula, "rocksalt", a=4.6, cubic=True)
        atoms.rattle(0.05, seed=seed)
        kinds = [types.index(symbol) for symbol in atoms.symbols]
        energy, forces, _ = frozen.eval(
            atoms.positions[None], np.asarray(atoms.cell)[None], kinds
        )
        expected = calculator.get_potential_energy(atoms)
        assert float(energy[0, 0]) == pytest.approx(expected, rel=1e-6)
        assert forces[0] == pytest.approx(calculator.get_forces(atoms), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["pth", "pt"])
def test_there_and_back_again(ending: str, checkpoint: Path, tmp_path: Path) -> None:
    exported, back = tmp_path / f"gap.{ending}", tmp_path / "gap.mft"
    assert export_model(checkpoint, exported, "gap") == "gap"
    card = import_model(exported, back, units={"gap": "eV"}, licence="MIT")
    assert (card.name, card.licence, card.energy_head) == ("gap", "MIT", None)
    model = load_model(back)
    assert model.properties["gap"].unit == "eV"
    assert math.isinf(model.card.properties["gap"].train_range[0])
    crystals = [bulk("MgO", "rocksalt", a=4.2), bulk("GaAs", "zincblende", a=5.6)]
    before, after = (
        [row.properties["gap"] for row in Predictor(m, properties=["gap"])(crystals)]
        for m in (load_model(checkpoint, energy_head="oxides"), model)
    )
    assert after == pytest.approx(before, rel=1e-6)
    # what nobody knows is said to be unknown
    (first, _) = rank(crystals, goals="gap", models=back).rows
    assert (first.trust, first.ood_p_value, first.intervals) == ("untested", None, {})


def test_heads_are_found_by_their_names(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    assert export_model(checkpoint, path, "OXIDES") == "oxides"
    assert load_model(path).card.energy_head == "Default"
    with pytest.raises(UnknownHeadError, match="no head 'metals'; it has alloys, oxid"):
        export_model(checkpoint, path, "metals")


def test_a_model_has_its_own_default(tiny_model: Path, tmp_path: Path) -> None:
    assert export_model(tiny_model, tmp_path / "x.pt") == "oxides"
    assert export_model(str(tiny_model), tmp_path / "x.pt", "gap") == "gap"


def test_what_cannot_be_frozen_is_said(sevennet_backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedByBackboneError, match=r"frozen files \(.pth\)"):
        export_model(sevennet_backbone, tmp_path / "x.pth")
    assert not list(tmp_path.iterdir())


def test_places_and_endings_are_checked(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"ends in .pth \(frozen\) or .pt"):
        export_model(checkpoint, tmp_path / "x.onnx")
    with pytest.raises(DataError, match="is not a folder"):
        export_model(checkpoint, tmp_path / "no" / "x.pth")
    with pytest.raises(ModelFileError, match=r"a model file ends in .mft"):
        import_model(checkpoint, tmp_path / "x.pt")
    (tmp_path / "x.pb").touch()
    with pytest.raises(ModelFileError, match=r"files end in .pth or .pt"):
        import_model(tmp_path / "x.pb", tmp_path / "x.mft")
    (tmp_path / "x.pth").write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(ModelFileError, match="not a frozen model of deepmd-kit"):
        import_model(tmp_path / "x.pth", tmp_path / "x.mft")
    with pytest.raises(UnknownHeadError, match="no property 'Eg' to have a unit"):
        import_model(
            checkpoint, tmp_path / "x.mft", energy_head="oxides", units={"Eg": "eV"}
        )


def test_a_model_does_not_replace_itself(checkpoint: Path, tmp_path: Path) -> None:
    own, link = tmp_path / "own.pt", tmp_path / "link.mft"
    shutil.copyfile(checkpoint, own)
    link.symlink_to(own)
    with pytest.raises(DataError, match=r"own\.pt, which is read; choose another"):
        export_model(own, own, "oxides")
    with pytest.raises(DataError, match="which is read; choose another output"):
        import_model(own, link, energy_head="oxides")
    assert own.read_bytes() == checkpoint.read_bytes()


def test_a_transform_of_the_labels_is_told_of(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = read_bundle(tiny_model)
    gap = bundle.card.properties["gap"]
    spec = gap.spec.model_copy(update={"transform": Transform(kind="log10")})
    heads = bundle.card.properties | {"gap": gap.model_copy(update={"spec": spec})}
    card = bundle.card.model_copy(update={"properties": heads})
    write_bundle(tmp_path / "log.mft", card, bundle.checkpoint)
    export_model(tmp_path / "log.mft", tmp_path / "x.pt", "gap")
    assert "gap as it was trained on; undo that: kind log10" in caplog.text
