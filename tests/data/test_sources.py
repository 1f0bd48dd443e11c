from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import (
    RowProblem,
    iter_labelled,
    read_force_field,
    read_labelled,
)
from mftscreen.errors import DataError

CRYSTALS = [
    bulk("Si"),
    bulk("MgO", "rocksalt", a=4.2),
    bulk("GaAs", "zincblende", a=5.6),
]
GAPS = [1.1, 5.0, 1.4]


def write_extxyz(path: Path, labels: list[Any]) -> None:
    frames = [atoms.copy() for atoms in CRYSTALS]
    for atoms, label, name in zip(frames, labels, "abc", strict=True):
        atoms.info["id"] = name
        if label is not None:
            atoms.info["gap"] = label
    write(path, frames)


def test_a_label_is_to_be_named(tmp_path: Path) -> None:
    write_extxyz(tmp_path / "a.extxyz", GAPS)
    with pytest.raises(DataError, match=r"a\.extxyz: no label is asked for; name"):
        list(read_labelled(tmp_path / "a.extxyz"))


def write_db(path: Path, labels: list[Any]) -> None:
    with connect(path) as rows:
        for atoms, label in zip(CRYSTALS, labels, strict=True):
            rows.write(atoms, key_value_pairs={} if label is None else {"gap": label})


def write_csv(path: Path, labels: list[Any]) -> None:
    lines = ["id,gap"]
    for atoms, label, name in zip(CRYSTALS, labels, "abc", strict=True):
        write(path.with_name(f"{name}.cif"), atoms)
        lines.append(f"{name},{'' if label is None else label}")
    path.write_text("\n".join(lines) + "\n")


def matbench_table(labels: list[Any]) -> dict[str, Any]:
    from pymatgen.io.ase import AseAtomsAdaptor

    structures = [AseAtomsAdaptor.get_structure(a).as_dict() for a in CRYSTALS]
    return {
        "index": [0, 1, 2],
        "columns": ["structure", "gap"],
        "data": [list(row) for row in zip(structures, labels, strict=True)],
    }


def write_gz(path: Path, document: object) -> None:
    path.write_bytes(gzip.compress(json.dumps(document).encode()))


def write_matbench(path: Path, labels: list[Any]) -> None:
    write_gz(path, matbench_table(labels))


FORMATS = {
    "gaps.extxyz": (write_extxyz, ["a", "b", "c"]),
    "gaps.extxyz.gz": (write_extxyz, ["a", "b", "c"]),
    "gaps.db": (write_db, ["1", "2", "3"]),
    "gaps.csv": (write_csv, ["a", "b", "c"]),
    "matbench_mp_gap.json.gz": (
        write_matbench,
        ["mb-mp-gap-1", "mb-mp-gap-2", "mb-mp-gap-3"],
    ),
}


def assert_same_structure(found: Atoms, expected: Atoms) -> None:
    assert list(found.symbols) == list(expected.symbols)
    assert found.pbc.all()
    np.testing.assert_allclose(
        found.get_all_distances(mic=True),
        expected.get_all_distances(mic=True),
        atol=1e-4,
    )
    assert found.get_volume() == pytest.approx(expected.get_volume(), rel=1e-4)


@pytest.mark.parametrize("name", FORMATS)
def test_rows_have_id_structure_and_label(tmp_path: Path, name: str) -> None:
    write_rows, ids = FORMATS[name]
    write_rows(tmp_path / name, GAPS)
    rows = list(read_labelled(tmp_path / name, "gap"))
    assert [row.id for row in rows] == ids
    assert [float(row.labels["gap"]) for row in rows] == GAPS
    for row, atoms in zip(rows, CRYSTALS, strict=True):
        assert_same_structure(row.atoms, atoms)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        *((name, None) for name in FORMATS),
        ("gaps.extxyz", float("nan")),
        ("gaps.extxyz", "large"),
        ("gaps.extxyz", [1.0, 2.0, 3.0]),
        ("gaps.db", float("inf")),
        ("gaps.csv", "nan"),
        ("gaps.csv", "1,5"),
        ("matbench_mp_gap.json.gz", float("nan")),
    ],
)
def test_row_without_a_finite_label_is_named(
    tmp_path: Path, name: str, label: object
) -> None:
    write_rows, ids = FORMATS[name]
    value = '"1,5"' if label == "1,5" else label
    write_rows(tmp_path / name, [GAPS[0], value, GAPS[2]])
    rows = read_labelled(tmp_path / name, "gap")
    assert [next(rows).id, next(rows).id] == [ids[0], ids[2]]
    with pytest.raises(DataError, match=f"row {ids[1]}: no finite label 'gap'"):
        next(rows)


