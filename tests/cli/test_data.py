from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.db import connect
from ase.io import read, write
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.data.convert import write_labelled
from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import read_force_field, read_labelled
from mftscreen.structures import structure_hash

DATA = os.environ.get("MFTSCREEN_DATA")


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["data", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def crystals(n: int = 30) -> list[Atoms]:
    found = []
    for k in range(n):
        atoms = bulk("MgO", "rocksalt", a=4.0 + 0.02 * k)
        atoms.info = {"id": f"mgo-{k}", "gap": 5.0 + 0.1 * k}
        found.append(atoms)
    return found


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    write(tmp_path / "clean.extxyz", crystals())
    return tmp_path / "clean.extxyz"


def findings(document: dict, part: str = "problems") -> dict[str, list[list[str]]]:
    kinds: dict[str, list[list[str]]] = {}
    for finding in document[part]:
        kinds.setdefault(finding["kind"], []).append(finding["rows"])
    return kinds


def test_clean_data_have_no_problems(clean: Path) -> None:
    code, text, _ = run("describe", clean, "-p", "gap", "--unit", "eV", "-q")
    assert code == 0, text
    assert "clean.extxyz: 30 rows" in text
    assert "usable   30, of 30 distinct structures" in text
    assert "gap (eV): mean 6.45, standard deviation 0.865544" in text
    assert "min 5  1 % 5.029" in text
    assert "atoms    min 2, median 2, max 2; periodic: 30 3D" in text
    assert "elements 2: O 30, Mg 30" in text
    assert "problems: none" in text
    assert "remarks" not in text
    bins = [line.split() for line in text.splitlines() if " .. " in line]
    assert sum(int(next(filter(str.isdecimal, cells))) for cells in bins) == 30
    assert max(len(cells[-1]) for cells in bins) == 40


def test_every_planted_problem_is_found_with_its_ids(tmp_path: Path) -> None:
    rows = crystals(25)
    del rows[1].info["gap"]
    rows[2].info["gap"] = np.nan
    rows[3].info["gap"] = "5.3 eV"
    rows[4].positions[1] = rows[4].positions[0] + 0.01
    rows[5].info["id"] = "mgo-6"
    other_cell = rows[7].repeat((2, 1, 1))  # the same structure, another label
    other_cell.info = {"id": "doubled", "gap": 9.9}
    milli = rows[8].copy()
    milli.info = {"id": "milli", "gap": 1000 * rows[8].info["gap"]}
    again = rows[9].copy()
    again.info["id"] = "again"
    write(tmp_path / "bad.extxyz", [*rows, other_cell, milli, again])
    code, text, _ = run(
        "describe", tmp_path / "bad.extxyz", "-p", "gap", "--json", "-q"
    )
    assert code == 3
    document = json.loads(text)
    assert findings(document) == {
        "missing": [["mgo-1"]],
        "not finite": [["mgo-2"]],
        "not a number": [["mgo-3"]],
        "structure": [["mgo-4"]],
        "repeated ids": [["mgo-6"]],
        "conflicting labels": [["mgo-7", "doubled"]],
        "units": [["mgo-8", "milli"]],
    }
    assert findings(document, "remarks") == {
        "duplicates": [["mgo-9", "again"]],
        "extreme labels": [["milli"]],
    }
    messages = {f["kind"]: f["message"] for f in document["problems"]}
    assert messages["units"].endswith("which differ as from eV to meV")
    assert "labels 5.7, 9.9" in messages["conflicting labels"]
    assert document["n_usable"] == 24
    assert document["n_distinct"] == 21


@pytest.mark.parametrize(
    ("label", "code", "line"),
    [
        (np.nan, 3, "usable   0, of 0 distinct structures"),
        (2.0, 0, "gap: mean 2, standard deviation 0"),
    ],
)
def test_labels_that_are_all_alike(
    tmp_path: Path, label: float, code: int, line: str
) -> None:
    rows = crystals(3)
    for atoms in rows:
        atoms.info["gap"] = label
    write(tmp_path / "rows.extxyz", rows)
    found, text, _ = run("describe", tmp_path / "rows.extxyz", "-p", "gap", "-q")
    assert found == code
    assert line in text


@pytest.mark.parametrize("labels", [[True, False, True], ["yes", "no", "Yes"]])
def test_labels_of_yes_and_no_are_counted(tmp_path: Path, labels: list[object]) -> None:
    rows = crystals(5)
    rows[4].set_cell(rows[0].cell, scale_atoms=True)  # the same crystal
    for atoms, label in zip(rows, [*labels, "maybe", "no"], strict=True):
        atoms.info["metal"] = label
    write(tmp_path / "rows.extxyz", rows)
    words = "describe", tmp_path / "rows.extxyz", "-p", "metal", "-q"
    assert "usable   0, of 0 distinct structures" in run(*words)[1]
    code, text, _ = run(*words, "--kind", "class")
    assert code == 3
    assert "usable   4, of 3 distinct structures" in text
    assert "metal: 2 yes, 2 no" in text
    code, text, _ = run(*words, "--kind", "class", "--json")
    document = json.loads(text)
    assert document["kind"] == "class"
    assert findings(document) == {
        "not a number": [["mgo-3"]],
        "conflicting labels": [["mgo-0", "mgo-4"]],
    }


def test_classes_have_no_units(tmp_path: Path) -> None:
    rows = crystals(30)
    for k, atoms in enumerate(rows):
        atoms.info["metal"] = int(k < 10 or k % 10 == 0)
    write(tmp_path / "most.extxyz", rows[:12])
    write(tmp_path / "few.extxyz", rows[12:])
    words = "describe", tmp_path / "most.extxyz", tmp_path / "few.extxyz", "-p", "metal"
    code, text, _ = run(*words, "--kind", "class", "-q")
    assert code == 0
    assert "metal: 12 yes, 18 no" in text
    assert "problems: none" in text
    assert "remarks" not in text


def test_unknown_label_and_file(clean: Path) -> None:
    code, _, errors = run("describe", clean, "-p", "n", "-q")
    assert code == 1
    assert "no label 'n'; there is id, gap" in errors
    assert run("describe", clean.with_name("no.db"), "-p", "n", "-q")[0] == 1


def test_training_structure_in_test_data(clean: Path, tmp_path: Path) -> None:
    test = [atoms.copy() for atoms in crystals()[:2]]
    test[0].positions += 0.3  # another origin
    test[1] = bulk("SrO", "rocksalt", a=5.2)
    test[1].info = {"id": "new", "gap": 5.3}
    write(tmp_path / "test.extxyz", test)
    code, text, _ = run(
        "describe", clean, "-p", "gap", "--against", tmp_path / "test.extxyz", "-q"
    )
    assert code == 3
    assert (
        "train and test: one structure in training and test data, labels 5, 5: "
        "clean.extxyz:mgo-0, test.extxyz:mgo-0" in text
    )
    assert "new elements: Sr is in test data only" in text
    assert "test.extxyz:new" in text
    assert "usable   30" in text


@pytest.mark.parametrize(
    ("unit", "factor", "change"),
    [
        ("eV", 1000.0, "eV to meV"),
        ("eV", 1 / 27.2114, "eV to Ha"),
        ("eV", 96.485, "eV to kJ/mol"),
        ("kcal/mol", 0.0433634, "kcal/mol to eV"),
        ("GPa", 10.0, "GPa to kbar"),
        ("eV", 1.1, None),
        ("eV", 2.0, None),
    ],
)
def test_files_in_different_units(
    tmp_path: Path, unit: str, factor: float, change: str | None
) -> None:
    rows = crystals(50)
    for atoms in rows[1::2]:
        atoms.info["gap"] *= factor
    write(tmp_path / "one.extxyz", rows[::2])
    write(tmp_path / "two.extxyz", rows[1::2])
    files = [tmp_path / "one.extxyz", tmp_path / "two.extxyz"]
    code, text, _ = run("describe", *files, "-p", "gap", "--unit", unit, "-q")
    assert code == (3 if change else 0)
    assert (f"differ as from {change}: one.extxyz, two.extxyz" in text) == bool(change)


def test_rows_in_another_unit_than_the_others(tmp_path: Path) -> None:
    rows = crystals(50)
    for atoms in rows[1::2]:
        atoms.info["gap"] *= 23.0605
    write(tmp_path / "rows.extxyz", rows)
    code, text, _ = run(
        "describe", tmp_path / "rows.extxyz", "-p", "gap", "--json", "-q"
    )
    assert code == 3
    (finding,) = json.loads(text)["problems"]
    assert finding["message"].endswith("and more differ as from eV to kcal/mol")
    assert finding["rows"] == [f"mgo-{k}" for k in range(1, 50, 2)]


def test_gaps_of_metals_tell_no_unit(tmp_path: Path) -> None:
    rows = crystals(110)
    for k, atoms in enumerate(rows):
        atoms.info["gap"] *= 0.0 if k < 60 else 1000.0 if k % 2 else 1.0
    write(tmp_path / "rows.extxyz", rows)
    _, text, _ = run("describe", tmp_path / "rows.extxyz", "-p", "gap", "--json", "-q")
    (finding,) = json.loads(text)["problems"]
    assert finding["message"].endswith("and more differ as from eV to meV")
    assert finding["rows"] == [f"mgo-{k}" for k in range(61, 110, 2)]


def test_many_labels_of_one_structure_are_not_all_listed(tmp_path: Path) -> None:
    rows = [crystals(1)[0] for _ in range(40)]
    for k, atoms in enumerate(rows):
        atoms.info = {"id": f"mgo-{k}", "gap": 1.0 + 0.1 * k}
    write(tmp_path / "rows.extxyz", rows)
    _, text, _ = run("describe", tmp_path / "rows.extxyz", "-p", "gap", "--json", "-q")
    (finding,) = json.loads(text)["problems"]
    assert finding["message"] == "one structure with labels from 1 to 4.9"
    assert len(finding["rows"]) == 40


def test_label_that_is_an_array_is_shown_in_brief(tmp_path: Path) -> None:
    rows = crystals(2)
    rows[1].info["gap"] = np.ones(500)
    write(tmp_path / "rows.extxyz", rows)
    code, text, _ = run("describe", tmp_path / "rows.extxyz", "-p", "gap", "-q")
    assert code == 3
    (line,) = [line for line in text.splitlines() if "not a number" in line]
    assert line.endswith("mgo-1")
    assert len(line) < 150


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    files = []
    for fold in ("a", "b"):
        (tmp_path / fold).mkdir()
        files.append(tmp_path / fold / "rows.extxyz")
        write(files[-1], crystals())
    code, text, _ = run("describe", *files, "-p", "gap", "--json", "-q")
    assert code == 0
    document = json.loads(text)
    assert document["files"] == {str(file): 30 for file in files}
    assert findings(document, "remarks")["duplicates"][0] == [
        f"{file}:mgo-0" for file in files
    ]


def mixed_rows(tmp_path: Path) -> Path:
    slab = bulk("Si", cubic=True)
    slab.center(vacuum=6.0, axis=2)
    rows = [*crystals(3), molecule("H2O"), molecule("CH4"), slab]
    for k, atoms in enumerate(rows):
        atoms.rattle(0.05, seed=k)
        atoms.info = {"id": f"row {k}", "gap": 1.0 / (k + 3)}
    write(tmp_path / "rows.extxyz", rows)
    return tmp_path / "rows.extxyz"


@pytest.mark.parametrize(
    ("name", "options", "reads"),
    [
        ("out.extxyz", [], "out.extxyz"),
        ("out.db", [], "out.db"),
        ("out", ["--to", "npy"], "out"),
        ("out", ["--to", "csv"], "out/labels.csv"),
    ],
)
def test_round_trip(tmp_path: Path, name: str, options: list[str], reads: str) -> None:
    source = mixed_rows(tmp_path)
    code, _, errors = run(
        "convert", source, tmp_path / name, "-p", "gap", "--as", "band_gap",
        *options,
    )  # fmt: skip
    assert code == 0, errors
    assert f"wrote 6 rows to {tmp_path / name}" in errors
    before = {float(row.labels["gap"]): row for row in read_labelled(source, "gap")}
    after = list(read_labelled(tmp_path / reads, "band_gap"))
    assert {float(row.labels["band_gap"]) for row in after} == before.keys()
    for row in after:
        original = before[float(row.labels["band_gap"])]
        assert list(row.atoms.symbols) == list(original.atoms.symbols)
        assert (row.atoms.pbc == original.atoms.pbc).all()
        np.testing.assert_allclose(
            row.atoms.get_all_distances(mic=True),
            original.atoms.get_all_distances(mic=True),
            atol=2e-4,
        )
    if name.endswith((".extxyz", ".db")):
        assert {structure_hash(row.atoms) for row in after} == {
            structure_hash(row.atoms) for row in before.values()
        }
    assert not list(tmp_path.glob(".*"))
    back, _, errors = run(
        "convert", tmp_path / reads, tmp_path / "back.extxyz", "-p", "band_gap", "-q"
    )
    assert back == 0, errors
    frames = read(tmp_path / "back.extxyz", ":")
    assert sorted(f.info["band_gap"] for f in frames) == sorted(before)


@pytest.mark.parametrize(
    ("name", "options"), [("out.extxyz", []), ("out.db", []), ("out", ["--to", "npy"])]
)
def test_force_field_round_trip(tmp_path: Path, name: str, options: list[str]) -> None:
    frames = [bulk("Cu", cubic=True), bulk("CuAu", "rocksalt", a=5.0), molecule("N2")]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=k)
        atoms.calc = EMT()
        if atoms.pbc.any():
            atoms.get_stress()
        atoms.get_forces()
    write(tmp_path / "ff.extxyz", frames)
    code, _, errors = run("convert", tmp_path / "ff.extxyz", tmp_path / name, *options)
    assert code == 0, errors
    before = {len(r.atoms): r for r in read_force_field(tmp_path / "ff.extxyz")}
    after = {
        (len(r.atoms), bool(r.atoms.pbc.all())): r
        for r in read_force_field(tmp_path / name)
    }
    assert len(after) == 3
    for (size, periodic), row in after.items():
        if size == 2:
            continue
        assert ("virial" in row.labels) == periodic
        for label, value in before[size].labels.items():
            np.testing.assert_allclose(row.labels[label], value, atol=1e-6)


