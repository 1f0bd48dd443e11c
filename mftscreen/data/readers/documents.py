"""One structure out of a JSON document: pymatgen, OPTIMADE."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from ase import Atoms
from ase.formula import Formula

from mftscreen.data.readers.files import Row, find_name
from mftscreen.data.readers.symbols import FULL, element, reason
from mftscreen.errors import StructureError

__all__ = [
    "is_ase_row",
    "optimade_dict_to_atoms",
    "pymatgen_dict_to_atoms",
    "read_document",
]

_WRONG_LAYOUT = (
    *(KeyError, TypeError, IndexError, AttributeError, ValueError),
    ArithmeticError,  # of numbers beyond all floats
    AssertionError,  # of ASE, of a cell vector that is zero and of what is no formula
)
_LAYOUT = {
    *("structure", "lattice", "sites", "charge", "attributes", "properties", "data"),
    *("@module", "@class", "@version"),
}
"""Keys of documents that hold no property of their own."""
_UNFIT_FEATURES = {"disorder", "implicit_atoms", "site_attachments", "assemblies"}


def read_document(document: Any) -> Row:
    """Return what a document calls itself, its structure and its properties.

    Parameters
    ----------
    document : object
        A pymatgen ``Structure``, a ``ComputedStructureEntry`` or any other mapping
        with a ``structure``, an OPTIMADE entry, or ASE's atoms; decoded JSON.

    Returns
    -------
    Row
        Its name by :func:`find_name`; as values the ``attributes`` of an OPTIMADE
        entry, results and key-value pairs of ASE's row, else what stands beside the
        structure and in the mappings ``properties`` and ``data`` there.
    """
    if not isinstance(document, Mapping):
        msg = f"not a structure document but {type(document).__name__}"
        return Row(None, StructureError(msg), {})
    if is_ase_row(document):
        return _ase_row(document)
    structure: Atoms | StructureError
    try:
        if "attributes" in document:
            structure = optimade_dict_to_atoms(document)
        else:
            structure = pymatgen_dict_to_atoms(document.get("structure", document))
    except StructureError as error:
        structure = error
    return Row(find_name(document), structure, _values(document))


def is_ase_row(document: Mapping[str, Any]) -> bool:
    """Tell a row of an ASE database, or atoms as ASE encodes them, from others."""
    return document.keys() >= {"numbers", "positions"}


def _ase_row(document: Mapping[str, Any]) -> Row:
    from ase.db.row import AtomsRow
    from ase.io.jsonio import object_hook

    try:
        plain = {key: v for key, v in document.items() if key != "__ase_objtype__"}
        row = AtomsRow(json.loads(json.dumps(plain), object_hook=object_hook))
        atoms = row.toatoms()
    except Exception as error:  # noqa: BLE001 - whatever a row makes ASE raise
        msg = f"holds no valid structure of ASE: {reason(error)}"
        return Row(None, StructureError(msg), {})
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    return Row(None, atoms, {**results, **row.key_value_pairs})


def _values(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a document says beside its structure."""
    values: dict[str, Any] = {}
    for key in ("data", "properties", "attributes"):
        if isinstance(document.get(key), Mapping):
            values |= document[key]
    return values | {key: document[key] for key in document if key not in _LAYOUT}


def pymatgen_dict_to_atoms(document: Mapping[str, Any]) -> Atoms:
    """Return a pymatgen ``as_dict()`` document as :class:`ase.Atoms`.

    Fifty times faster than by way of pymatgen, which matters for files of 20,000
    structures.

    Parameters
    ----------
    document : mapping
        A ``Structure`` with ``lattice.matrix`` and ``sites``, or a ``Molecule`` with
        ``sites`` only.

    Returns
    -------
    Atoms
        Periodic in the directions of the lattice's ``pbc`` (all when not given); a
        molecule in none.

    Raises
    ------
    StructureError
        If a site is disordered or of no element, or the document has another layout.
    """
    try:
        sites = document["sites"]
        species = [site["species"] for site in sites]
        _check_ordered(species)
        symbols = [s[0]["element"] for s in species]
        lattice = document.get("lattice")
        if lattice is None and "Molecule" in str(document.get("@class")):
            geometry: dict[str, Any] = {"positions": [site["xyz"] for site in sites]}
            if charge := document.get("charge"):
                geometry["info"] = {"charge": float(charge)}
        else:
            lattice = document["lattice"]
            geometry = {
                "scaled_positions": [site["abc"] for site in sites],
                "cell": lattice["matrix"],
                "pbc": lattice.get("pbc", True),
            }
        try:
            return Atoms(symbols, **geometry)
        except KeyError:  # an oxidation state ("Fe3+"), an isotope, no element
            return Atoms([element(symbol) for symbol in symbols], **geometry)
    except _WRONG_LAYOUT as error:
        msg = f"not a pymatgen structure document: {reason(error)}"
        raise StructureError(msg) from error