def test_all_unusable_rows_are_named_and_counted(tmp_path: Path) -> None:
    frames = [bulk("Si", a=5.4 + 0.01 * k) for k in range(30)]
    for k, atoms in enumerate(frames):
        atoms.info = {"id": f"si-{k}"} | ({"gap": 1.0} if k < 5 else {})
    write(tmp_path / "gaps.extxyz", frames)
    with pytest.raises(DataError, match="25 rows cannot be used") as caught:
        list(read_labelled(tmp_path / "gaps.extxyz", "gap"))
    named = [line.split(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert named == [*(f"  row si-{k}" for k in range(5, 25)), "  and 5 more"]


def test_a_row_may_lack_some_of_several_labels(tmp_path: Path) -> None:
    table = "file,gap,n\nSi.cif,1.1,3.4\nSi.cif,,3.5\nSi.cif,nan,\nSi.cif,1.2,NaN\n"
    write(tmp_path / "Si.cif", CRYSTALS[0])
    path = tmp_path / "two.csv"
    path.write_text(table)
    found = [
        row.row
        if isinstance(row, RowProblem)
        else {name: label.item() for name, label in row.labels.items()}
        for row in iter_labelled(path, "gap", "n")
    ]
    assert found == [{"gap": 1.1, "n": 3.4}, {"n": 3.5}, "two.csv#2", {"gap": 1.2}]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("", "missing"),
        ("nan", "not finite"),
        ("-inf", "not finite"),
        ("1.1 eV", "not a number"),
    ],
)
def test_kinds_of_problems(tmp_path: Path, value: str, kind: str) -> None:
    write_csv(tmp_path / "gaps.csv", [1.1, value, 1.4])
    problems = [
        row
        for row in iter_labelled(tmp_path / "gaps.csv", "gap")
        if isinstance(row, RowProblem)
    ]
    assert [(p.row, p.kind) for p in problems] == [("b", kind)]


@pytest.mark.parametrize("name", ["gaps.json.xz", "gaps.cif", "gaps", "gaps.db.gz"])
def test_unknown_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"id,gap\n"))
    with pytest.raises(DataError, match=name):
        list(read_labelled(tmp_path / name, "gap"))


@pytest.mark.parametrize("name", FORMATS)
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=name):
        list(read_labelled(tmp_path / name, "gap"))
    assert not list(tmp_path.iterdir())


def test_broken_extxyz_frame_stops_the_reading(tmp_path: Path) -> None:
    write_extxyz(tmp_path / "gaps.extxyz", GAPS)
    text = (tmp_path / "gaps.extxyz").read_text()
    (tmp_path / "gaps.extxyz").write_text(f"{text}1\n\nSi 0 0 zero\n")
    with pytest.raises(DataError, match="frame 3 is not valid"):
        list(read_labelled(tmp_path / "gaps.extxyz", "gap"))


def test_csv_names_structure_files(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    write(tmp_path / "files" / "one.vasp", CRYSTALS[1])
    write(tmp_path / "two.cif", CRYSTALS[2])
    path = tmp_path / "gaps.csv"
    path.write_text("file,gap\nfiles/one.vasp,5.0\ntwo.cif,1.4\n")
    first, second = read_labelled(path, "gap")
    assert (first.id, second.id) == ("gaps.csv#0", "gaps.csv#1")
    assert_same_structure(first.atoms, CRYSTALS[1])
    assert_same_structure(second.atoms, CRYSTALS[2])


def test_csv_without_the_column_lists_the_others(tmp_path: Path) -> None:
    write_csv(tmp_path / "gaps.csv", GAPS)
    with pytest.raises(DataError, match="no label 'n'; there is id, gap"):
        list(read_labelled(tmp_path / "gaps.csv", "n"))
    with pytest.raises(DataError, match=r"; did you mean 'gap'\?"):
        list(read_labelled(tmp_path / "gaps.csv", "gaps"))


@pytest.mark.parametrize("content", [None, "no crystal", ""])
def test_csv_row_without_a_readable_structure_is_named(
    tmp_path: Path, content: str | None
) -> None:
    write_csv(tmp_path / "gaps.csv", GAPS)
    if content is None:
        (tmp_path / "b.cif").unlink()
    else:
        (tmp_path / "b.cif").write_text(content)
    with pytest.raises(DataError, match=r"row b: .*b.cif"):
        list(read_labelled(tmp_path / "gaps.csv", "gap"))


def test_matbench_ids_have_the_width_of_the_number_of_rows(tmp_path: Path) -> None:
    table = matbench_table(GAPS)
    table["data"] *= 4
    table["index"] = list(range(len(table["data"])))
    path = tmp_path / "matbench_log_gvrh.json"
    path.write_text(json.dumps(table))
    ids = [row.id for row in read_labelled(path, "gap")]
    assert (ids[0], ids[-1]) == ("mb-log-gvrh-01", "mb-log-gvrh-12")


def test_matbench_without_the_column(tmp_path: Path) -> None:
    write_matbench(tmp_path / "matbench_x.json.gz", GAPS)
    with pytest.raises(DataError, match="no label 'n'; there is gap"):
        list(read_labelled(tmp_path / "matbench_x.json.gz", "n"))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([1, 2], "row matbench_x.json.gz#1: not a structure document but int"),
        ({"columns": ["structure", "gap"]}, "not a MatBench task file"),
        ({}, "holds no structure"),
    ],
)
def test_matbench_file_of_another_layout(
    tmp_path: Path, document: object, message: str
) -> None:
    write_gz(tmp_path / "matbench_x.json.gz", document)
    with pytest.raises(DataError, match=message):
        list(read_labelled(tmp_path / "matbench_x.json.gz", "gap"))


