r"""Orbital field matrices: which valence orbitals of neighbours meet in a crystal.

The orbital field matrix of a structure is

.. math::

    M = \frac{1}{N} \sum_i \sum_f \frac{\omega_f}{\omega_{max,i} \, d_f} \,
        v(j_f) \, v(i)^T

over the faces :math:`f` of the Voronoi cell of every atom :math:`i`, with the solid
angle :math:`\omega_f` of a face, the distance :math:`d_f` (Bohr) to the atom
:math:`j_f` behind it and the 32 valence orbitals :math:`v` of the elements
(:func:`mftscreen.ood.ofm.orbitals.element_table`). Rows belong to the neighbour,
columns to the centre.

References
----------
T. Lam Pham et al., Sci. Technol. Adv. Mater. 18, 756 (2017),
doi:10.1080/14686996.2017.1378060
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from joblib import effective_n_jobs
from joblib.externals.loky import ProcessPoolExecutor
from numpy.typing import NDArray

from mftscreen.errors import MftscreenError, StructureError
from mftscreen.ood.ofm.cells import Crystal, build_crystal, voronoi_weights
from mftscreen.ood.ofm.matminer_mode import matminer_weights, orbit_representatives
from mftscreen.ood.ofm.orbitals import Table, element_table
from mftscreen.structures import to_atoms

__all__ = [
    "LOW_DIMENSIONAL_RADIUS",
    "N_FEATURES",
    "N_ORBITAL_PAIRS",
    "Mode",
    "OFMFeaturizer",
    "OFMRow",
    "orbital_field_matrix",
]

Mode = Literal["exact", "matminer"]

N_ORBITAL_PAIRS = 1024

N_FEATURES = N_ORBITAL_PAIRS + 1
"""Of :attr:`OFMRow.features`: the matrix and the volume."""

VOLUME_SCALE = 2.0
"""1/Bohr; 10 % in every length then weigh 0.6, as much as a change of a neighbour.

Chosen by ``benchmarks/ood_detector.py`` among 0, 1, 2, 4 and 8: larger values find more
of the strained cells and fewer of the new compositions.
"""

LOW_DIMENSIONAL_RADIUS = 6.5
"""Å; with a larger Voronoi cell there is vacuum, whose thickness shapes the matrix."""

ANGSTROM_IN_BOHR = 1.00001495e-10 / 5.29177210544e-11
"""matminer's conversion, which uses the Angstrom star of CODATA 2022."""

_CHUNK = 32
"""Structures in one message to a worker process: tens of milliseconds of work."""

_CHUNKS_AHEAD = 8
"""Messages per worker process that are read ahead."""

_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
"""Environment of the worker processes, whose matrices are small."""


def orbital_field_matrix(
    atoms: Any,
    *,
    table: Table = "current",
    mode: Mode = "exact",
    per_site: bool = False,
) -> NDArray[np.float64]:
    """Return the flattened orbital field matrix of a crystal.

    Parameters
    ----------
    atoms : Atoms or pymatgen Structure
        Periodic in all three directions; it is not changed.
    table : {"current", "paper"}, default "current"
        The element table, see :func:`mftscreen.ood.ofm.orbitals.element_table`. Vectors
        of different tables cannot be compared.
    mode : {"exact", "matminer"}, default "exact"
        "exact" uses the true Voronoi cell of every atom. "matminer" repeats what
        matminer's ``OrbitalFieldMatrix`` does, for comparison: neighbours within 13 Å
        only, open faces dropped, distances to the closest image in a 3x3x3
        supercell, and one site of each set of symmetry-equivalent ones.
    per_site : bool, default False
        Return the matrix of every atom instead of their mean.

    Returns
    -------
    ndarray of shape (1024,) or (n_atoms, 1024)
        In 1/Bohr. Element ``32 * k + l`` belongs to orbital `k` of the neighbour and
        orbital `l` of the centre (:func:`mftscreen.ood.ofm.orbitals.pair_label`).

    Raises
    ------
    StructureError
        If `atoms` is of another type or has disordered sites.
    InvalidGeometryError
        No atoms; a position or cell entry that is not finite or beyond 10^4 Å; a cell
        without volume; two atoms closer than 0.3 Å; a vacuum of about 1000 Å.
    PeriodicityError
        If the structure is not periodic in all three directions.
    UnknownElementError
        An element beyond Pu, or ASE's placeholder X.
    ValueError
        If `table` or `mode` is unknown.

    Notes
    -----
    "exact" does not depend on the choice of the cell, the order of the atoms or the
    orientation. In a layer or a molecule in a box it depends on the vacuum, as any
    Voronoi cell does: see :attr:`OFMRow.low_dimensional`.

    References
    ----------
    .. [1] T. Lam Pham et al., Sci. Technol. Adv. Mater. 18, 756 (2017),
       doi:10.1080/14686996.2017.1378060

    Examples
    --------
    >>> from ase.build import bulk
    >>> vector = orbital_field_matrix(bulk("NaCl", "rocksalt", a=5.64))
    >>> vector.shape
    (1024,)
    >>> from mftscreen.ood.ofm.orbitals import pair_label
    >>> sorted(pair_label(k) for k in vector.nonzero()[0])[:3]
    ['p5 – s1', 's1 – p5', 's1 – s2']
    """
    _check_options(table, mode)
    crystal = build_crystal(to_atoms(atoms))
    if not per_site:
        return _matrix_and_radius(crystal, table, mode)[0]
    sites = np.arange(len(crystal.species))
    neighbours, centres, _ = _site_vectors(crystal, sites, table, mode)
    matrices = neighbours[:, :, None] * centres[:, None, :]
    return matrices.reshape(len(sites), N_ORBITAL_PAIRS)