def _check_ordered(species: Sequence[Any]) -> None:
    if all(len(s) == 1 and s[0].get("occu", 1) == 1 for s in species):
        return
    for site in species:
        shares = [s.get("occu", 1) for s in site]
        if len(shares) != 1 or abs(shares[0] - 1) > FULL:
            found = ", ".join(f"{s['element']} {s.get('occu', 1):g}" for s in site)
            msg = (
                f"disordered or partially occupied sites ({found}); order the "
                "structure first"
            )
            raise StructureError(msg)


def optimade_dict_to_atoms(entry: Mapping[str, Any]) -> Atoms:
    """Return an OPTIMADE structure entry as :class:`ase.Atoms`.

    Parameters
    ----------
    entry : mapping
        With ``attributes``, of which ``cartesian_site_positions`` (Å),
        ``species_at_sites``, ``species``, ``lattice_vectors`` (Å), ``dimension_types``
        and ``structure_features`` are used, and ``nsites``, ``elements`` and
        ``chemical_formula_reduced`` compared.

    Returns
    -------
    Atoms

    Raises
    ------
    StructureError
        If a site is disordered, vacant or has unlisted atoms attached, the
        declared elements or reduced formula tell of atoms without a site, or the entry
        has another layout.

    References
    ----------
    Evans et al., Digital Discovery 3, 1509 (2024), doi:10.1039/D4DD00039K;
    the fields: OPTIMADE specification v1.2, "Structures Entries".
    """
    try:
        attributes = entry["attributes"]
        unfit = _UNFIT_FEATURES.intersection(attributes.get("structure_features") or ())
        if attributes.get("assemblies"):
            unfit |= {"assemblies"}
        if unfit:
            msg = f"has {', '.join(sorted(unfit))}; order the structure first"
            raise StructureError(msg)
        known = {s["name"]: _symbol(s) for s in attributes.get("species") or ()}
        names = attributes["species_at_sites"]
        if attributes.get("nsites") not in (None, len(names)):
            msg = f"lists {len(names)} of {attributes['nsites']} sites"
            raise StructureError(msg)
        symbols = [known[name] if name in known else element(name) for name in names]
        _check_all_sited(symbols, attributes)
        cell = attributes.get("lattice_vectors")
        periodic = attributes.get("dimension_types")
        if periodic is None:
            periodic = [cell is not None] * 3
        return Atoms(
            symbols=symbols,
            positions=np.asarray(attributes["cartesian_site_positions"], dtype=float),
            # null components belong to directions that are not periodic
            cell=None if cell is None else np.nan_to_num(np.asarray(cell, dtype=float)),
            pbc=[bool(direction) for direction in periodic],
        )
    except _WRONG_LAYOUT as error:
        msg = f"not an OPTIMADE structure entry: {reason(error)}"
        raise StructureError(msg) from error


def _check_all_sited(symbols: Sequence[str], attributes: Mapping[str, Any]) -> None:
    """Raise if the elements or the formula tell of atoms without a site."""
    sited = Counter(symbols)
    declared = {element(symbol) for symbol in attributes.get("elements") or ()}
    counts = Counter[str]()
    formula = attributes.get("chemical_formula_reduced")
    with suppress(ValueError):  # a provider's slip in what is only compared
        for symbol, number in Formula(formula or "").count().items():
            counts[element(symbol)] += number
    lacking = (declared | counts.keys()) - sited.keys()
    if lacking and sited.keys() < declared | counts.keys():
        msg = f"no site of {', '.join(sorted(lacking))}, which it is said to have"
        raise StructureError(msg)
    if sited.keys() == counts.keys() and len({sited[s] / counts[s] for s in sited}) > 1:
        found = Formula.from_list(symbols).reduce()[0]
        msg = f"the sites make {found}, but the formula is {formula}"
        raise StructureError(msg)


def _symbol(species: Mapping[str, Any]) -> str:
    """Return the one element of a species."""
    symbols = species["chemical_symbols"]
    shares = species.get("concentration") or [1]
    if len(symbols) != 1 or any(abs(share - 1) > FULL for share in shares):
        msg = (
            f"species {species['name']!r} is disordered or partially occupied "
            f"({', '.join(symbols)}); order the structure first"
        )
        raise StructureError(msg)
    if any(species.get("nattached") or ()) or species.get("attached"):
        what = ", ".join(species.get("attached") or ["atoms"])
        msg = f"species {species['name']!r} has {what} attached, which have no sites"
        raise StructureError(msg)
    return element(str(symbols[0]))
