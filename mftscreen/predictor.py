"""Batched prediction for many structures; a structure that fails becomes a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.data.memory import is_structure
from mftscreen.errors import MftscreenError, StructureError
from mftscreen.model.domain_check import DomainCheck
from mftscreen.model.loaded_model import Model, Prediction
from mftscreen.model.loading import open_model
from mftscreen.model.network.backend import Device
from mftscreen.model.network.many import BatchLimit, evaluate_many
from mftscreen.properties import as_names, choose_properties
from mftscreen.structures import to_atoms
from mftscreen.trust.neighborhood import Surroundings

__all__ = ["PredictionRow", "Predictor"]

CHUNK = 512
"""Structures read ahead; within a chunk those of similar size share a batch."""


@dataclass(frozen=True)
class PredictionRow:
    """The outcome for one structure.

    Attributes
    ----------
    index : int
        Position in the input.
    atoms : Atoms or None
        The structure; None if the input could not even be converted.
    status : str
        ``ok`` or the kind of failure.
    reason : str
        Why it failed; empty if it did not.
    properties : dict of str to float
        Empty if it failed; without what is refused.
    refused : dict of str to str
        Property, or ``energy``, to why a value would mean nothing for such a structure.
    unseen_elements, doubts : dict of str to tuple of str
        Property to the elements that its head never saw; property, or ``energy``, to
        what else it has never seen the like of. Values are worth little there.
    around : dict of str to Surroundings
        Property to what is around the structure in the space of the model's descriptor,
        where the model knows that.
    errors : dict of str to float
        Absolute errors to expect of properties, where the model knows that, in their
        units.
    energy : float or None
        In eV, if asked for.
    forces : ndarray of shape (n_atoms, 3) or None
        In eV/Å, if asked for.
    virial : ndarray of shape (3, 3) or None
        In eV, if asked for; the stress is ``-virial / volume``.
    """

    index: int
    atoms: Atoms | None
    status: str = "ok"
    reason: str = ""
    properties: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unseen_elements: dict[str, tuple[str, ...]] = field(default_factory=dict)
    doubts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    around: dict[str, Surroundings] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    energy: float | None = None
    forces: NDArray[np.float64] | None = None
    virial: NDArray[np.float64] | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a prediction."""
        return self.status == "ok"