@pytest.mark.parametrize("damage", ["truncated", "not json", "not gz"])
def test_damaged_matbench_file(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "matbench_x.json.gz"
    write_matbench(path, GAPS)
    content = path.read_bytes()
    damaged = {
        "truncated": content[: len(content) // 2],
        "not json": gzip.compress(b"gap"),
        "not gz": b"{}",
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(DataError, match=r"matbench_x\.json\.gz") as caught:
        list(read_labelled(path, "gap"))
    assert "no label" not in str(caught.value)


def test_disordered_matbench_row_is_named(tmp_path: Path) -> None:
    table = matbench_table(GAPS)
    table["data"][1][0]["sites"][0]["species"][0]["occu"] = 0.5
    write_gz(tmp_path / "matbench_x.json.gz", table)
    with pytest.raises(DataError, match=r"row mb-x-2.*disordered"):
        list(read_labelled(tmp_path / "matbench_x.json.gz", "gap"))


@pytest.mark.parametrize(
    ("first", "second"), [("si.vasp,1.1", "mgo.vasp,5.0"), ("7,1.1", "8,5.0")]
)
def test_id_prop_table_without_header(tmp_path: Path, first: str, second: str) -> None:
    for row, atoms in ((first, CRYSTALS[0]), (second, CRYSTALS[1])):
        name = row.partition(",")[0]
        write(tmp_path / (name if "." in name else f"{name}.cif"), atoms)
    (tmp_path / "id_prop.csv").write_text(f"{first}\n{second}\n")
    rows = list(read_labelled(tmp_path / "id_prop.csv", "value"))
    assert [f"{row.id},{row.labels['value']}" for row in rows] == [first, second]
    assert_same_structure(rows[1].atoms, CRYSTALS[1])


def pymatgen_documents() -> list[dict[str, Any]]:
    return [row[0] for row in matbench_table(GAPS)["data"]]


def test_pymatgen_documents_with_labels(tmp_path: Path) -> None:
    beside, inside, data = pymatgen_documents()
    inside["properties"] = {"gap": 5.0}
    document = {
        "a": {"structure": beside, "gap": 1.1},
        "b": inside,
        "c": {"structure": data, "data": {"gap": 1.4}},
    }
    (tmp_path / "gaps.json").write_text(json.dumps(document))
    rows = list(read_labelled(tmp_path / "gaps.json", "gap"))
    assert [(row.id, row.labels["gap"]) for row in rows] == [
        ("a", 1.1), ("b", 5.0), ("c", 1.4),
    ]  # fmt: skip
    assert_same_structure(rows[2].atoms, CRYSTALS[2])


def test_optimade_entries_with_a_providers_property(tmp_path: Path) -> None:
    entries = [
        {
            "id": name,
            "type": "structures",
            "attributes": {
                "lattice_vectors": atoms.cell.tolist(),
                "cartesian_site_positions": atoms.positions.tolist(),
                "species_at_sites": list(atoms.symbols),
                "_x_gap": gap,
            },
        }
        for name, atoms, gap in zip("abc", CRYSTALS, GAPS, strict=True)
    ]
    (tmp_path / "page.json").write_text(json.dumps({"data": entries}))
    rows = list(read_labelled(tmp_path / "page.json", "_x_gap"))
    assert [(row.id, row.labels["_x_gap"]) for row in rows] == list(
        zip("abc", GAPS, strict=True)
    )
    assert_same_structure(rows[1].atoms, CRYSTALS[1])


def force_field_frames() -> list[Atoms]:
    frames = [bulk("Si"), molecule("H2O"), bulk("MgO", "rocksalt", a=4.2)]
    for k, atoms in enumerate(frames):
        results = {
            "energy": -1.5 * k,
            "forces": np.full((len(atoms), 3), 0.1 * k),
            "stress": np.array([1.0, 2.0, 3.0, 0.4, 0.5, 0.6]) * k,
        }
        if not atoms.pbc.any():
            del results["stress"]
        atoms.calc = SinglePointCalculator(atoms, **results)
    return frames


def write_frames(path: Path, frames: list[Atoms]) -> None:
    if path.suffix == ".db":
        with connect(path) as rows:
            for atoms in frames:
                rows.write(atoms)
    else:
        write(path, frames)


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("ff.extxyz", ["ff.extxyz#0", "ff.extxyz#1", "ff.extxyz#2"]),
        ("ff.extxyz.gz", ["ff.extxyz.gz#0", "ff.extxyz.gz#1", "ff.extxyz.gz#2"]),
        ("ff.db", ["1", "2", "3"]),
    ],
)
def test_force_field_labels_are_read(tmp_path: Path, name: str, ids: list[str]) -> None:
    frames = force_field_frames()
    write_frames(tmp_path / name, frames)
    rows: list[LabelledStructure] = list(read_force_field(tmp_path / name))
    assert [row.id for row in rows] == ids
    assert [float(row.labels["energy"]) for row in rows] == [0.0, -1.5, -3.0]
    assert rows[1].labels.keys() == {"energy", "force"}
    np.testing.assert_allclose(rows[2].labels["force"], np.full((2, 3), 0.2))
    stress = np.array([[2.0, 1.2, 1.0], [1.2, 4.0, 0.8], [1.0, 0.8, 6.0]])
    np.testing.assert_allclose(
        rows[2].labels["virial"], -frames[2].get_volume() * stress, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "row"), [("ff.extxyz", "ff.extxyz#1"), ("ff.db", "2")]
)
def test_frame_without_forces_is_named(tmp_path: Path, name: str, row: str) -> None:
    frames = force_field_frames()
    del frames[1].calc.results["forces"]
    write_frames(tmp_path / name, frames)
    with pytest.raises(DataError, match=rf"{row}: .*missing \['forces'\]") as caught:
        list(read_force_field(tmp_path / name))
    assert caught.value.path == tmp_path / name


