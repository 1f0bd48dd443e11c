"""What to draw of a structure: atoms on all faces of the cell, bonds, the cell."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.data.colors import jmol_colors
from numpy.typing import NDArray
from scipy.spatial import KDTree

__all__ = ["build_scene", "element_style"]

FACE_WIDTH = 0.02
"""How close to a face, in cell lengths, an atom counts as lying on it."""

BOND_SCALE = 1.1
"""A bond is at most this many times as long as the sum of the covalent radii."""

NONMETALS = frozenset(
    [
        "H",
        "He",
        "B",
        "C",
        "N",
        "O",
        "F",
        "Ne",
        "Si",
        "P",
        "S",
        "Cl",
        "Ar",
        "Ge",
        "As",
        "Se",
        "Br",
        "Kr",
        "Te",
        "I",
        "Xe",
        "At",
        "Rn",
    ]
)


def build_scene(atoms: Atoms) -> dict[str, Any]:
    """Return what a viewer draws of a structure, as plain numbers.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    dict
        ``symbols``; ``positions`` in Å, in which an atom on a face of the cell occurs
        on the opposite face, too; ``bonds``, pairs of indices into them; ``cell``,
        three vectors in Å, or None without periodic boundaries; ``n_atoms``, without
        repetitions.

    Notes
    -----
    Bonds are for the eye: atoms not further apart than 1.1 times the sum of their
    covalent radii, but no two metals in a structure that also holds a nonmetal.

    Examples
    --------
    >>> from ase.build import bulk
    >>> scene = build_scene(bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    >>> scene["n_atoms"], len(scene["symbols"]), len(scene["bonds"])
    (8, 27, 54)
    """
    symbols, positions = _with_faces(atoms)
    return {
        "symbols": symbols,
        "positions": positions.round(3).tolist(),
        "bonds": _bonds(symbols, positions),
        "cell": atoms.cell.array.round(4).tolist() if atoms.pbc.any() else None,
        "n_atoms": len(atoms),
    }


def element_style(symbol: str) -> tuple[float, str]:
    """Return an element's covalent radius in Å and its colour in Jmol.

    Examples
    --------
    >>> element_style("O")
    (0.66, '#ff0d0d')
    """
    number = atomic_numbers[symbol]
    red, green, blue = (round(255 * part) for part in jmol_colors[number])
    return float(covalent_radii[number]), f"#{red:02x}{green:02x}{blue:02x}"


def _with_faces(atoms: Atoms) -> tuple[list[str], NDArray[np.float64]]:
    if not atoms.pbc.any():
        return list(atoms.symbols), atoms.positions
    fractional = atoms.cell.scaled_positions(atoms.positions)
    periodic = np.flatnonzero(atoms.pbc)
    fractional[:, periodic] -= np.floor(fractional[:, periodic] + FACE_WIDTH)
    low = (np.abs(fractional) < FACE_WIDTH) & atoms.pbc
    shown, symbols = [], []
    for symbol, place, on_face in zip(atoms.symbols, fractional, low, strict=True):
        for shift in product(*((0.0, 1.0) if face else (0.0,) for face in on_face)):
            shown.append(place + shift)
            symbols.append(symbol)
    return symbols, np.array(shown).reshape(-1, 3) @ atoms.cell.array


def _bonds(symbols: list[str], positions: NDArray[np.float64]) -> list[list[int]]:
    radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in symbols])
    metals = np.array([symbol not in NONMETALS for symbol in symbols])
    if len(symbols) < 2:
        return []
    pairs = KDTree(positions).query_pairs(
        2 * BOND_SCALE * radii.max(), output_type="ndarray"
    )
    i, j = pairs.T
    lengths = np.linalg.norm(positions[i] - positions[j], axis=1)
    bonded = lengths <= BOND_SCALE * (radii[i] + radii[j])
    if not metals.all():
        bonded &= ~(metals[i] & metals[j])
    bonds: list[list[int]] = pairs[bonded].tolist()
    return bonds
