"""Public data sets: MatBench's tasks with structures, and QM9."""

from __future__ import annotations

import csv
import filecmp
import gzip
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile

import numpy as np
from ase import Atoms

from mftscreen.console.progress import progress_bar
from mftscreen.data.readers import DAMAGED, open_text
from mftscreen.errors import DataError, DownloadError
from mftscreen.internet.downloading import check_digest, fetch
from mftscreen.suggestions import did_you_mean
from mftscreen.writing import output_file, replacing

__all__ = ["DATASETS", "Download", "download_dataset"]

ENVIRONMENT = "MFTSCREEN_DATA"

_MATBENCH = (
    "dielectric", "jdft2d", "log_gvrh", "log_kvrh", "mp_e_form", "mp_gap",
    "mp_is_metal", "perovskites", "phonons",
)  # fmt: skip
DATASETS = (*(f"matbench_{task}" for task in _MATBENCH), "qm9")

_QM9_COLUMNS = (
    "mu_D", "alpha_bohr3", "homo_Ha", "lumo_Ha", "gap_Ha", "r2_bohr2", "zpve_Ha",
    "cv_cal_mol_K",
)  # fmt: skip
_QM9_PLACES = (5, 6, 7, 8, 9, 10, 11, 16)
"""Of these properties in the second line of a molecule of the published archive."""

_FIGSHARE = "https://ndownloader.figshare.com/files"
_QM9_ARCHIVE = "dsgdb9nsd.xyz.tar.bz2"
_QM9_EXCLUDED = "uncharacterized.txt"
_QM9_FILES = {
    _QM9_ARCHIVE: (f"{_FIGSHARE}/3195389", "ad1ebd51ee7f5b3a6e32e974e5d54012"),
    _QM9_EXCLUDED: (f"{_FIGSHARE}/3195404", "a361887bacb427b8a0ce7903d92a53b4"),
}
"""Address and MD5 as figshare gives them."""


@dataclass(frozen=True)
class Download:
    """A data set on this machine.

    Attributes
    ----------
    path : Path
        What to train on.
    remark : str
        Where it comes from.
    """

    path: Path
    remark: str


def download_dataset(name: str, folder: Path, *, progress: bool = False) -> Download:
    """Find or download a data set.

    Parameters
    ----------
    name : str
        One of ``DATASETS``.
    folder : Path
        Where the file will be: ``matbench_<task>.json.gz`` or ``qm9.extxyz.gz``. It is
        made if need be. What is there already is not replaced.
    progress : bool
        Whether to show progress on stderr.

    Returns
    -------
    Download

    Raises
    ------
    DataError
        If there is no such data set, matminer is needed but not installed, the file
        cannot be downloaded or written, has another checksum or is damaged.

    Notes
    -----
    The folder that the environment variable ``MFTSCREEN_DATA`` names is searched first,
    for ``matbench/<name>.json.gz`` or ``<name>.json.gz``, to which a link is made, or
    of which a copy where links are impossible; and for ``qm9/``. Its files are not
    checked. Addresses and checksums of MatBench's files are matminer's own
    [1]_; ``matminer.datasets.load_dataset`` itself would keep a truncated file for a
    whole one, and make 130,000 pymatgen structures only to have the file.

    QM9 [2]_ is written with eight properties, ``mu_D``, ``alpha_bohr3``, ``homo_Ha``,
    ``lumo_Ha``, ``gap_Ha``, ``r2_bohr2``, ``zpve_Ha`` and ``cv_cal_mol_K``, without
    the 3,054 molecules whose geometries its authors found inconsistent.

    References
    ----------
    .. [1] A. Dunn et al., npj Comput. Mater. 6, 138 (2020),
       doi:10.1038/s41524-020-00406-3
    .. [2] R. Ramakrishnan et al., Sci. Data 1, 140022 (2014),
       doi:10.1038/sdata.2014.22
    """
    if name not in DATASETS:
        msg = f"no data set {name!r}; there are {', '.join(DATASETS)}"
        msg += did_you_mean(name, known=DATASETS)
        raise DataError(msg)
    local = os.environ.get(ENVIRONMENT)
    if name == "qm9":
        return _qm9(folder, Path(local) if local else None, progress)
    path = folder / f"{name}.json.gz"
    for place in (Path(local, "matbench"), Path(local)) if local else ():
        found = place / path.name
        if found.is_file() and _linked(path, found):
            return Download(path, f"is {found}, by {ENVIRONMENT}; not checked")
    url, digest = _matminers_record(name)
    if path.exists():
        _check_what_is_there(path, digest)
        return Download(path, "was there already; its checksum is right")
    _fetch(url, path, "sha256", digest, progress)
    return Download(path, f"downloaded from {url}; its checksum is right")


def _linked(path: Path, source: Path) -> bool:
    """Make `path` a link to `source`; return whether it is the same file now."""
    try:
        if path.exists():
            return filecmp.cmp(path, source, shallow=False)
        with _part_of(path) as partial:
            try:
                partial.symlink_to(source.resolve())
            except OSError:  # no file system or, on Windows, no user has links
                shutil.copyfile(source, partial)
    except OSError as error:
        msg = f"cannot be linked to {source}: {error.strerror or error}"
        raise DataError(msg, path=path) from error
    return True