def test_broken_force_field_frame_is_named(tmp_path: Path) -> None:
    write_frames(tmp_path / "ff.xyz", force_field_frames())
    with (tmp_path / "ff.xyz").open("a") as stream:
        stream.write("2\n\nSi 0 0 0\n")
    with pytest.raises(DataError, match="frame 3 is cut short"):
        list(read_force_field(tmp_path / "ff.xyz"))


@pytest.mark.parametrize("label", [True, np.bool_(False), np.array([True]), [True]])
def test_truth_values_are_no_labels(
    label: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mftscreen.data import sources
    from mftscreen.data.readers import Row

    rows = [Row("a", bulk("Si"), {"gap": label}), Row("b", bulk("Si"), {"gap": 1})]
    monkeypatch.setattr(sources, "iter_rows", lambda _: iter(rows))
    first, second = iter_labelled(tmp_path / "rows.db", "gap")
    assert isinstance(first, RowProblem)
    assert (first.row, first.kind) == ("a", "not a number")
    assert isinstance(second, LabelledStructure)


def test_truth_values_of_an_extxyz_are_no_labels(tmp_path: Path) -> None:
    write_extxyz(tmp_path / "t.extxyz", [True, 1.0, False])
    found = list(iter_labelled(tmp_path / "t.extxyz", "gap"))
    assert [isinstance(row, RowProblem) for row in found] == [True, False, True]


@pytest.mark.parametrize(
    ("energy", "force", "reason"),
    [
        (1e30, 0.0, "the energy label has 1e[+]30, beyond any physical scale"),
        (-1.0, -1e20, "the force label has 1e[+]20, beyond any physical scale"),
        (True, 0.0, "the label energy is a truth value"),
    ],
)
def test_force_field_labels_beyond_any_scale(
    energy: float, force: float, reason: str
) -> None:
    from mftscreen.data.dataset import force_field_labels

    atoms = bulk("Si")
    forces = np.full((2, 3), force)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    with pytest.raises(DataError, match=reason):
        force_field_labels(atoms)