IDS = [
    "007",
    "1e5",
    "1_2",
    "T",
    "1 2 3",
    'a"b',
    "a\\b",
    "d\\1.cif",
    "Ü",
    "[1]",
    "_JSON 1",
    "_JSON x",
]


@pytest.mark.parametrize(("name", "options"), [("o.xyz", []), ("o", ["--to", "csv"])])
def test_ids_are_kept_as_they_are(
    tmp_path: Path, name: str, options: list[str]
) -> None:
    with (tmp_path / "in.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "file", "gap"])
        table.writerows([name, "Si.cif", k] for k, name in enumerate(IDS))
    with (tmp_path / "in.csv").open("ab") as stream:
        stream.write(b"M\xfcller,Si.cif,-1\r\n")
    write(tmp_path / "Si.cif", bulk("Si"))
    code, _, errors = run(
        "convert", tmp_path / "in.csv", tmp_path / name, "-p", "gap", "-q", *options
    )
    assert code == 0, errors
    path = tmp_path / name / "labels.csv" if options else tmp_path / name
    found = {row.id: float(row.labels["gap"]) for row in read_labelled(path, "gap")}
    assert found == {name: k for k, name in enumerate(IDS)} | {"M\udcfcller": -1}


def test_ids_that_a_database_refuses_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "Si.cif", bulk("Si"))
    path = tmp_path / "in.csv"
    path.write_bytes(b"id,file,gap\n007,Si.cif,1\nM\xfcller,Si.cif,2\nx,Si.cif,3\n")
    code, _, errors = run("convert", path, tmp_path / "o.db", "-p", "gap", "-q")
    assert code == 0, errors
    with connect(tmp_path / "o.db") as rows:
        assert [row.get("name") for row in rows.select()] == [None, None, "x"]


