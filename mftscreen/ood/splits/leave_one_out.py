"""Leave-one-out on chemistry and symmetry."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from ase import Atoms

from mftscreen.errors import (
    DataError,
    InvalidGeometryError,
    PeriodicityError,
    StructureError,
    UnknownElementError,
)
from mftscreen.ood.splits.split import Split, build_split
from mftscreen.ood.splits.split_rows import SplitData

__all__ = ["Criterion", "label_structure", "leave_one_out"]

Criterion = Literal["elements", "periodictablegroups", "chemsys", "sgnum", "prototype"]

SYMPREC = 0.1
"""Å; what MatFold hands to spglib."""

_POINT_GROUPS = {"2mm": "mm2", "m2m": "mm2", "-4m2": "-42m", "-62m": "-6m2"}
"""Site symmetries in other orientations of the axes."""


def leave_one_out(
    data: SplitData,
    by: Criterion,
    *,
    min_test: int = 10,
    max_share: float = 0.5,
    seed: int = 0,
    val_share: float = 0.2,
) -> Split:
    """Return one fold per label that tests all rows with it, and trains on none.

    Parameters
    ----------
    data : SplitData
    by : {"elements", "periodictablegroups", "chemsys", "sgnum", "prototype"}
        What is left out, see :func:`label_structure`.
    min_test : int, default 10
        Labels of fewer rows are not left out; 1 makes a fold of every label.
    max_share : float, default 0.5
        Labels of a larger share of the rows are not left out, either.
    seed : int, default 0
        Of the validation rows.
    val_share : float, default 0.2
        Share of the rows that are not tested.

    Returns
    -------
    Split
        Folds named after the labels, the most frequent first. A structure of several
        elements is in the tests of all of them.

    Raises
    ------
    DataError
        If no label has enough rows and not too many, or a structure has no label; it
        is named.

    References
    ----------
    M. D. Witman and P. Schindler, Digital Discovery 4, 625 (2025),
    doi:10.1039/D4DD00250D
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, (name, atoms) in enumerate(zip(data.ids, data.structures, strict=True)):
        try:
            labels = label_structure(atoms, by)
        except StructureError as error:
            msg = f"row {name} has no {by} label: {error}"
            raise DataError(msg) from error
        for label in labels:
            rows[label].append(row)
    tests = {
        label: rows[label]
        for label in sorted(rows, key=lambda each: (-len(rows[each]), each))
        if min_test <= len(rows[label]) <= max_share * len(data)
    }
    if not tests:
        sizes = sorted(map(len, rows.values()))
        msg = (
            f"none of {len(rows)} {by} labels has at least {min_test} rows and at most "
            f"a share of {max_share} of {len(data)}; they have {sizes[0]} to "
            f"{sizes[-1]} rows"
        )
        raise DataError(msg)
    parameters = {"min_test": min_test, "max_share": max_share, "val_share": val_share}
    return build_split(data, by, parameters, tests, seed=seed)