def _check_options(table: Table, mode: Mode) -> None:
    element_table(table)  # refuses an unknown one
    if mode not in get_args(Mode):
        msg = f"mode must be 'exact' or 'matminer', got {mode!r}"
        raise ValueError(msg)


def _matrix_and_radius(
    crystal: Crystal, table: Table, mode: Mode
) -> tuple[NDArray[np.float64], float]:
    """Return the flattened matrix and the largest radius (Å) of a Voronoi cell."""
    n_atoms = len(crystal.species)
    if mode == "matminer":
        sites, shares = orbit_representatives(crystal)
    else:
        sites, shares = np.arange(n_atoms), np.full(n_atoms, 1.0 / n_atoms)
    neighbours, centres, radii = _site_vectors(crystal, sites, table, mode)
    matrix: NDArray[np.float64] = (neighbours * shares[:, None]).T @ centres
    return matrix.reshape(N_ORBITAL_PAIRS), float(radii.max())


def _site_vectors(
    crystal: Crystal, sites: NDArray[np.int64], table: Table, mode: Mode
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return what the matrices of some sites are the outer products of, and radii.

    Returns
    -------
    neighbours : ndarray of shape (n_sites, 32)
        Weighted sum (1/Bohr) of the orbital vectors behind the faces of a cell.
    centres : ndarray of shape (n_sites, 32)
    radii : ndarray of shape (n_sites,)
        Largest distance (Å) from a site to a vertex of its true Voronoi cell.
    """
    vectors = element_table(table)
    find_weights = matminer_weights if mode == "matminer" else voronoi_weights
    weights, radii = find_weights(crystal, sites)
    neighbours = weights / ANGSTROM_IN_BOHR @ vectors[crystal.numbers]
    return neighbours, vectors[crystal.numbers[crystal.species[sites]]], radii


@dataclass(frozen=True)
class OFMRow:
    r"""The orbital field matrix of one structure, or why there is none.

    Attributes
    ----------
    vector : ndarray of shape (1024,) or None
        As :func:`orbital_field_matrix` returns it.
    max_radius : float or None
        Largest distance (Å) from an atom to a vertex of its Voronoi cell: the radius
        of the largest empty sphere.
    log_volume : float or None
        :math:`\ln (V / \sum_i r_i^3)` with the volume of the cell and the covalent
        radii [1]_ of its atoms: the inverse of a packing density.
    error : MftscreenError or None

    References
    ----------
    .. [1] B. Cordero et al., Dalton Trans. 2832 (2008), doi:10.1039/b801115j
    """

    vector: NDArray[np.float64] | None = None
    max_radius: float | None = None
    log_volume: float | None = None
    error: MftscreenError | None = None

    @property
    def features(self) -> NDArray[np.float64] | None:
        """The matrix and the scaled volume, of shape (1025,), for a density.

        The matrix of an expanded cell shrinks as a whole, towards the many others that
        are small; only with its volume does the cell come to lie apart. None if there
        is no matrix.
        """
        if self.vector is None or self.log_volume is None:
            return None
        return np.append(self.vector, VOLUME_SCALE * self.log_volume)

    @property
    def low_dimensional(self) -> bool | None:
        """Whether there is vacuum: a cell of more than ``LOW_DIMENSIONAL_RADIUS``.

        The thickness of the vacuum then shapes the matrix, and matminer's values
        differ from the true ones. None if there is no matrix.
        """
        if self.max_radius is None:
            return None
        return self.max_radius > LOW_DIMENSIONAL_RADIUS

    @property
    def status(self) -> str:
        """``ok`` or the kind of failure."""
        return "ok" if self.error is None else self.error.status


class OFMFeaturizer:
    """Orbital field matrices of a stream of structures.

    Parameters
    ----------
    table : {"current", "paper"}, default "current"
    mode : {"exact", "matminer"}, default "exact"
        Both as in :func:`orbital_field_matrix`.
    n_jobs : int, default 1
        Number of processes, as joblib counts them: 1 works in this process, -1 in as
        many as there are cores.

    Raises
    ------
    ValueError
        If `table` or `mode` is unknown, or `n_jobs` is 0.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase.build import bulk
    >>> featurize = OFMFeaturizer()
    >>> for row in featurize([bulk("Cu"), Atoms("Cu")]):
    ...     print(row.status, row.low_dimensional)
    ok False
    unsupported_pbc None
    """

    def __init__(
        self, *, table: Table = "current", mode: Mode = "exact", n_jobs: int = 1
    ) -> None:
        _check_options(table, mode)
        if n_jobs == 0:
            msg = "n_jobs is a number of processes, or -1 for all cores; got 0"
            raise ValueError(msg)
        self.table: Table = table
        self.mode: Mode = mode
        self.n_jobs = n_jobs

    def __call__(self, structures: Iterable[Any]) -> Iterator[OFMRow]:
        """Yield one row per structure, in order.

        Parameters
        ----------
        structures : iterable of Atoms, pymatgen Structure or MftscreenError
            Read as the rows are taken; with several processes, some 300 structures
            for each are read ahead. An error in place of a structure (what a reader
            yields for one it could not parse) becomes a row with that error.

        Yields
        ------
        OFMRow

        Raises
        ------
        MftscreenError
            If a worker process dies.
        """
        n_workers = effective_n_jobs(self.n_jobs)
        if n_workers == 1:
            return (_featurize(each, self.table, self.mode) for each in structures)
        return self._in_processes(structures, n_workers)

    def _in_processes(
        self, structures: Iterable[Any], n_workers: int
    ) -> Iterator[OFMRow]:
        # not joblib.Parallel: it reads its input to the end, in another thread, however
        # slowly the rows are taken
        pending: deque[Future[list[OFMRow]]] = deque()
        slim = map(_slim, structures)
        with ProcessPoolExecutor(n_workers, env=_ONE_THREAD) as workers:
            try:
                while chunk := list(islice(slim, _CHUNK)):
                    pending.append(
                        workers.submit(_featurize_chunk, chunk, self.table, self.mode)
                    )
                    if len(pending) > _CHUNKS_AHEAD * n_workers:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            except BrokenExecutor as error:
                msg = (
                    "a worker process died while it computed orbital field matrices, "
                    "perhaps for lack of memory; use fewer processes (n_jobs)"
                )
                raise MftscreenError(msg) from error
            finally:
                for future in pending:
                    future.cancel()


def _slim(structure: Any) -> Any:
    """Return what a worker needs of a structure: no calculator, no other arrays."""
    if isinstance(structure, MftscreenError):
        return structure
    try:
        atoms = to_atoms(structure)
    except StructureError as error:
        return error
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def _featurize_chunk(structures: list[Any], table: Table, mode: Mode) -> list[OFMRow]:
    return [_featurize(structure, table, mode) for structure in structures]


def _featurize(structure: Any, table: Table, mode: Mode) -> OFMRow:
    if isinstance(structure, MftscreenError):
        return OFMRow(error=structure)
    try:
        crystal = build_crystal(to_atoms(structure))
        matrix, radius = _matrix_and_radius(crystal, table, mode)
    except StructureError as error:
        return OFMRow(error=error)
    radii = covalent_radii[crystal.numbers[crystal.species]]
    volume = abs(np.linalg.det(crystal.cell)) / np.sum(radii**3)
    return OFMRow(matrix, radius, float(np.log(volume)))
