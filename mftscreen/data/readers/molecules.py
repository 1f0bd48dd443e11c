"""Molecules of SDF and SMILES files, by way of RDKit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mftscreen.data.readers.files import DAMAGED, Row, find_name, open_text
from mftscreen.data.readers.symbols import reason
from mftscreen.errors import DataError, MftscreenError, StructureError

__all__ = ["Conformers", "iter_sdf", "iter_smiles", "smiles_to_atoms"]

MADE = "RDKit ETKDGv3, MMFF94"
"""What ``info["conformer"]`` says of a structure that was made here."""
_SEED = 20
_MOST_ATOMS = 500

log = logging.getLogger(__name__)


def iter_sdf(path: Path) -> Iterator[Row]:
    """Yield the molecules of an SDF file, all of them.

    Parameters
    ----------
    path : Path
        ``.sdf``, ``.sd`` or ``.mol``, also compressed (:func:`open_text`).

    Yields
    ------
    Row
        Named by :func:`find_name` of its data items, else by its title. A molecule that
        is drawn in two dimensions gets a conformer as in
        :func:`smiles_to_atoms`; of another the coordinates count, even if its bonds are
        not those of a molecule. One that cannot be read, or has a geometry without its
        hydrogens, has the error as its structure.

    Raises
    ------
    DataError
        If the file cannot be read, or RDKit is not installed.
    """
    with Conformers(path) as conformers, open_text(path) as stream:
        number = 0
        try:
            for number, block in enumerate(_records(stream)):
                row = _record(block, number, path)
                conformers.count(row.structure)
                yield row
        except DAMAGED as error:
            msg = f"cannot be read past molecule {number}: {error}"
            raise DataError(msg, path=path) from error


def _records(stream: Any) -> Iterator[str]:
    lines: list[str] = []
    for line in stream:
        if line.startswith("$$$$"):
            yield "".join(lines)
            lines = []
        else:
            lines.append(line)
    if any(line.strip() for line in lines):  # a .mol file has no end
        yield "".join(lines)


def _record(block: str, number: int, path: Path) -> Row:
    from rdkit import Chem

    supplier = Chem.SDMolSupplier()
    # RDKit takes UTF-8; what is none may stand in a name
    text = block.encode(errors="replace").decode()
    supplier.SetData(f"{text}$$$$\n", removeHs=False, sanitize=False)
    title = block.partition("\n")[0].strip() or None
    try:
        with _silent():
            molecule = next(iter(supplier), None)
        if molecule is None:
            msg = f"molecule {number} is no valid record"
            raise DataError(msg, path=path)
        values = molecule.GetPropsAsDict(autoConvertStrings=False)
        name = find_name({key.lower(): value for key, value in values.items()})
        try:
            structure: Atoms | MftscreenError = _to_atoms(molecule)
        except StructureError as error:
            structure = error
        except RuntimeError as error:  # of RDKit, which a record contradicts
            structure = StructureError(f"no valid record: {reason(error)}")
        return Row(name or title, structure, values)
    except DataError as error:
        return Row(title, error, {})


def iter_smiles(path: Path) -> Iterator[Row]:
    """Yield the molecules of a list of SMILES, one in each line.

    Parameters
    ----------
    path : Path
        ``.smi`` or ``.smiles``, also compressed (:func:`open_text`): a SMILES in each
        line, perhaps with a name behind it. Lines that begin with ``#`` are comments; a
        first line ``smiles …`` is a header.

    Yields
    ------
    Row
        Named by what is behind the SMILES, else by the SMILES itself.

    Raises
    ------
    DataError
        If the file cannot be read, or RDKit is not installed.
    """
    with Conformers(path) as conformers, open_text(path) as stream:
        number = 0
        try:
            for number, line in enumerate(stream):
                fields = line.strip("\ufeff \t\r\n").split(None, 1)
                if not fields or fields[0].startswith("#"):
                    continue
                if not number and fields[0].lower() == "smiles":
                    continue
                structure: Atoms | MftscreenError
                try:
                    structure = smiles_to_atoms(fields[0])
                except StructureError as error:
                    structure = error
                conformers.count(structure)
                yield Row(fields[-1], structure, {"smiles": fields[0]})
        except DAMAGED as error:
            msg = f"cannot be read past line {number}: {error}"
            raise DataError(msg, path=path) from error


def smiles_to_atoms(smiles: str) -> Atoms:
    """Return a conformer of a molecule, always the same.

    Parameters
    ----------
    smiles : str

    Returns
    -------
    Atoms
        ``info["conformer"]`` says how it was made: by distance geometry (ETKDG) with
        hydrogens added and relaxed with MMFF94 where this knows all atoms.

    Raises
    ------
    DataError
        If RDKit is not installed.
    StructureError
        If it is no SMILES, or no conformer is found.

    References
    ----------
    Wang et al., J. Chem. Inf. Model. 60, 2044 (2020), doi:10.1021/acs.jcim.0c00025.
    """
    check_rdkit()
    from rdkit import Chem

    with _silent():
        molecule = Chem.MolFromSmiles(smiles) if smiles.isascii() else None
    if molecule is None or not molecule.GetNumAtoms():
        msg = f"{smiles!r} is no valid SMILES"
        raise StructureError(msg)
    return _conformer(molecule)


def _to_atoms(molecule: Any) -> Atoms:
    """Return the geometry of a record, or one that is made where it has none."""
    from rdkit import Chem

    places = molecule.GetConformer().GetPositions()
    flat = len(places) > 1 and not (
        molecule.GetConformer().Is3D() or np.ptp(places[:, 2])
    )
    try:
        with _silent():
            Chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError) as error:
        if flat:
            msg = f"its bonds are not those of a molecule: {error}"
            raise StructureError(msg) from error
        # a charge may be missing, but the geometry is there
        molecule.UpdatePropertyCache(strict=False)
    if flat:
        return _conformer(molecule)
    if _n_free(molecule) > 0:
        msg = "the molecule lacks hydrogens: its bonds leave valences free"
        raise StructureError(msg)
    return Atoms(_numbers(molecule), places, info=_charge(molecule))


def _charge(molecule: Any) -> dict[str, int]:
    from rdkit import Chem

    charge = Chem.GetFormalCharge(molecule)
    return {"charge": charge} if charge else {}


def _n_free(molecule: Any) -> int:
    """Return how many valences are free, less those that atoms have too many.

    A zwitterion without its charges, as in QM9, has as many of these as of those.
    """
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    n_free = 0
    for atom in molecule.GetAtoms():
        n_free += atom.GetTotalNumHs()
        if atom.HasValenceViolation():
            most = max(table.GetValenceList(atom.GetAtomicNum()))
            n_free -= max(atom.GetTotalValence() - most, 0)
    return n_free


def _numbers(molecule: Any) -> list[int]:
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    if not (numbers and all(numbers)):
        msg = "the molecule has a dummy atom or no atom at all"
        raise StructureError(msg)
    return numbers


def _conformer(molecule: Any) -> Atoms:
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    if len(Chem.GetMolFrags(molecule)) > 1:
        msg = "it is several molecules, whose places to each other are not known"
        raise StructureError(msg)
    with _silent():
        whole = Chem.AddHs(molecule)
        whole.RemoveAllConformers()
        if whole.GetNumAtoms() > _MOST_ATOMS:
            msg = f"no conformer is made of more than {_MOST_ATOMS} atoms"
            raise StructureError(msg)
        options: Any = rdDistGeom.ETKDGv3()
        options.randomSeed = _SEED
        options.maxIterations = 200
        if rdDistGeom.EmbedMolecule(whole, options) != 0:
            msg = "no conformer was found"
            raise StructureError(msg)
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(whole):
            rdForceFieldHelpers.MMFFOptimizeMolecule(whole, maxIters=2000)
    return Atoms(
        _numbers(whole),
        whole.GetConformer().GetPositions(),
        info={"conformer": MADE, **_charge(whole)},
    )


def check_rdkit(path: Path | None = None) -> None:
    """Raise a DataError that says what to install, if RDKit is not."""
    try:
        import rdkit  # noqa: F401
    except ModuleNotFoundError as error:
        msg = "SMILES and SDF need RDKit: pip install 'mftscreen[molecules]'"
        raise DataError(msg, path=path) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep RDKit, which writes to stderr, from doing so."""
    from rdkit import rdBase

    block = rdBase.BlockLogs()
    try:
        yield
    finally:
        del block


class Conformers:
    """Counts the conformers that are made, and says in the end how many they are.

    Parameters
    ----------
    path : Path
        The file with the molecules.

    Raises
    ------
    DataError
        If RDKit is not installed.
    """

    def __init__(self, path: Path) -> None:
        check_rdkit(path)
        self._path = path
        self._n = self._n_made = 0

    def count(self, structure: Atoms | MftscreenError) -> None:
        """Take note of one more structure."""
        self._n += 1
        self._n_made += isinstance(structure, Atoms) and "conformer" in structure.info

    def __enter__(self) -> Conformers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._n_made:
            log.warning(
                "%s: %d of %d geometries are conformers made here (%s): those of a "
                "classical force field",
                self._path,
                self._n_made,
                self._n,
                MADE,
            )