def label_structure(atoms: Atoms, by: Criterion) -> list[str]:
    """Return the labels of a structure.

    Parameters
    ----------
    atoms : Atoms
    by : {"elements", "periodictablegroups", "chemsys", "sgnum", "prototype"}
        The names and, but for "prototype", the labels of MatFold:

        "elements"
            Chemical symbols.
        "periodictablegroups"
            ``group1`` to ``group18``; lanthanides and actinides are ``group3``.
        "chemsys"
            Sorted symbols, ``O-Si``.
        "sgnum"
            The international symbol of the space group (in spite of its name), with
            a tolerance of 0.1 Å.
        "prototype"
            The number of the space group and, for every element, the orbits that it
            occupies, as multiplicity in the conventional cell and point group of the
            site: ``225: 4 m-3m | 4 m-3m`` is rock salt. Elements are sorted by their
            orbits, so that their names do not matter; other than Wyckoff letters,
            point groups do not depend on the choice of origin and axes.
            Free coordinates are ignored, and so are differences between orbits of
            equal multiplicity and point group: a prototype is coarser than AFLOW's.

    Returns
    -------
    list of str
        Sorted.

    Raises
    ------
    DataError
        If `by` is unknown.
    PeriodicityError
        If a space group is asked for of what is not periodic in three directions.
    UnknownElementError
        If a group of the periodic table is asked for of ASE's placeholder X.
    InvalidGeometryError
        If spglib finds no space group, or a position or cell vector is not finite.

    Examples
    --------
    >>> from ase.build import bulk
    >>> label_structure(bulk("NaCl", "rocksalt", a=5.64), "periodictablegroups")
    ['group1', 'group17']
    >>> label_structure(bulk("NaCl", "rocksalt", a=5.64), "prototype")
    ['225: 4 m-3m | 4 m-3m']
    """
    if by not in get_args(Criterion):
        msg = f"leave-one-out is by {', '.join(get_args(Criterion))}; got {by!r}"
        raise DataError(msg)
    return _LABELS[by](atoms)


def _elements(atoms: Atoms) -> list[str]:
    return sorted(set(atoms.symbols))


def _groups(atoms: Atoms) -> list[str]:
    from pymatgen.core import Element

    unknown = set(atoms.symbols) - {element.symbol for element in Element}
    if unknown:
        msg = f"{', '.join(sorted(unknown))} is in no group of the periodic table"
        raise UnknownElementError(msg)
    return sorted({f"group{Element(symbol).group}" for symbol in set(atoms.symbols)})


def _chemical_system(atoms: Atoms) -> list[str]:
    return ["-".join(_elements(atoms))]


def _space_group(atoms: Atoms) -> list[str]:
    return [str(_symmetry(atoms).international)]


def _prototype(atoms: Atoms) -> list[str]:
    symmetry = _symmetry(atoms)
    # atoms of the cell that was given to atoms of the conventional one
    enlargement = len(symmetry.std_types) / len(atoms)
    # not the symmetry alone that is left in a supercell
    sizes = Counter(symmetry.crystallographic_orbits.tolist())
    orbits: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for atom, size in sizes.items():
        site = symmetry.site_symmetry_symbols[atom].replace(".", "")
        site = _POINT_GROUPS.get(site, site)
        orbits[int(atoms.numbers[atom])].append((round(size * enlargement), site))
    species = sorted(sorted(each) for each in orbits.values())
    text = " | ".join(
        ", ".join(f"{size} {site}" for size, site in each) for each in species
    )
    return [f"{symmetry.number}: {text}"]


def _symmetry(atoms: Atoms) -> Any:
    import spglib

    if not atoms.pbc.all():
        msg = f"a space group needs full periodicity; pbc is {atoms.pbc.tolist()}"
        raise PeriodicityError(msg)
    # spglib does not survive them
    finite = np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()
    if not finite:
        msg = "a position or cell vector is not finite"
        raise InvalidGeometryError(msg)
    try:
        scaled = atoms.get_scaled_positions()
        cell: Any = (np.asarray(atoms.cell), scaled, atoms.numbers)
        with warnings.catch_warnings():
            # spglib announces, on every call, that a failure will raise one day
            warnings.simplefilter("ignore", DeprecationWarning)
            # the angle tolerance is that of pymatgen's SpacegroupAnalyzer
            symmetry = spglib.get_symmetry_dataset(
                cell, symprec=SYMPREC, angle_tolerance=5.0
            )
    except (spglib.SpglibError, np.linalg.LinAlgError):
        symmetry = None
    if symmetry is None:
        msg = f"spglib finds no space group within {SYMPREC} Å"
        raise InvalidGeometryError(msg)
    return symmetry


_LABELS: dict[Criterion, Callable[[Atoms], list[str]]] = {
    "elements": _elements,
    "periodictablegroups": _groups,
    "chemsys": _chemical_system,
    "sgnum": _space_group,
    "prototype": _prototype,
}