def test_names_that_are_no_utf8_are_shown(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"id,file,gap\nM\xfcller,Si.cif,\n")
    code, text, _ = run("describe", tmp_path / "in.csv", "-p", "gap", "-q")
    assert code == 3
    assert "M\\udcfcller" in text


def test_energies_can_stand_in_a_table(tmp_path: Path) -> None:
    rows = crystals(3)
    for atoms in rows:
        atoms.info["energy"] = -atoms.info["gap"]
    write(tmp_path / "in.extxyz", rows)
    code, _, errors = run(
        "convert", tmp_path / "in.extxyz", tmp_path / "out", "-p", "energy",
        "--to", "csv", "-q",
    )  # fmt: skip
    assert code == 0, errors
    table = tmp_path / "out" / "labels.csv"
    found = [float(row.labels["energy"]) for row in read_labelled(table, "energy")]
    assert found == [-atoms.info["gap"] for atoms in rows]


def test_structure_that_no_cif_can_hold_is_named(tmp_path: Path) -> None:
    rows = crystals(2)
    rows[1].set_cell(np.zeros((3, 3)))
    write(tmp_path / "in.traj", rows)
    code, _, errors = run(
        "convert", tmp_path / "in.traj", tmp_path / "o", "-p", "gap", "--to", "csv"
    )
    assert code == 1
    assert "row mgo-1: pbc is [True, True, True] but the cell is" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["in.traj"]


