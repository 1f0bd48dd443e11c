"""The sites of a CIF, and their images in a cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.data.readers.cif.space_groups import Operations
from mftscreen.data.readers.symbols import FULL, element, label_element
from mftscreen.errors import InvalidGeometryError, StructureError
from mftscreen.structures import find_neighbors

__all__ = ["SITE_TAGS", "Site", "check_distances", "expand", "read_sites"]

SITE_TAGS = frozenset(
    f"_atom_site_{name}"
    for name in (
        *("fract_x", "fract_y", "fract_z", "cartn_x", "cartn_y", "cartn_z"),
        *("type_symbol", "label", "label_alt_id", "disorder_group"),
        *("occupancy", "calc_flag", "attached_hydrogens"),
    )
)
"""All tags that are read here."""
SAME = 0.1
"""Images of a site closer than this (Å) are one atom on a symmetry element."""
APART = 0.5
"""Two atoms closer than this (Å) cannot both be there."""
_UNKNOWN = ("", "?", ".")


class Site(NamedTuple):
    """One site of the asymmetric unit.

    Attributes
    ----------
    number : int
        Its row.
    label, symbol : str
    position : ndarray of shape (3,)
        Fractional; in Å without a cell.
    """

    number: int
    label: str
    symbol: str
    position: NDArray[np.float64]


def read_sites(
    columns: Mapping[str, Sequence[str]],
    expected: set[str],
    cell: NDArray[np.float64] | None,
) -> list[Site]:
    """Return the sites, all of them of one element and fully occupied.

    Parameters
    ----------
    columns : mapping of str to sequence of str
        The values of the tags, in lower case.
    expected : set of str
        Elements of the formula.
    cell : ndarray of shape (3, 3) or None
        In Å.

    Returns
    -------
    list of Site

    Raises
    ------
    StructureError
        If one is disordered, partially occupied, a dummy, of no element, without
        coordinates, or has hydrogens attached that have no site.
    """
    kind = "fract" if columns.get("_atom_site_fract_x") else "cartn"
    axes = [columns.get(f"_atom_site_{kind}_{axis}", ()) for axis in "xyz"]
    n = len(axes[0])
    if any(len(axis) != n for axis in axes):
        msg = "the sites have no x, y and z"
        raise StructureError(msg)
    types = columns.get("_atom_site_type_symbol", ["?"] * n)
    labels = columns.get("_atom_site_label", types)
    labels = [
        label if label not in _UNKNOWN else str(number)
        for number, label in enumerate(labels)
    ]
    _check_whole(columns, labels)
    sites = []
    for k in range(n):
        text = types[k]
        symbol = (
            label_element(labels[k], expected) if text in _UNKNOWN else element(text)
        )
        position = np.array([_value(axis[k], labels[k]) for axis in axes])
        if kind == "cartn" and cell is not None:
            position = position @ np.linalg.inv(cell)
        sites.append(Site(k, labels[k], symbol, position))
    return sites


def _value(text: str, label: str) -> float:
    from gemmi import cif

    value = float(cif.as_number(text))
    if not np.isfinite(value):
        msg = f"site {label} has {text!r} for a number"
        raise StructureError(msg)
    return value


def _check_whole(columns: Mapping[str, Sequence[str]], labels: Sequence[str]) -> None:
    """Raise if a site is not there as a whole."""

    def _of_sites(name: str) -> Iterator[tuple[str, str]]:
        # a single value outside the loop of sites is of none
        return zip(labels, columns.get(f"_atom_site_{name}", ()), strict=False)

    groups = set(columns.get("_atom_site_disorder_group", ()))
    groups.difference_update((*_UNKNOWN, "0"))
    if len(groups) > 1 or any(g.startswith("-") for g in groups):
        msg = (
            f"disordered: the sites are in the disorder groups "
            f"{', '.join(sorted(groups))}; order the structure first"
        )
        raise StructureError(msg)
    alternatives = set(columns.get("_atom_site_label_alt_id", ()))
    if len(alternatives.difference(_UNKNOWN)) > 1:
        msg = "disordered: atoms have alternative places; order the structure first"
        raise StructureError(msg)
    for label, text in _of_sites("occupancy"):
        share = 1.0 if text in _UNKNOWN else _value(text, label)
        if abs(share - 1.0) > FULL:
            msg = (
                f"disordered or partially occupied site ({label} {share:g}); order "
                "the structure first"
            )
            raise StructureError(msg)
    for label, text in _of_sites("calc_flag"):
        if text.lower() == "dum":
            msg = f"site {label} is a dummy atom"
            raise StructureError(msg)
    for label, text in _of_sites("attached_hydrogens"):
        if text not in (*_UNKNOWN, "0"):
            msg = f"site {label} has {text} hydrogens attached that have no site"
            raise StructureError(msg)


def expand(
    sites: Sequence[Site], cell: NDArray[np.float64], setting: Operations
) -> list[tuple[Site, NDArray[np.float64]]]:
    """Return the places of all sites in the cell.

    Parameters
    ----------
    sites : sequence of Site
    cell : ndarray of shape (3, 3)
        In Å.
    setting : Operations

    Returns
    -------
    list of (Site, ndarray of shape (n_places, 3))
        Fractional, from 0 to 1. A site that is listed twice stands there once.

    Raises
    ------
    StructureError
        If two elements share a place.

    Notes
    -----
    A site within 0.1 Å of a symmetry element is moved onto it, so that coordinates
    such as 0.333 give one atom.
    """
    found: list[tuple[Site, NDArray[np.float64]]] = []
    taken = np.empty((0, 3))
    owners: list[Site] = []
    for site in sites:
        places = _images(site, cell, setting)
        near = np.flatnonzero(_lengths(taken - places[0], cell) < SAME)
        if near.size:
            other = owners[near[0]]
            if other.symbol != site.symbol:
                msg = (
                    f"mixed site: {other.label} and {site.label} are in one place; "
                    "order the structure first"
                )
                raise StructureError(msg)
            continue
        found.append((site, places))
        taken = np.concatenate([taken, places])
        owners += [site] * len(places)
    return found


def _images(
    site: Site, cell: NDArray[np.float64], setting: Operations
) -> NDArray[np.float64]:
    images = setting.rotations @ site.position + setting.translations
    shifts = images - site.position
    shifts -= np.round(shifts)
    here = _lengths(shifts, cell) < SAME
    if here.sum() > 1:
        position = site.position + shifts[here].mean(axis=0)
        images = setting.rotations @ position + setting.translations
    images = images % 1.0 % 1.0  # -1e-17 % 1.0 is 1.0
    if len(images) == 1:
        return images
    apart = _lengths(images[:, None] - images[None], cell)
    # each image is kept unless an earlier one is in its place
    repeated = np.tril(apart < 0.5 * SAME, -1).any(axis=1)
    return images[np.logical_not(repeated)]


def _lengths(
    shifts: NDArray[np.float64], cell: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how long differences of fractional coordinates are, in Å."""
    lengths: NDArray[np.float64]
    lengths = np.linalg.norm((shifts - np.round(shifts)) @ cell, axis=-1)
    return lengths


def check_distances(atoms: Atoms, labels: Sequence[str], setting: str) -> None:
    """Raise if two atoms of a crystal are in each other.

    Parameters
    ----------
    atoms : Atoms
    labels : sequence of str
        The site of each.
    setting : str
        Of the space group.

    Raises
    ------
    InvalidGeometryError
    """
    first, second, _, distances = find_neighbors(atoms, 2.0)
    if distances.min(initial=np.inf) < APART:
        k = int(np.argmin(distances))
        names = sorted((labels[first[k]], labels[second[k]]))
        msg = (
            f"atoms of sites {names[0]} and {names[1]} are {distances[k]:.3f} Å apart "
            f"in space group {setting}: another setting, or disorder"
        )
        raise InvalidGeometryError(msg)
