"""Relaxation of many structures, each by its own optimiser, by one batched model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import StructureError, UnknownPropertyError
from mftscreen.model.loaded_model import Model
from mftscreen.predictor import PredictionRow, Predictor
from mftscreen.screen.relax.coordinates import Coordinates
from mftscreen.screen.relax.settings import OptimizerName, RelaxSettings
from mftscreen.structures import check_structure, without_calculator

__all__ = ["RelaxResult", "RelaxSettings", "Relaxer"]

POOL = 64
"""Structures that are relaxed at a time; one that is done makes room for the next."""

LOOKAHEAD = 8 * POOL
"""Structures that are relaxed or kept because one before them is not done yet."""

MAX_FORCE = 1e3
"""A force beyond this (eV/Å) is taken for an explosion."""

VOLUME_RANGE = (0.3, 3.0)
"""Volumes beyond this, relative to the start, are taken for an explosion."""

MAX_DISPLACEMENT = 5.0
"""An atom this far (Å) from its start belongs to another structure."""


@dataclass(frozen=True)
class RelaxResult:
    """The outcome for one structure.

    Attributes
    ----------
    atoms : Atoms
        The relaxed structure, without calculator; where relaxation failed, a copy of
        the structure that was given.
    converged : bool
        Whether the forces have fallen below ``fmax``.
    steps : int
        Steps of the optimiser.
    fmax : float
        Largest force (eV/Å) at the end; NaN if there are no forces.
    volume_change : float
        Relative to the start. Where not all directions are periodic, that of the area
        or length which is; 0 without a cell filter.
    energy : float or None
        In eV, at the end; None if relaxation failed.
    status : str
        ``ok``, also if not converged; ``relaxation_failed`` if the structure exploded,
        drifted apart or could not be evaluated on its way; otherwise why it could not
        be evaluated at all.
    reason : str
        Why it failed or has not converged; else empty.
    forces : ndarray of shape (n_atoms, 3) or None
        In eV/Å, at the end.
    virial : ndarray of shape (3, 3) or None
        In eV, at the end; zero if a foreign calculator had no need of it.
    """

    atoms: Atoms
    converged: bool
    steps: int
    fmax: float
    volume_change: float
    energy: float | None
    status: str = "ok"
    reason: str = ""
    forces: NDArray[np.float64] | None = None
    virial: NDArray[np.float64] | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a relaxed structure."""
        return self.status == "ok"


class Relaxer:
    """Relax a stream of structures; all that are on their way share a batch.

    Parameters
    ----------
    model : Model
        With energies, unless `settings` name another relaxer.
    settings : RelaxSettings, optional

    Raises
    ------
    UnknownPropertyError
        If the model has no energies, or the calculator no forces or, for a cell
        filter, no stress.
    ConfigError
        If the relaxer cannot be loaded; see
        :func:`mftscreen.screen.relax.foreign.load_factory`.

    Notes
    -----
    Each structure has an optimiser of its own, which takes one step per evaluation. A
    model evaluates up to ``POOL`` structures at a time, another calculator one after
    the other. Where one structure explodes the others go on.

    Examples
    --------
    >>> relaxer = Relaxer(load_model(), RelaxSettings(fmax=0.02))  # doctest: +SKIP
    >>> relaxed = [result.atoms for result in relaxer(structures)]  # doctest: +SKIP
    """

    def __init__(self, model: Model, settings: RelaxSettings | None = None) -> None:
        self.settings = settings or RelaxSettings()
        self._evaluate: Callable[[Sequence[Atoms]], Iterable[PredictionRow]]
        self._check: Callable[[Atoms], None]
        if self.settings.relaxer is not None:
            from mftscreen.screen.relax.foreign import ForeignForces, load_factory

            foreign = ForeignForces(
                load_factory(self.settings.relaxer),
                stress=self.settings.cell_filter != "none",
            )
            self._evaluate = foreign
            self._check = partial(check_structure, elements=foreign.elements)
            # it may start from what it found for the structure's last step
            self._pool = 1
            return
        if not model.has_energy:
            msg = "the model has no energy head, so it cannot relax structures"
            raise UnknownPropertyError(msg)
        self._evaluate = Predictor(model, properties=[], forces=True)
        self._check = partial(model.check_structure, energy=True)
        self._pool = POOL

    def __call__(self, structures: Iterable[Atoms]) -> Iterator[RelaxResult]:
        """Yield one result per structure, in order.

        Parameters
        ----------
        structures : iterable of Atoms
            Read as there is room; not changed.

        Yields
        ------
        RelaxResult
        """
        stream = enumerate(structures)
        active: dict[int, _Relaxation] = {}
        done: dict[int, RelaxResult] = {}
        first = 0  # of those that have not been yielded
        while True:
            room = min(self._pool, LOOKAHEAD - len(done)) - len(active)
            for index, atoms in islice(stream, room):
                try:
                    self._check(atoms)
                except StructureError as error:
                    done[index] = _rejected(atoms, error)
                else:
                    active[index] = _Relaxation(atoms, self.settings)
            if not active and not done:
                return
            rows = self._evaluate([run.atoms for run in active.values()])
            for index, row in zip(list(active), rows, strict=True):
                result = active[index].advance(row)
                if result is not None:
                    done[index] = result
                    del active[index]
            while first in done:
                yield done.pop(first)
                first += 1