def test_row_without_one_of_its_labels_has_an_empty_cell(tmp_path: Path) -> None:
    labels = {"gap": np.asarray(1.0), "n": np.asarray(2.0)}
    rows = [LabelledStructure("a", bulk("Si"), labels)]
    rows.append(LabelledStructure("b", bulk("Si"), {"n": np.asarray(3.0)}))
    write_labelled(rows, tmp_path / "o", "csv", ["gap", "n"])
    lines = (tmp_path / "o" / "labels.csv").read_text().splitlines()
    assert lines[1:] == ["a,000000.cif,1.0,2.0", "b,000001.cif,,3.0"]
    again = read_labelled(tmp_path / "o" / "labels.csv", "gap", "n")
    assert [set(row.labels) for row in again] == [{"gap", "n"}, {"n"}]


def test_force_field_without_a_usable_frame_is_named_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "in.extxyz", [bulk("Si"), bulk("Ge")])
    code, _, errors = run("convert", tmp_path / "in.extxyz", tmp_path / "o.db", "-q")
    assert code == 1
    assert "row in.extxyz#0: a force-field frame needs energy and forces" in errors


@pytest.mark.parametrize("name", ["out.extxyz", "out.db"])
def test_disk_that_is_full(clean: Path, tmp_path: Path, name: str) -> None:
    """No file can grow beyond 2,000 bytes, as on a disk that is almost full."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        code, _, errors = run("convert", clean, tmp_path / name, "-p", "gap", "-q")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert code == 1
    assert f"{name}: cannot be written:" in errors
    assert [path.name for path in tmp_path.iterdir()] == [clean.name]


def test_existing_output_is_kept(clean: Path, tmp_path: Path) -> None:
    for name in ("there.db", "there"):
        target = tmp_path / name
        target.mkdir() if name == "there" else target.write_text("precious")
        code, _, errors = run(
            "convert", clean, target, "-p", "gap", "--to", "npy", "-q"
        )
        assert code == 1
        assert "exists; it is not overwritten" in errors
    assert (tmp_path / "there.db").read_text() == "precious"


def test_nothing_is_left_of_a_failed_conversion(tmp_path: Path) -> None:
    rows = crystals(4)
    del rows[3].info["gap"]
    write(tmp_path / "in.extxyz", rows)
    for name, options in (
        ("out.xyz", []), ("o", ["--to", "npy"]), ("o", ["--to", "csv"]), ("o.db", []),
    ):  # fmt: skip
        code, _, errors = run(
            "convert", tmp_path / "in.extxyz", tmp_path / name, "-p", "gap", "-q",
            *options,
        )  # fmt: skip
        assert code == 1
        assert "row mgo-3: no finite label 'gap'" in errors
        assert [path.name for path in tmp_path.iterdir()] == ["in.extxyz"]


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("out", ["-p", "gap"], "the name does not tell the format"),
        ("out.db", ["-p", "gap", "--as", "gap (eV)"], "not a key of an ASE database"),
        ("out", ["--to", "csv"], "a table cannot hold forces"),
        ("out.db", [], "To convert a property, name its label: gap\n"),
        ("no/out.db", ["-p", "gap"], "no is not a folder"),
        ("out.db", ["-p", "gap", "--to", "extxyz"], "not the name of a file of format"),
        ("out.xyz.gz", ["-p", "gap", "--to", "extxyz"], "does not tell the format"),
        ("out.xyz", ["-p", "gap", "--as", "stress"], "has stress for something else"),
        ("out", ["-p", "gap", "--as", "coord", "--to", "npy"], "npy has coord for"),
        ("out", ["-p", "gap", "--as", "file", "--to", "csv"], "csv has file for"),
        ("out.db", ["--as", "gap"], "--as renames the label"),
    ],
)
def test_refused_conversions(
    clean: Path, tmp_path: Path, target: str, options: list[str], message: str
) -> None:
    code, _, errors = run("convert", clean, tmp_path / target, "-q", *options)
    assert code in (1, 2)
    assert message in errors
    assert [path.name for path in tmp_path.iterdir()] == [clean.name]


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="MFTSCREEN_DATA is not set")
def test_largest_refractive_index_is_pointed_out(tmp_path: Path) -> None:
    code, path, _ = run("download", "matbench_dielectric", "-o", tmp_path, "-q")
    assert code == 0
    _, text, _ = run("describe", path.strip(), "-p", "n", "--json", "-q")
    document = json.loads(text)
    assert document["n_usable"] == 4764
    assert document["labels"]["quantiles"]["1.0"] == pytest.approx(62.063, abs=1e-3)
    (extreme,) = findings(document, "remarks")["extreme labels"]
    largest = max(
        read_labelled(Path(path.strip()), "n"), key=lambda row: float(row.labels["n"])
    )
    assert extreme[0] == largest.id