class Predictor:
    """Evaluate a stream of structures in mixed batches.

    Parameters
    ----------
    model : str, Path or Model, optional
        As for :class:`mftscreen.MFTCalculator`.
    properties : str or sequence of str, optional
        Properties to predict, by name or meaning (``refractive index``), or the name
        of one with components for all of these; all of the model by default. Of
        ``mft-mini``, that model is loaded which predicts them.
    energy, forces : bool
        Whether to evaluate the force field too; `forces` includes the virial.
    check_domain : bool, default True
        Whether to refuse what heads were not made for: a structure of another kind (a
        molecule, where the property's training set has crystals), and the energy of
        elements that the force field never saw. Otherwise these are doubts.
    batch_size : int or "auto"
        Structures per batch; ``auto`` limits the number of padded atoms instead. The
        limit is halved for good when memory runs out.
    device : {"auto", "cpu", "cuda"}

    Raises
    ------
    UnknownPropertyError
        If the model does not predict one of `properties`.
    ValueError
        If `batch_size` is neither ``auto`` nor positive, or `check_domain` is False for
        a model that is loaded already and not lenient.

    Examples
    --------
    >>> from ase.build import bulk
    >>> predictor = Predictor(properties=["dielectric"])  # doctest: +SKIP
    >>> rows = list(predictor([bulk("Si"), bulk("Ge")]))  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path | Model | None = None,
        *,
        properties: str | Sequence[str] | None = None,
        energy: bool = False,
        forces: bool = False,
        check_domain: bool = True,
        batch_size: int | Literal["auto"] = "auto",
        device: Device = "auto",
    ) -> None:
        sized = isinstance(batch_size, Integral) and batch_size >= 1
        if batch_size != "auto" and not sized:
            msg = f"batch_size is 'auto' or at least 1, got {batch_size!r}"
            raise ValueError(msg)
        asked = as_names(properties)
        self.model = model = open_model(
            model, properties=asked, check_domain=check_domain, device=device
        )
        names = model.properties if properties is None else asked
        self.properties = choose_properties(
            names, model.properties, energy=model.has_energy
        )
        self.energy = energy or forces
        self.forces = forces
        self._limit = BatchLimit(
            structures=None if batch_size == "auto" else batch_size
        )

    def __call__(self, structures: Iterable[Any]) -> Iterator[PredictionRow]:
        """Yield one row per structure, in order.

        Parameters
        ----------
        structures : iterable of Atoms, pymatgen Structure or MftscreenError
            Or a single one. Read in chunks. An error in place of a structure (what a
            reader yields for one it could not parse) becomes a failed row.

        Yields
        ------
        PredictionRow
        """
        stream = iter([structures] if is_structure(structures) else structures)
        start = 0
        while chunk := list(islice(stream, CHUNK)):
            yield from self._predict_chunk(chunk, start)
            start += len(chunk)

    def _predict_chunk(self, chunk: Sequence[Any], start: int) -> list[PredictionRow]:
        rows: dict[int, PredictionRow] = {}
        usable: dict[int, Atoms] = {}
        checks: dict[int, DomainCheck] = {}
        # those of which the same properties are refused share batches: mostly all
        groups: dict[tuple[tuple[str, ...], bool], list[int]] = {}
        for index, structure in enumerate(chunk, start):
            atoms = None
            try:
                if isinstance(structure, MftscreenError):
                    raise structure
                atoms = to_atoms(structure)
                # distances are looked at in the evaluation
                self.model.check_structure(atoms, distances=False)
                check = self.model.judge_domain(
                    atoms, self.properties, energy=self.energy
                )
                names = tuple(n for n in self.properties if n not in check.refused)
                energy = self.energy and "energy" not in check.refused
                if check.refused and not names and not energy:
                    raise _join(list(check.refused.values()))
            except MftscreenError as error:
                rows[index] = _failed(index, atoms, error)
            else:
                usable[index], checks[index] = atoms, check
                groups.setdefault((names, energy), []).append(index)
        for (names, energy), indices in groups.items():
            sound = [usable[index] for index in indices]
            evaluate = partial(self._evaluate, properties=names, energy=energy)
            for k, result in evaluate_many(evaluate, sound, self._limit):
                index = indices[k]
                rows[index] = _row(index, usable[index], result, checks[index])
        return [rows[index] for index in sorted(rows)]

    def _evaluate(
        self, structures: Sequence[Atoms], properties: Sequence[str], *, energy: bool
    ) -> list[Prediction]:
        return self.model.evaluate(
            structures,
            energy=energy,
            derivatives=self.forces and energy,
            properties=properties,
        )


def _row(
    index: int,
    atoms: Atoms,
    prediction: Prediction | StructureError,
    check: DomainCheck,
) -> PredictionRow:
    if isinstance(prediction, StructureError):
        return _failed(index, atoms, prediction)
    values = [*prediction.properties.values(), prediction.energy or 0.0]
    if not np.isfinite(values).all():
        error = StructureError("the model's prediction is not finite")
        error.status = "not_finite"
        return _failed(index, atoms, error)
    return PredictionRow(
        index=index,
        atoms=atoms,
        properties=prediction.properties,
        refused={name: str(error) for name, error in check.refused.items()},
        unseen_elements=check.unseen_elements,
        doubts=check.doubts,
        around=prediction.around,
        errors=prediction.errors,
        energy=prediction.energy,
        forces=prediction.forces,
        virial=prediction.virial,
    )


def _failed(index: int, atoms: Atoms | None, error: MftscreenError) -> PredictionRow:
    return PredictionRow(
        index=index, atoms=atoms, status=error.status, reason=str(error)
    )


def _join(errors: Sequence[StructureError]) -> StructureError:
    """Return one error that says what several do, of the kind of the first."""
    return type(errors[0])("; ".join(dict.fromkeys(map(str, errors))))