class _Relaxation:
    """One structure on its way."""

    def __init__(self, atoms: Atoms, settings: RelaxSettings) -> None:
        self.given = atoms
        self.settings = settings
        self.atoms = without_calculator(atoms)
        self.coordinates = Coordinates(
            self.atoms, relax_cell=settings.cell_filter == "frechet"
        )
        self.optimizer = _optimizer_class(settings.optimizer)(
            self.coordinates, logfile=None
        )
        self.steps = 0

    def advance(self, row: PredictionRow) -> RelaxResult | None:
        """Take a step, or return the result if there is none to be taken."""
        trouble = row.reason or self._trouble(row)
        if trouble:
            return self._failed(trouble)
        assert row.energy is not None
        assert row.forces is not None
        assert row.virial is not None
        try:
            # what overflows is found by the checks on the next geometry
            with np.errstate(all="ignore"):
                self.coordinates.set_derivatives(row.energy, row.forces, row.virial)
                fmax = self.coordinates.largest_force
                converged = fmax < self.settings.fmax
                if not converged and self.steps < self.settings.steps:
                    self.optimizer.step()
                    self.steps += 1
                    return None
        except (ArithmeticError, ValueError) as error:  # LinAlgError among them
            return self._failed(f"the optimiser failed: {error}")
        reason = (
            f"not converged in {self.steps} steps: the largest force is "
            f"{fmax:.3g} eV/Å, asked for was {self.settings.fmax:g}"
        )
        return RelaxResult(
            atoms=self.atoms,
            converged=converged,
            steps=self.steps,
            fmax=fmax,
            volume_change=self.coordinates.volume_change,
            energy=row.energy,
            reason="" if converged else reason,
            forces=row.forces,
            virial=row.virial,
        )

    def _trouble(self, row: PredictionRow) -> str:
        """Return what is wrong with the structure by now; empty if nothing is."""
        assert row.energy is not None
        assert row.forces is not None
        assert row.virial is not None
        found = (row.energy, *row.forces.flat, *row.virial.flat)
        if not np.isfinite(found).all():
            return "energy, forces or stress are not finite"
        force = np.linalg.norm(row.forces, axis=1).max()
        if force > MAX_FORCE:
            return f"a force of {force:.3g} eV/Å; at most {MAX_FORCE:g} is expected"
        ratio = 1 + self.coordinates.volume_change
        if not VOLUME_RANGE[0] <= ratio <= VOLUME_RANGE[1]:
            low, high = VOLUME_RANGE
            return f"the volume is {ratio:.3g} times the first; {low} to {high} is kept"
        way = self.coordinates.largest_displacement
        if way > MAX_DISPLACEMENT:
            return f"an atom has gone {way:.3g} Å; at most {MAX_DISPLACEMENT:g} is kept"
        return ""

    def _failed(self, trouble: str) -> RelaxResult:
        return RelaxResult(
            atoms=without_calculator(self.given),
            converged=False,
            steps=self.steps,
            fmax=self.coordinates.largest_force,
            volume_change=0.0,
            energy=None,
            status="relaxation_failed",
            reason=f"relaxation stopped at step {self.steps}: {trouble}",
        )


def _rejected(atoms: Atoms, error: StructureError) -> RelaxResult:
    return RelaxResult(
        atoms=without_calculator(atoms),
        converged=False,
        steps=0,
        fmax=math.nan,
        volume_change=0.0,
        energy=None,
        status=error.status,
        reason=str(error),
    )


def _optimizer_class(name: OptimizerName) -> Any:
    from ase.optimize import BFGS, FIRE, LBFGS

    return {"fire": FIRE, "bfgs": BFGS, "lbfgs": LBFGS}[name]