def _matminers_record(name: str) -> tuple[str, str]:
    try:
        from matminer.datasets import get_dataset_attribute
    except ModuleNotFoundError as error:
        msg = (
            f"matminer knows where {name} is: pip install 'mftscreen[datasets]'; or "
            f"put {name}.json.gz into a folder and name it in {ENVIRONMENT}"
        )
        raise DataError(msg) from error
    return get_dataset_attribute(name, "url"), get_dataset_attribute(name, "hash")


def _fetch(url: str, path: Path, algorithm: str, digest: str, progress: bool) -> None:
    try:
        fetch(url, path, algorithm, digest, progress=progress)
    except OSError as error:
        msg = (
            f"cannot be downloaded to {path.parent}: {error}; on a machine without "
            f"internet, bring the file and name its folder in {ENVIRONMENT}"
        )
        raise DataError(msg, path=path.name) from error


def _check_what_is_there(path: Path, digest: str) -> None:
    try:
        check_digest(path, "sha256", digest)
    except DownloadError as error:
        msg = f"{error}; remove it and try again"
        raise DataError(msg) from error
    except OSError as error:
        msg = f"cannot be read: {error.strerror or error}"
        raise DataError(msg, path=path) from error


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        yield partial


def _qm9(folder: Path, local: Path | None, progress: bool) -> Download:
    path = folder / "qm9.extxyz.gz"
    if path.exists():
        return Download(path, "was there already; not checked")
    table = local and local / "qm9" / "qm9_props.csv.xz"
    if table and table.is_file():
        molecules = _undamaged(_local_qm9(table.parent), table.parent)
        number = _write_molecules(molecules, path, progress)
        return Download(path, f"{number} molecules of {ENVIRONMENT}")
    with TemporaryDirectory(prefix="mftscreen-") as scratch:
        places = {}
        for file, (url, digest) in _QM9_FILES.items():
            places[file] = local / "qm9" / file if local else Path(scratch, file)
            if not places[file].is_file():  # nothing is written to the data folder
                places[file] = Path(scratch, file)
                _fetch(url, places[file], "md5", digest, progress)
        archive, excluded = places[_QM9_ARCHIVE], places[_QM9_EXCLUDED]
        molecules = _undamaged(_published_qm9(archive, excluded), archive.parent)
        number = _write_molecules(molecules, path, progress)
    where = _FIGSHARE if archive.parent == Path(scratch) else ENVIRONMENT
    return Download(path, f"{number} molecules of {where}")


def _undamaged(molecules: Iterable[Atoms], folder: Path) -> Iterator[Atoms]:
    try:
        yield from molecules
    except (*DAMAGED, tarfile.TarError, BadZipFile, ValueError, LookupError) as error:
        msg = f"the files of QM9 here are damaged: {error}"
        raise DataError(msg, path=folder) from error


def _local_qm9(folder: Path) -> Iterator[Atoms]:
    """Yield the molecules of a table that have coordinates beside it."""
    with np.load(folder / "qm9_xyz.npz") as arrays:
        ids, sizes = arrays["gdb_id"], arrays["n_atoms"].astype(np.int64)
        numbers, positions = arrays["z"], arrays["pos"]
    ends = np.cumsum(sizes)
    place = {int(name): k for k, name in enumerate(ids)}
    with open_text(folder / "qm9_props.csv.xz") as stream:
        for row in csv.DictReader(stream):
            k = place.get(int(row["gdb_id"]))
            if k is None:
                continue
            atoms = slice(int(ends[k] - sizes[k]), int(ends[k]))
            info: dict[str, str | float] = {"id": f"gdb-{row['gdb_id']}"}
            info |= {name: float(row[name]) for name in _QM9_COLUMNS}
            yield Atoms(numbers[atoms], positions[atoms].astype(float), info=info)


def _published_qm9(path: Path, inconsistent: Path) -> Iterator[Atoms]:
    """Yield the molecules of the published archive, less the inconsistent ones."""
    text = inconsistent.read_text(encoding="utf-8")
    rows = (line.split() for line in text.splitlines())
    # the table's rows begin with a number, its title and last line do not
    excluded = {int(row[0]) for row in rows if len(row) > 2 and row[0].isdecimal()}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is None or not member.name.endswith(".xyz"):
                continue
            atoms, number = _molecule(file.read().decode("utf-8"))
            if number not in excluded:
                yield atoms


def _molecule(text: str) -> tuple[Atoms, int]:
    """Return a molecule of the published archive and its number.

    Lines: number of atoms; ``gdb``, number and properties; atoms with Mulliken charges;
    frequencies; SMILES; InChI. Some exponents are written ``*^``.
    """
    lines = text.replace("*^", "e").splitlines()
    values = lines[1].split()
    number = int(values[1])
    rows = [line.split() for line in lines[2 : 2 + int(lines[0])]]
    positions = [[float(x) for x in row[1:4]] for row in rows]
    info: dict[str, str | float] = {"id": f"gdb-{number}"}
    for name, place in zip(_QM9_COLUMNS, _QM9_PLACES, strict=True):
        info[name] = float(values[place])
    return Atoms([row[0] for row in rows], positions, info=info), number


def _write_molecules(molecules: Iterator[Atoms], path: Path, progress: bool) -> int:
    from ase.io.extxyz import write_extxyz

    number = 0
    with output_file(path) as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(partial, "wt", compresslevel=3, encoding="utf-8") as stream:
            for atoms in progress_bar(
                molecules, shown=progress, desc=path.name, unit="molecule"
            ):
                write_extxyz(stream, [atoms])
                number += 1
    return number
