from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import tarfile
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.data import public_sets as download
from mftscreen.data.public_sets import DATASETS, download_dataset
from mftscreen.data.sources import read_labelled
from mftscreen.errors import DataError


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send every request to a port where nobody listens."""
    monkeypatch.delenv("MFTSCREEN_DATA", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    # what urllib keeps once it has read the proxies
    monkeypatch.setattr("urllib.request._opener", None)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    (folder / "matbench").mkdir(parents=True)
    (folder / "qm9").mkdir()
    monkeypatch.setenv("MFTSCREEN_DATA", str(folder))
    return folder


def write_matbench(path: Path) -> None:
    from pymatgen.io.ase import AseAtomsAdaptor

    document = AseAtomsAdaptor.get_structure(bulk("Si")).as_dict()
    table = {"index": [0], "columns": ["structure", "n"], "data": [[document, 3.4]]}
    path.write_bytes(gzip.compress(json.dumps(table).encode()))


@pytest.mark.parametrize("place", ["matbench", "."])
def test_file_of_the_data_folder_is_used(
    data: Path,
    place: str,
    tmp_path: Path,
    offline: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MFTSCREEN_DATA", str(data))
    write_matbench(data / place / "matbench_dielectric.json.gz")
    folder = tmp_path / "my" / "data"
    link = folder / "matbench_dielectric.json.gz"
    for _ in range(2):
        result = CliRunner().invoke(
            main, ["data", "download", "matbench_dielectric", "-o", str(folder)]
        )
        assert result.exit_code == 0, result.stderr
        assert "by MFTSCREEN_DATA; not checked" in result.stderr
        assert Path(result.stdout.strip()) == link
        (row,) = read_labelled(link, "n")
        assert row.labels["n"] == 3.4
        assert link.readlink() == data / place / link.name
        assert list(folder.iterdir()) == [link]


@pytest.mark.usefixtures("offline")
def test_file_is_copied_where_links_are_impossible(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setenv("MFTSCREEN_DATA", str(data))
    monkeypatch.setattr(Path, "symlink_to", refuse)
    source = data / "matbench_dielectric.json.gz"
    write_matbench(source)
    for _ in range(2):
        path = download_dataset("matbench_dielectric", tmp_path / "my").path
        assert not path.is_symlink()
        assert path.read_bytes() == source.read_bytes()


def test_link_to_a_file_that_is_gone_is_replaced(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "matbench_dielectric.json.gz"
    path.symlink_to(tmp_path / "gone")
    write_matbench(data / path.name)
    assert download_dataset("matbench_dielectric", tmp_path).path == path
    assert path.readlink() == data / path.name


def test_another_file_of_the_name_is_kept(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matminer")
    write_matbench(data / "matbench_dielectric.json.gz")
    path = tmp_path / "matbench_dielectric.json.gz"
    path.write_text("mine")
    with pytest.raises(DataError, match="has the sha256"):
        download_dataset("matbench_dielectric", tmp_path)
    assert path.read_text() == "mine"


def test_folder_that_can_have_no_link(data: Path, tmp_path: Path) -> None:
    write_matbench(data / "matbench_dielectric.json.gz")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be linked to"):
        download_dataset("matbench_dielectric", tmp_path / "file" / "folder")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["matbench_dielectric", "qm9"])
def test_offline(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matminer")
    with pytest.raises(DataError, match="cannot be downloaded") as caught:
        download_dataset(name, tmp_path / "new")
    assert "bring the file and name its folder in MFTSCREEN_DATA" in str(caught.value)
    assert not list((tmp_path / "new").glob("*"))


def test_matminer_knows_all_tasks() -> None:
    datasets = pytest.importorskip("matminer.datasets")
    tasks = {
        name
        for name in datasets.get_available_datasets(print_format=None)
        if name.startswith("matbench_")
        and "structure" in datasets.get_dataset_columns(name)
    }
    assert tasks == set(DATASETS) - {"qm9"}


def test_wrong_file_in_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matminer")
    monkeypatch.delenv("MFTSCREEN_DATA", raising=False)
    path = tmp_path / "matbench_jdft2d.json.gz"
    write_matbench(path)
    with pytest.raises(DataError, match="has the sha256"):
        download_dataset("matbench_jdft2d", tmp_path)
    assert path.exists()


@pytest.mark.usefixtures("offline")
def test_something_that_cannot_be_read_in_place(tmp_path: Path) -> None:
    pytest.importorskip("matminer")
    (tmp_path / "matbench_jdft2d.json.gz").mkdir()
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        download_dataset("matbench_jdft2d", tmp_path)


def test_nothing_is_left_of_a_copy_that_fails(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    def fill_the_disk(_: Path, target: Path) -> None:
        target.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    monkeypatch.setattr(download.shutil, "copyfile", fill_the_disk)
    write_matbench(data / "matbench_dielectric.json.gz")
    with pytest.raises(DataError, match="No space left"):
        download_dataset("matbench_dielectric", tmp_path / "my")
    assert not list((tmp_path / "my").iterdir())


def test_unknown_name_lists_the_others() -> None:
    with pytest.raises(DataError, match=r"no data set 'matbench'.*matbench_phonons"):
        download_dataset("matbench", Path())


@pytest.mark.usefixtures("offline")
def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("matminer")
    file = tmp_path / "file"
    file.write_bytes(b"content")
    with pytest.raises(DataError, match="cannot be downloaded"):
        download_dataset("matbench_jdft2d", file / "folder")
    assert file.read_bytes() == b"content"


COLUMNS = {
    "mu_D": 1.8511, "alpha_bohr3": 6.31, "homo_Ha": -0.2928, "lumo_Ha": 0.0687,
    "gap_Ha": 0.3615, "r2_bohr2": 19.0002, "zpve_Ha": 0.021375, "cv_cal_mol_K": 6.002,
}  # fmt: skip
WATER = [[-0.034, 0.978, 0.008], [0.065, 0.021, 0.001], [0.872, 1.301, 0.0007]]


def check_water(path: Path) -> None:
    for column, value in COLUMNS.items():
        rows = list(read_labelled(path, column))
        assert [row.id for row in rows] == ["gdb-3"]
        assert rows[0].labels[column] == value
    assert str(rows[0].atoms.symbols) == "OH2"
    np.testing.assert_allclose(rows[0].atoms.positions, WATER, atol=1e-6)


def test_qm9_of_the_data_folder(data: Path, tmp_path: Path) -> None:
    lines = [
        ",".join(["gdb_id", *COLUMNS]),
        ",".join(["3", *map(str, COLUMNS.values())]),
        ",".join(["9", *map(str, COLUMNS.values())]),  # without coordinates
    ]
    table = lzma.compress(("\n".join(lines) + "\n").encode())
    (data / "qm9" / "qm9_props.csv.xz").write_bytes(table)
    np.savez(
        data / "qm9" / "qm9_xyz.npz",
        gdb_id=np.array([2, 3]),
        n_atoms=np.array([4, 3], dtype=np.uint8),
        z=np.array([7, 1, 1, 1, 8, 1, 1], dtype=np.uint8),
        pos=np.concatenate([np.zeros((4, 3)), WATER]).astype(np.float32),
    )
    found = download_dataset("qm9", tmp_path / "out")
    assert found.remark == "1 molecules of MFTSCREEN_DATA"
    check_water(found.path)
    assert download_dataset("qm9", tmp_path / "out").remark.startswith("was there")


def published(number: int) -> bytes:
    """Return a molecule in the layout of the published archive."""
    p = COLUMNS
    properties = [
        799.58812, 437.90386, 282.94545, *list(p.values())[:7],
        -76.404702, -76.401867, -76.400922, -76.422349, p["cv_cal_mol_K"],
    ]  # fmt: skip
    atoms = [
        "\t".join([symbol, *(f"{x:.10f}" for x in xyz), "-0.58"])
        for symbol, xyz in zip("OHH", WATER, strict=True)
    ]
    atoms[2] = atoms[2].replace("0.0007000000", "7.0*^-4")
    lines = [
        "3",
        f"gdb {number}\t" + "\t".join(map(str, properties)) + "\t",
        *atoms,
        "1671.4222\t3803.6305\t3907.698",
        "O\tO\t",
        "InChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2",
    ]
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("missing", [None, "uncharacterized.txt"])
def test_published_archive_of_qm9(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str | None
) -> None:
    with tarfile.open(data / "qm9" / "dsgdb9nsd.xyz.tar.bz2", "w:bz2") as archive:
        for number in (3, 58):
            content = published(number)
            member = tarfile.TarInfo(f"dsgdb9nsd_{number:06d}.xyz")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    table = [
        "",
        "Index  InChI  InChI*",
        "   58  InChI=1S/H2O  InChI=1S/CO",
        "1 molecule",
    ]
    excluded = data / "qm9" / "uncharacterized.txt"
    excluded.write_text("\n".join(table))
    if missing is not None:
        published_at = excluded.rename(tmp_path / "elsewhere.txt")
        digest = hashlib.md5(published_at.read_bytes()).hexdigest()
        address = published_at.as_uri(), digest
        monkeypatch.setitem(download._QM9_FILES, missing, address)
    before = sorted(data.rglob("*"))
    check_water(download.download_dataset("qm9", tmp_path / "out").path)
    # nothing is written to the data folder, not even what it lacks
    assert sorted(data.rglob("*")) == before


def test_damaged_archive_of_qm9(data: Path, tmp_path: Path) -> None:
    archive = data / "qm9" / "dsgdb9nsd.xyz.tar.bz2"
    with tarfile.open(archive, "w:bz2") as file:
        for number in range(60):
            member = tarfile.TarInfo(f"dsgdb9nsd_{number:06d}.xyz")
            content = published(number)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    (data / "qm9" / "uncharacterized.txt").touch()
    whole = archive.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"nothing"):
        archive.write_bytes(damaged)
        with pytest.raises(DataError, match="QM9 here are damaged") as caught:
            download_dataset("qm9", tmp_path / "out")
        assert caught.value.path == archive.parent
        assert not list((tmp_path / "out").iterdir())
