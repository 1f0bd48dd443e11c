from __future__ import annotations

import csv
import json
from pathlib import Path

from ase.build import bulk
from ase.io import write
from click.testing import CliRunner
from pymatgen.io.ase import AseAtomsAdaptor

from mftscreen.cli import main


def test_files_of_any_format(tmp_path: Path, tiny_model: Path) -> None:
    crystal = bulk("MgO", "rocksalt", a=4.2)
    write(tmp_path / "POSCAR", crystal)
    write(tmp_path / "two.extxyz", [crystal, bulk("GaAs", "zincblende", a=5.6)])
    (tmp_path / "broken.cif").write_text("data_nothing\n")
    files = [str(tmp_path / f) for f in ("POSCAR", "two.extxyz", "broken.cif", "no")]
    result = CliRunner().invoke(
        main, ["predict", *files, "-m", str(tiny_model), "--energy"]
    )
    assert result.exit_code == 3
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [Path(row["file"]).name for row in rows] == [
        "POSCAR", "two.extxyz", "two.extxyz#1", "broken.cif", "no",
    ]  # fmt: skip
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["unreadable"] * 2
    assert abs(float(rows[0]["gap"]) - float(rows[1]["gap"])) < 1e-6
    assert float(rows[0]["energy"])
    assert rows[3]["gap"] == ""


def test_databases_and_documents(tmp_path: Path, tiny_model: Path) -> None:
    crystals = [bulk("MgO", "rocksalt", a=4.2), bulk("Si")]
    write(tmp_path / "two.db", crystals)
    documents = {
        str(k): AseAtomsAdaptor.get_structure(atoms).as_dict()
        for k, atoms in enumerate(crystals)
    }
    (tmp_path / "two.json").write_text(json.dumps(documents))
    (tmp_path / "empty.json").write_text("[]")
    files = [str(tmp_path / f) for f in ("two.db", "two.json", "empty.json")]
    result = CliRunner().invoke(main, ["predict", *files, "-m", str(tiny_model)])
    assert result.exit_code == 3
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [row["formula"] for row in rows] == ["MgO", "Si", "MgO", "Si", ""]
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["unreadable"]
    for one, other in ((0, 2), (1, 3)):
        assert abs(float(rows[one]["gap"]) - float(rows[other]["gap"])) < 1e-6


def test_models_list_and_show(tiny_model: Path) -> None:
    shown = CliRunner().invoke(main, ["models", "show", str(tiny_model)])
    assert json.loads(shown.stdout)["name"] == "tiny"
    listed = CliRunner().invoke(main, ["models", "list"])
    assert listed.exit_code == 0
    assert "mft-mini-crystals\tenergy, forces, stress, dielectric" in listed.stdout


def test_ids_are_those_of_rank(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "pool"
    (folder / "below").mkdir(parents=True)
    for name in ("a.cif", "below/b.cif"):
        write(folder / name, bulk("MgO", "rocksalt", a=4.2))
    table = folder / "t.csv"
    table.write_text("id,file\n007,a.cif\n1e3,below/b.cif\nbad,none.cif\n")
    arguments = [str(folder), str(table), "-m", str(tiny_model)]
    result = CliRunner().invoke(main, ["predict", *arguments])
    assert result.exit_code == 3
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [row["id"] for row in rows] == ["a.cif", "below/b.cif", "007", "1e3", "bad"]
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["unreadable"]
