"""What ASE's optimisers move: the atoms and, where it is periodic, the cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.utils.abc import Optimizable
from numpy.typing import NDArray

__all__ = ["Coordinates"]


class Coordinates(Optimizable):
    r"""Atoms, and the logarithm of the cell's deformation, with a gradient put in.

    An ASE optimiser steps from the gradient that :meth:`set_derivatives` left here, so
    that many optimisers can share one batched evaluation between their steps.

    Parameters
    ----------
    atoms : Atoms
        Moved in place; its constraints are kept.
    relax_cell : bool
        Whether the cell is strained along the directions its periodic vectors span.
        Without periodic directions there is nothing to strain.

    Attributes
    ----------
    energy : float
        In eV, at the present coordinates.
    relax_cell : bool

    Notes
    -----
    The coordinates are those of :class:`ase.filters.FrechetCellFilter`: positions
    :math:`z_i` in the undeformed cell and :math:`nU` with the deformation
    :math:`F = e^U` and :math:`n` atoms; :math:`x_i = F z_i`. With the virial
    :math:`W`, minus the gradient with respect to :math:`U` is the adjoint of the
    Fréchet derivative of the exponential, applied to :math:`WF^{-T}`, which is
    :math:`L(U^T, WF^{-T})` [1]_: one Fréchet derivative, where the filter takes one for
    each of the nine components, which costs as much as a small model does in a batch.

    The virial is projected onto the span of the periodic vectors. All of :math:`U`
    then stays in that span, so that a slab keeps its vacuum in any orientation.

    References
    ----------
    .. [1] A. H. Al-Mohy and N. J. Higham, SIAM J. Matrix Anal. Appl. 30, 1639 (2009),
       doi:10.1137/080716426.
    """

    def __init__(self, atoms: Atoms, *, relax_cell: bool) -> None:
        self.atoms = atoms
        self.relax_cell = bool(relax_cell and atoms.pbc.any())
        self.energy = np.nan
        self._start = atoms.positions.copy()
        self._cell = np.array(atoms.cell)
        axes, _ = np.linalg.qr(self._cell[atoms.pbc].T)
        self._span = axes @ axes.T
        self._strain = np.zeros((3, 3))
        self._deformation = np.eye(3)
        self._gradient = np.full(self.ndofs(), np.nan)

    @property
    def volume_change(self) -> float:
        """Relative change of the volume, or of the area or length that is periodic."""
        return float(np.expm1(np.trace(self._strain)))

    @property
    def largest_displacement(self) -> float:
        """Longest way (Å) that an atom has gone, apart from the strain."""
        ways = self._undeformed_positions() - self._start
        return float(np.linalg.norm(ways, axis=1).max())

    @property
    def largest_force(self) -> float:
        """Largest force (eV/Å) on an atom or, divided by n, on a row of U."""
        return float(self.gradient_norm(self._gradient))

    def set_derivatives(
        self, energy: float, forces: NDArray[np.float64], virial: NDArray[np.float64]
    ) -> None:
        """Take over an evaluation at the present coordinates.

        Parameters
        ----------
        energy : float
            In eV.
        forces : ndarray of shape (n_atoms, 3)
            In eV/Å.
        virial : ndarray of shape (3, 3)
            In eV; without effect if the cell is kept.
        """
        from scipy.linalg import expm_frechet

        self.energy = energy
        forces = forces.copy()
        for constraint in self.atoms.constraints:
            constraint.adjust_forces(self.atoms, forces)
        if self.relax_cell:
            pull = self._span @ virial @ self._span @ np.linalg.inv(self._deformation).T
            pull = expm_frechet(self._strain.T, pull, compute_expm=False)
            forces = np.vstack([forces @ self._deformation, pull / len(self.atoms)])
        self._gradient = -forces.ravel()

    def ndofs(self) -> int:
        """Return the number of coordinates."""
        return 3 * (len(self.atoms) + 3 * self.relax_cell)

    def get_x(self) -> NDArray[np.float64]:
        """Return the coordinates."""
        x = self._undeformed_positions()
        if self.relax_cell:
            x = np.vstack([x, self._strain * len(self.atoms)])
        return x.ravel()

    def set_x(self, x: NDArray[np.float64]) -> None:
        """Move the atoms and strain the cell."""
        from scipy.linalg import expm

        n_atoms = len(self.atoms)
        rows = x.reshape(-1, 3)
        if self.relax_cell:
            self._strain = rows[n_atoms:] / n_atoms
            self._deformation = expm(self._strain)
            self.atoms.set_cell(self._cell @ self._deformation.T, scale_atoms=True)
        self.atoms.set_positions(rows[:n_atoms] @ self._deformation.T)

    def get_gradient(self) -> NDArray[np.float64]:
        """Return the gradient of the last evaluation."""
        return self._gradient

    def get_value(self) -> float:
        """Return the energy of the last evaluation."""
        return self.energy

    def iterimages(self) -> Iterator[Atoms]:
        """Yield the structure."""
        yield self.atoms

    def _undeformed_positions(self) -> NDArray[np.float64]:
        return np.linalg.solve(self._deformation, self.atoms.positions.T).T
