from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import write
from click.testing import CliRunner
from pymatgen.io.ase import AseAtomsAdaptor

from mftscreen.cli import main


def test_files_of_any_format(tmp_path: Path, tiny_model: Path) -> None:
    crystal = bulk("MgO", "rocksalt", a=4.2)
    write(tmp_path / "POSCAR", crystal)
    write(tmp_path / "two.extxyz", [crystal, bulk("GaAs", "zincblende", a=5.6)])
    (tmp_path / "broken.cif").write_text("data_nothing\n")
    files = [str(tmp_path / f) for f in ("POSCAR", "two.extxyz", "broken.cif")]
    result = CliRunner().invoke(
        main, ["predict", *files, "-m", str(tiny_model), "--energy"]
    )
    assert result.exit_code == 3
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [Path(row["file"]).name for row in rows] == [
        "POSCAR", "two.extxyz", "two.extxyz#1", "broken.cif",
    ]  # fmt: skip
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["unreadable"]
    assert abs(float(rows[0]["gap"]) - float(rows[1]["gap"])) < 1e-6
    assert float(rows[0]["energy"])
    assert rows[3]["gap"] == ""


def test_a_file_that_is_missing_is_an_error_before_the_work(
    tmp_path: Path, tiny_model: Path
) -> None:
    write(tmp_path / "POSCAR", bulk("MgO", "rocksalt", a=4.2))
    files = [str(tmp_path / name) for name in ("POSCAR", "no")]
    result = CliRunner().invoke(main, ["predict", *files, "-m", str(tiny_model)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{files[1]}: no such file" in result.stderr
    # a pattern is none
    pattern = str(tmp_path / "POS*")
    result = CliRunner().invoke(main, ["predict", pattern, "-m", str(tiny_model)])
    assert result.exit_code == 0


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
    arguments = ["models", "show", str(tiny_model), "--json"]
    shown = CliRunner().invoke(main, arguments)
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


def test_it_tells_as_much_as_rank(tmp_path: Path, bulk_model: Path) -> None:
    ion = bulk("MgO", "rocksalt", a=4.3)
    ion.info["charge"] = 1
    structures = [bulk("MgO", "rocksalt", a=4.2), molecule("H2O"), bulk("Si"), ion]
    write(tmp_path / "some.extxyz", structures)
    arguments = ["predict", str(tmp_path / "some.extxyz"), "-m", str(bulk_model)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 3
    oxide, water, silicon, charged = csv.DictReader(result.stdout.splitlines())
    assert [oxide[k] for k in ("gap_unit", "ood", "status")] == ["eV", "False", "ok"]
    assert float(oxide["ood_p_value"]) > 0.05
    assert (water["gap"], water["status"]) == ("", "outside_domain")
    assert water["reason"] == "gap: it is for crystals, and this is not periodic"
    assert (silicon["ood"], silicon["status"]) == ("True", "ok")
    assert silicon["reason"].startswith("elements never seen: Si")
    assert charged["ood"] == "True"
    assert charged["reason"].startswith("a charge of +1, which the model does not see")
    assert "4 structures: 3 predicted (2 of them out of distribution), 1 failed" in (
        result.stderr
    )
    anyway = CliRunner().invoke(main, [*arguments, "--anyway", "--json"])
    assert anyway.exit_code == 0
    rows = [json.loads(line) for line in anyway.stdout.splitlines()]
    assert rows[1]["gap"] is not None
    assert rows[1]["ood"] is True
    assert "not periodic" in rows[1]["reason"]
    texts = ("file", "id", "formula", "gap_unit", "trust", "status", "reason")
    texts += ("gap_no_interval",)
    assert rows[0] == {
        key: value if key in texts else json.loads(value.lower() or "null")
        for key, value in oxide.items()
    }  # fmt: skip


def test_json_is_not_dropped_for_a_file(tmp_path: Path, tiny_model: Path) -> None:
    write(tmp_path / "a.cif", bulk("MgO", "rocksalt", a=4.2))
    line = ["predict", str(tmp_path / "a.cif"), "-m", str(tiny_model), "--json"]
    done = CliRunner().invoke(main, [*line, "-o", str(tmp_path / "a.csv")])
    assert done.exit_code == 2
    assert "-o FILE.jsonl writes JSON" in done.stderr
    assert not (tmp_path / "a.csv").exists()


def test_rows_go_to_a_file(tmp_path: Path, tiny_model: Path) -> None:
    write(tmp_path / "MgO.cif", bulk("MgO", "rocksalt", a=4.2))
    output = tmp_path / "out.jsonl"
    arguments = ["predict", str(tmp_path / "MgO.cif"), "-m", str(tiny_model)]
    result = CliRunner().invoke(main, [*arguments, "-o", str(output), "--energy"])
    assert result.exit_code == 0
    assert result.stdout == ""
    assert f"wrote 1 row to {output}" in result.stderr
    (row,) = map(json.loads, output.read_text().splitlines())
    assert row["id"] == "MgO.cif"
    assert row["energy"]
    database = tmp_path / "out.db"
    done = CliRunner().invoke(main, [*arguments, "-o", str(database), "--energy"])
    assert done.exit_code == 0, done.output
    with connect(database) as rows:
        assert rows.get(1).predicted_energy == pytest.approx(row["energy"])
    refused = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "out.xls")])
    assert refused.exit_code == 1


def test_what_one_property_refuses_another_has(
    tmp_path: Path, bulk_model: Path
) -> None:
    write(tmp_path / "some.extxyz", [molecule("H2O"), molecule("O2"), bulk("Si")])
    path = str(tmp_path / "some.extxyz")
    result = CliRunner().invoke(
        main, ["predict", path, "-m", str(bulk_model), "-p", "gap", "--energy"]
    )
    assert result.exit_code == 3
    water, oxygen, silicon = csv.DictReader(result.stdout.splitlines())
    # a new element for the force field, and no crystal
    assert (water["gap"], water["energy"]) == ("", "")
    assert water["status"] == "unknown_element"
    assert oxygen["gap"] == ""
    assert oxygen["energy"]
    assert (oxygen["status"], oxygen["trust"]) == ("ok", "flagged")
    assert oxygen["reason"].startswith("gap: it is for crystals")
    assert silicon["gap"]
    assert silicon["energy"] == ""
    assert (silicon["status"], silicon["trust"]) == ("ok", "flagged")
    assert "the energy head oxides never saw" in silicon["reason"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "db"])
def test_a_name_that_is_no_utf8(tmp_path: Path, tiny_model: Path, ending: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.cif"))
    write(tmp_path / "MgO.cif", bulk("MgO", "rocksalt", a=4.2))
    (tmp_path / "MgO.cif").rename(path)
    output = tmp_path / f"out.{ending}"
    arguments = ["predict", path, "-m", tiny_model, "-o", output]
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    if ending != "db":
        assert "udce9.cif" in output.read_text(encoding="utf-8")
