"""Crystals of a CIF, compared with what the file declares about them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from math import gcd
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import cellpar_to_cell
from numpy.typing import NDArray

from mftscreen.data.readers.cif.sites import (
    SITE_TAGS,
    Site,
    check_distances,
    expand,
    read_sites,
)
from mftscreen.data.readers.cif.space_groups import (
    SYMMETRY_TAGS,
    Operations,
    find_operations,
    fits_cell,
)
from mftscreen.data.readers.symbols import reason
from mftscreen.errors import DataError, StructureError

__all__ = ["iter_cif"]

Columns = Mapping[str, Sequence[str]]

_LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
_ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
_ATOMS = ("_atom_site_fract_x", "_atom_site_cartn_x")
_FORMULA = "_chemical_formula_sum"
_UNITS = "_cell_formula_units_z"
_VOLUME = "_cell_volume"
_MULTIPLICITIES = (
    "_atom_site_site_symmetry_multiplicity",
    "_atom_site_symmetry_multiplicity",
)
_DIATOMIC = {"H", "N", "O", "F", "Cl"}
"""Elements whose reduced formula is that of a molecule, for pymatgen."""
_UNFIT = {
    "_cell_modulation_dimension": "a modulated structure",
    "_cell_wave_vector_seq_id": "a modulated structure",
    "_space_group_symop_magn_operation_xyz": "a magnetic space group",
}
"""Tags of crystals that other rules apply to than those of a space group."""
_READ = {
    *(*_LENGTHS, *_ANGLES, _FORMULA, _UNITS, _VOLUME, *_MULTIPLICITIES, *_UNFIT),
    *(*SITE_TAGS, *SYMMETRY_TAGS),
}


def iter_cif(text: str) -> Iterator[Atoms | StructureError]:
    """Yield the crystals of a CIF, one for each data block with sites.

    The sites are repeated by the operations that are listed, else by those of the
    Hall or Hermann-Mauguin symbol in the setting that it names. Where it names none
    and there are several, it is the one that fits what else the file declares.

    Parameters
    ----------
    text : str

    Yields
    ------
    Atoms or StructureError
        The error if the crystal is disordered, or is not what the file declares: the
        formula sum and Z, the volume, the multiplicities of sites, hydrogens attached;
        if two atoms share a place or come closer than 0.5 Å; if more than one setting
        fits; if a tag that is read stands there twice with different values.

    Raises
    ------
    DataError
        If it is no CIF.
    """
    import gemmi

    try:
        # its own check refuses blocks of one name, which files put together have
        document = gemmi.cif.read_string(text, check_level=0)
    except (ValueError, RuntimeError) as error:
        msg = f"not a valid CIF: {error}"
        raise DataError(msg) from error
    for block in document:
        try:
            columns = _columns(block)
            if any(columns.get(tag) for tag in _ATOMS):
                yield _crystal(columns)
        except StructureError as error:
            yield type(error)(f"data_{block.name}: {error}")
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            msg = f"data_{block.name}: cannot be read: {reason(error)}"
            yield StructureError(msg)


def _columns(block: Any) -> dict[str, list[str]]:
    """Return the values of all tags, of either kind of dictionary (``.`` as ``_``)."""
    from gemmi import cif

    columns: dict[str, list[str]] = {}
    for item in block:
        pairs = []
        if item.pair is not None:
            pairs = [(item.pair[0], [item.pair[1]])]
        elif item.loop is not None:
            width, values = item.loop.width(), list(item.loop.values)
            pairs = [(tag, values[k::width]) for k, tag in enumerate(item.loop.tags)]
        for tag, values in pairs:
            key = tag.lower().replace(".", "_")
            # it makes nothing of ? and ., which differ
            column = [v if v in ("?", ".") else cif.as_string(v) for v in values]
            if columns.setdefault(key, column) != column and key in _READ:
                msg = f"{tag} stands there twice, with different values"
                raise StructureError(msg)
    return columns


def _crystal(columns: Columns) -> Atoms:
    for tag, what in _UNFIT.items():
        if any(value not in ("?", ".", "0") for value in columns.get(tag, ())):
            msg = f"is {what}, which is not read"
            raise StructureError(msg)
    formula = _formula(columns)
    cell = _cell(columns)
    sites = read_sites(columns, set(formula or ()), cell)
    if cell is None:
        return Atoms([s.symbol for s in sites], [s.position for s in sites])
    settings, contradicted = find_operations(columns)
    found: list[tuple[Operations, Atoms]] = []
    problem = None
    for setting in settings:
        try:
            atoms = _build(columns, sites, cell, setting)
            confirmed = _check_formula(atoms, formula, columns)
        except StructureError as error:
            problem = problem or error
            continue
        if contradicted and not confirmed:
            msg = (
                "the listed or Hall operations are not those of the space group, and "
                "no formula sum with Z tells which are right"
            )
            raise StructureError(msg)
        if not any(_alike(atoms, other) for _, other in found):
            found.append((setting, atoms))
    if problem is not None and not found:
        raise problem
    if len(found) > 1:
        names = " or ".join(setting.name for setting, _ in found)
        msg = (
            f"the space group may be {names}, which give different crystals; name the "
            "setting, list the operations, or give the formula sum and Z"
        )
        raise StructureError(msg)
    return found[0][1]


def _build(
    columns: Columns,
    sites: Sequence[Site],
    cell: NDArray[np.float64],
    setting: Operations,
) -> Atoms:
    if not fits_cell(setting, cell):
        msg = f"the space group {setting.name} does not fit the lengths and angles"
        raise StructureError(msg)
    images = expand(sites, cell, setting)
    _check_multiplicities(columns, images, len(setting.rotations))
    symbols = [s.symbol for s, places in images for _ in places]
    places = np.concatenate([places for _, places in images])
    atoms = Atoms(symbols, scaled_positions=places, cell=cell, pbc=True)
    labels = [s.label for s, places in images for _ in places]
    check_distances(atoms, labels, setting.name)
    return atoms


def _alike(one: Atoms, other: Atoms) -> bool:
    """Tell whether two crystals have the same distances between atoms."""
    from mftscreen.structures import find_neighbors

    if sorted(one.numbers) != sorted(other.numbers):
        return False
    found = []
    for atoms in (one, other):
        centers, others, _, distances = find_neighbors(atoms, 5.0)
        pairs = np.sort(atoms.numbers[np.stack([centers, others])], axis=0)
        found.append(np.column_stack([pairs.T, distances.round(3)]))
        found[-1] = found[-1][np.lexsort(found[-1].T)]
    first, second = found
    return len(first) == len(second) and np.allclose(first, second, atol=2e-3)


def _cell(columns: Columns) -> NDArray[np.float64] | None:
    lengths = [_number(columns, tag) for tag in _LENGTHS]
    if all(length is None for length in lengths):
        if columns.get("_atom_site_fract_x"):
            msg = "has no cell"
            raise StructureError(msg)
        return None
    angles = [_number(columns, tag) for tag in _ANGLES]
    values = [*lengths, *(90.0 if angle is None else angle for angle in angles)]
    bounds = [1e4] * 3 + [180.0] * 3
    if any(
        v is None or not 0.0 < v < most for v, most in zip(values, bounds, strict=True)
    ):
        msg = f"the cell {values} is none"
        raise StructureError(msg)
    with np.errstate(invalid="ignore"):
        try:
            cell: NDArray[np.float64] = cellpar_to_cell(values)
        except AssertionError:
            cell = np.full((3, 3), np.nan)
    volume, declared = abs(np.linalg.det(cell)), _number(columns, _VOLUME)
    if not volume > 0.0:
        msg = f"no cell has the lengths and angles {values}"
        raise StructureError(msg)
    if declared and abs(volume / declared - 1.0) > 0.02:
        msg = f"the cell has {volume:.6g} Å^3, but {declared:.6g} are declared"
        raise StructureError(msg)
    return cell


def _number(columns: Columns, tag: str) -> float | None:
    """Return a declared number, without its standard uncertainty; None if unknown."""
    from gemmi import cif

    value = cif.as_number((columns.get(tag) or ["?"])[0])
    return None if np.isnan(value) else float(value)


def _formula(columns: Columns) -> dict[str, float] | None:
    """Return the declared formula sum; None if there is none, or none like it."""
    text = (columns.get(_FORMULA) or ["?"])[0].strip("'\" ")
    counts: dict[str, float] = defaultdict(float)
    for symbol, number in re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)(?![+-])", text):
        try:
            counts["H" if symbol == "D" else symbol] += float(number or 1)
        except ValueError:
            return None
    if re.sub(r"[A-Z][a-z]?\d*\.?\d*|\d*[+-]|\s", "", text) or not counts:
        return None
    if not all(counts.values()):
        msg = f"the formula sum {text} names an element that it has none of"
        raise StructureError(msg)
    return dict(counts)


def _check_formula(
    atoms: Atoms, formula: Mapping[str, float] | None, columns: Columns
) -> bool:
    """Raise if the sites do not make the declared formula; tell if Z confirms them."""
    if formula is None:
        return False
    counts = Counter(atoms.symbols)
    found, declared = atoms.symbols.get_chemical_formula(), _written(formula)
    if counts.keys() != formula.keys():
        missing = sorted(formula.keys() - counts.keys())
        more = f"; no site of {', '.join(missing)}" if missing else ""
        msg = f"the sites make {found}, but the formula sum is {declared}{more}"
        raise StructureError(msg)
    ratios = np.array([counts[s] / formula[s] for s in formula])
    if np.ptp(ratios) > 1e-3 * ratios.max():
        msg = f"the sites make {found}, but the formula sum is {declared}"
        raise StructureError(msg)
    units = _number(columns, _UNITS)
    if not units:
        return False
    # some programs declare the whole cell as the sum, and Z of its reduced formula,
    # which of some elements is that of their molecule
    whole = [round(n) for n in formula.values()]
    allowed = {units}
    if all(whole):
        reduced = units / reduce(gcd, whole)
        molecule = len(formula) == 1 and formula.keys() <= _DIATOMIC
        allowed |= {reduced, 2 * reduced} if molecule else {reduced}
    if not any(abs(ratios[0] - n) < 1e-3 for n in allowed):
        msg = (
            f"the sites make {found}, but the formula sum {declared} and Z = "
            f"{units:g} declare {sum(formula.values()) * units:g} atoms"
        )
        raise StructureError(msg)
    return True


def _written(formula: Mapping[str, float]) -> str:
    return "".join(f"{s}{n:g}" if n != 1 else s for s, n in sorted(formula.items()))


def _check_multiplicities(
    columns: Columns,
    images: Sequence[tuple[Site, NDArray[np.float64]]],
    n_operations: int,
) -> None:
    for site, places in images:
        # the older tag has often held the order of the site's symmetry
        allowed = (len(places), n_operations // len(places))
        for tag in _MULTIPLICITIES:
            # one value outside the loop of sites is that of the first
            for text in columns.get(tag, ())[site.number : site.number + 1]:
                try:
                    declared = float(text)
                except ValueError:
                    continue
                if not any(abs(declared - n) <= 0.5 for n in allowed):
                    msg = (
                        f"site {site.label} has {len(places)} places in the cell, but "
                        f"a multiplicity of {text} is declared"
                    )
                    raise StructureError(msg)
