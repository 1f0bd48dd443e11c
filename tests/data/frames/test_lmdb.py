from __future__ import annotations

import pickle
import zlib
from pathlib import Path

import lmdb
import pytest
from ase import Atoms
from ase.db import connect
from ase.io.jsonio import encode

from mftscreen.data.frames import lmdb as module
from mftscreen.data.frames.lmdb import LmdbFile
from mftscreen.errors import DataError


def put(path: Path, key: str, content: bytes) -> None:
    with (
        lmdb.open(str(path), subdir=False, map_size=1 << 24) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(key.encode(), content)


def fault(path: Path, content: bytes) -> str:
    """Return what is said of a file whose third row has some content."""
    put(path, "3", content)
    error = LmdbFile(path).read(2).structure
    assert isinstance(error, DataError)
    return str(error)


def test_rows_have_what_else_is_known(aselmdb: Path) -> None:
    row = LmdbFile(aselmdb).read(4)
    assert (row.name, dict(row.values)) == ("frames.aselmdb#5", {"trajectory": "t1"})


def test_rows_as_fairchem_writes_them(aselmdb: Path) -> None:
    # lists instead of ASE's arrays
    row = (
        '{"numbers": [1, 1], "positions": [[0, 0, 0], [0, 0, 0.8]], "cell": [[9, 0, 0],'
        ' [0, 9, 0], [0, 0, 9]], "pbc": [true, true, true], "energy": -6.5, "forces":'
        ' [[0, 0, 1], [0, 0, -1]], "stress": [0, 0, 0, 0, 0, 0.1]}'
    )
    put(aselmdb, "3", zlib.compress(row.encode()))
    atoms = LmdbFile(aselmdb).read(2).structure
    assert isinstance(atoms, Atoms)
    assert atoms.get_forces().tolist() == [[0, 0, 1], [0, 0, -1]]
    assert atoms.get_stress()[5] == 0.1


def test_deleted_rows_are_not_there(aselmdb: Path) -> None:
    with connect(aselmdb, type="aselmdb") as database:
        database.delete([3])
    file = LmdbFile(aselmdb)
    assert len(file) == 12
    assert "row 3 is not there" in str(file.read(2).structure)
    assert isinstance(file.read(3).structure, Atoms)


def test_file_may_be_read_by_several_at_a_time(aselmdb: Path, tmp_path: Path) -> None:
    (tmp_path / "link.aselmdb").symlink_to(aselmdb)
    first, second = LmdbFile(aselmdb), LmdbFile(aselmdb)
    assert isinstance(first.read(0).structure, Atoms)
    assert isinstance(second.read(1).structure, Atoms)
    first.close()
    assert isinstance(second.read(2).structure, Atoms)
    assert len(LmdbFile(tmp_path / "link.aselmdb")) == 12


def test_hostile_rows_are_refused(
    aselmdb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "cannot be decoded" in fault(aselmdb, pickle.dumps(print))
    assert "cannot be decoded" in fault(aselmdb, zlib.compress(pickle.dumps(print)))
    assert "cannot be decoded" in fault(aselmdb, zlib.compress(b"[" * 100_000))
    assert "cannot be decoded" in fault(aselmdb, zlib.compress(b'{"numbers": [1]}'))
    huge = '{"numbers": {"__ndarray__": [[1000000000000], "int64", [1]]}}'
    assert "cannot be decoded" in fault(aselmdb, zlib.compress(huge.encode()))
    kind = '{"numbers": {"__ndarray__": [[1], "O", [1]]}}'
    assert "array of kind O" in fault(aselmdb, zlib.compress(kind.encode()))
    for number in ("-1", "119"):
        row = f'{{"numbers": [{number}], "positions": [[0, 0, 0]]}}'
        assert "no element has" in fault(aselmdb, zlib.compress(row.encode()))
    monkeypatch.setattr(module, "MAX_ROW_BYTES", 1 << 16)
    bomb = zlib.compress(encode({"numbers": [1] * 100_000}).encode())
    assert "more than 65536 bytes" in fault(aselmdb, bomb)


def test_files_that_are_no_database(aselmdb: Path, tmp_path: Path) -> None:
    (tmp_path / "text.aselmdb").write_text("no database" * 1000)
    put(tmp_path / "other.aselmdb", "key", b"value")
    put(tmp_path / "number.aselmdb", "nextid", zlib.compress(b'"many"'))
    put(tmp_path / "huge.aselmdb", "nextid", zlib.compress(b"1" + b"0" * 30))
    content = aselmdb.read_bytes()
    (tmp_path / "cut.aselmdb").write_bytes(content[: len(content) // 2])
    for name, message in {
        "text": "cannot be opened as LMDB",
        "other": "is no ASE database in LMDB: there is no 'nextid'",
        "number": "is no ASE database in LMDB",
        "huge": "is no ASE database in LMDB: 'nextid' is 10000",
        "cut": "is cut short",
    }.items():
        with pytest.raises(DataError, match=message):
            LmdbFile(tmp_path / f"{name}.aselmdb")
