"""Batched prediction for many structures; a structure that fails becomes a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import MftscreenError, StructureError, UnknownPropertyError
from mftscreen.model.loading import Model, Prediction, load_model
from mftscreen.model.network.backend import Device
from mftscreen.structures import to_atoms

__all__ = ["PredictionRow", "Predictor"]

CHUNK = 512
"""Structures read ahead; within a chunk those of similar size share a batch."""

ATOMS_PER_BATCH = 320
"""Padded atoms in an ``auto`` batch: enough to spread the cost of a call."""


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
        Empty if it failed.
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
    properties : sequence of str, optional
        Properties to predict; all of the model by default. Of ``mft-mini``, that model
        is loaded which predicts them.
    energy, forces : bool
        Whether to evaluate the force field too; `forces` includes the virial.
    batch_size : int or "auto"
        Structures per batch. ``auto`` limits the number of padded atoms instead, and
        halves the limit for good when memory runs out.
    device : {"auto", "cpu", "cuda"}

    Raises
    ------
    UnknownPropertyError
        If the model does not predict one of `properties`.
    ValueError
        If `batch_size` is neither ``auto`` nor positive.

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
        properties: Sequence[str] | None = None,
        energy: bool = False,
        forces: bool = False,
        batch_size: int | Literal["auto"] = "auto",
        device: Device = "auto",
    ) -> None:
        if batch_size != "auto" and batch_size < 1:
            msg = f"batch_size is 'auto' or at least 1, got {batch_size}"
            raise ValueError(msg)
        if model is None or isinstance(model, str | Path):
            model = load_model(model, properties=properties or (), device=device)
        self.model = model
        self.properties = list(model.properties if properties is None else properties)
        unknown = [name for name in self.properties if name not in model.properties]
        if unknown:
            msg = (
                f"the model does not predict {', '.join(unknown)}; "
                f"it predicts: {', '.join(model.properties)}"
            )
            raise UnknownPropertyError(msg)
        self.energy = energy or forces
        self.forces = forces
        self.batch_size = batch_size
        self._atoms_per_batch = ATOMS_PER_BATCH

    def __call__(self, structures: Iterable[Any]) -> Iterator[PredictionRow]:
        """Yield one row per structure, in order.

        Parameters
        ----------
        structures : iterable of Atoms, pymatgen Structure or MftscreenError
            Read in chunks. An error in place of a structure (what a reader yields
            for one it could not parse) becomes a failed row.

        Yields
        ------
        PredictionRow
        """
        stream = iter(structures)
        start = 0
        while chunk := list(islice(stream, CHUNK)):
            yield from self._predict_chunk(chunk, start)
            start += len(chunk)

    def _predict_chunk(self, chunk: Sequence[Any], start: int) -> list[PredictionRow]:
        rows: dict[int, PredictionRow] = {}
        usable: dict[int, Atoms] = {}
        for index, structure in enumerate(chunk, start):
            atoms = None
            try:
                if isinstance(structure, MftscreenError):
                    raise structure
                atoms = to_atoms(structure)
                self.model.check_structure(atoms, energy=self.energy)
                for name in self.properties:
                    self.model.properties[name].check_structure(atoms)
            except MftscreenError as error:
                rows[index] = _failed(index, atoms, error)
            else:
                usable[index] = atoms
        waiting = sorted(usable, key=lambda index: len(usable[index]))
        while waiting:
            size = self._next_batch_size([len(usable[i]) for i in waiting])
            batch, waiting = waiting[:size], waiting[size:]
            rows.update(zip(batch, self._predict(batch, usable), strict=True))
        return [rows[index] for index in sorted(rows)]

    def _next_batch_size(self, n_atoms: Sequence[int]) -> int:
        """Return how many of the structures, sorted by size, make the next batch."""
        if self.batch_size != "auto":
            return self.batch_size
        size = 1
        while (
            size < len(n_atoms) and (size + 1) * n_atoms[size] <= self._atoms_per_batch
        ):
            size += 1
        return size

    def _predict(
        self, batch: Sequence[int], usable: dict[int, Atoms]
    ) -> list[PredictionRow]:
        try:
            predictions = self.model.evaluate(
                [usable[index] for index in batch],
                energy=self.energy,
                derivatives=self.forces,
                properties=self.properties,
            )
        except StructureError as error:
            if len(batch) == 1:
                return [_failed(batch[0], usable[batch[0]], error)]
            return [row for index in batch for row in self._predict([index], usable)]
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if len(batch) == 1:
                message = StructureError(
                    f"{len(usable[batch[0]])} atoms do not fit into memory"
                )
                message.status = "out_of_memory"
                return [_failed(batch[0], usable[batch[0]], message)]
            half = len(batch) // 2
            n_atoms = max(len(usable[index]) for index in batch)
            self._atoms_per_batch = min(self._atoms_per_batch, half * n_atoms)
            return [
                *self._predict(batch[:half], usable),
                *self._predict(batch[half:], usable),
            ]
        return [
            _row(index, usable[index], prediction)
            for index, prediction in zip(batch, predictions, strict=True)
        ]


def _row(index: int, atoms: Atoms, prediction: Prediction) -> PredictionRow:
    values = [*prediction.properties.values(), prediction.energy or 0.0]
    if not np.isfinite(values).all():
        error = StructureError("the model's prediction is not finite")
        error.status = "not_finite"
        return _failed(index, atoms, error)
    return PredictionRow(
        index=index,
        atoms=atoms,
        properties=prediction.properties,
        energy=prediction.energy,
        forces=prediction.forces,
        virial=prediction.virial,
    )


def _failed(index: int, atoms: Atoms | None, error: MftscreenError) -> PredictionRow:
    return PredictionRow(
        index=index, atoms=atoms, status=error.status, reason=str(error)
    )


def _is_out_of_memory(error: Exception) -> bool:
    # torch raises OutOfMemoryError on a GPU and a bare RuntimeError on a CPU
    return isinstance(error, MemoryError) or any(
        text in str(error).lower()
        for text in ("out of memory", "can't allocate memory")
    )
