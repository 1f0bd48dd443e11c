"""Batches of frames that are read as training goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols

from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import TrainingError
from mftscreen.finetune.stream.reader import StreamReader
from mftscreen.finetune.stream.spec import Stream, read_streams

__all__ = ["StreamedBatches", "open_streams"]

_FOUND = np.float32(1.0)
_LABELS = ("energy", "force", "virial")
Kind = tuple[int, bool, bool]
"""Number of atoms, whether periodic, and whether there is a virial."""


def open_streams(
    directory: Path,
    config: Mapping[str, Any],
    training_data: Mapping[str, Any],
    rank: int,
    world_size: int,
) -> dict[str, StreamedBatches]:
    """Return what takes the place of deepmd-kit's loaders of some heads.

    Parameters
    ----------
    directory : Path
        With ``streams.json``, if there are any.
    config : mapping
        deepmd-kit's training input.
    training_data : mapping
        deepmd-kit's loaders of the samples, by head.
    rank, world_size : int
        Of this process, and how many there are.

    Returns
    -------
    dict of str to StreamedBatches
    """
    training = config["training"]
    batches = {}
    for head, stream in read_streams(directory).items():
        rule = str(training["data_dict"][head]["training_data"]["batch_size"])
        batches[head] = StreamedBatches(
            stream,
            training_data[head][0],
            config["model"]["model_dict"][head]["type_map"],
            int(rule.removeprefix("auto:")),
            int(training["seed"]) * world_size + rank,
        )
    return batches


class StreamedBatches(Iterator[dict[str, Any]]):
    """Batches as deepmd-kit's loaders give them, of frames drawn from files.

    All frames of a batch have the same number of atoms and the same labels: frames wait
    for others of their kind, and the batch that is full first comes next. So each frame
    is drawn as often as any other, and at most one unfinished batch of each kind is in
    memory.

    Parameters
    ----------
    stream : Stream
    example : mapping
        A batch of deepmd-kit's loader; keys that a stream has not are filled as there.
    type_map : sequence of str
    n_atoms : int
        At least so many are in a batch (deepmd-kit's ``auto:N``).
    seed : int
        The batches depend on it alone.
    """

    def __init__(
        self,
        stream: Stream,
        example: Mapping[str, Any],
        type_map: Sequence[str],
        n_atoms: int,
        seed: int,
    ) -> None:
        self._reader = StreamReader(stream)
        self._frames = self._reader.training_frames(seed)
        self._example = example
        self._n_types, self._n_atoms = len(type_map), n_atoms
        self._types = np.full(len(chemical_symbols), -1)
        for kind, symbol in enumerate(type_map):
            self._types[chemical_symbols.index(symbol)] = kind
        self._waiting: dict[Kind, list[LabelledStructure]] = {}

    @property
    def counts(self) -> Counter[str]:
        """How many frames were drawn, were used, and were left out for which reason."""
        return self._reader.counts

    @property
    def elements(self) -> set[str]:
        """Those of the frames that were used."""
        return self._reader.elements

    def __next__(self) -> dict[str, Any]:
        for frame in self._frames:
            atoms = frame.atoms
            kind = (len(atoms), bool(atoms.pbc.any()), "virial" in frame.labels)
            waiting = self._waiting.setdefault(kind, [])
            waiting.append(frame)
            if len(waiting) * len(atoms) >= self._n_atoms:
                return self._batch(self._waiting.pop(kind), kind)
        msg = "a stream of frames has ended"  # it never does
        raise TrainingError(msg)

    def _batch(self, frames: Sequence[LabelledStructure], kind: Kind) -> dict[str, Any]:
        n_atoms, periodic, has_virial = kind
        n_frames = len(frames)
        types = np.stack([self._types[frame.atoms.numbers] for frame in frames])
        counts = np.stack([np.bincount(t, minlength=self._n_types) for t in types])
        sizes = np.full((n_frames, 2), n_atoms)
        known: dict[str, Any] = {
            "coord": _stacked([frame.atoms.positions for frame in frames]),
            "box": _stacked([frame.atoms.cell.array.ravel() for frame in frames])
            if periodic
            else None,
            "atype": torch.as_tensor(types, dtype=torch.int32),
            "natoms": self._n_atoms_vector(n_frames, n_atoms),
            "real_natoms_vec": torch.as_tensor(
                np.concatenate([sizes, counts], axis=1), dtype=torch.int32
            ),
            "fid": [0] * n_frames,
            "sid": 0,
        }
        for label in _LABELS[: 3 if has_virial else 2]:
            values = _stacked([frame.labels[label] for frame in frames])
            known[f"find_{label}"] = _FOUND
            known[label] = values if label == "force" else values.reshape(n_frames, -1)
        if not has_virial:
            known["find_virial"] = np.float32(0.0)
            known["virial"] = torch.zeros((n_frames, 9), dtype=torch.float64)
        return {
            key: known[key] if key in known else _filled(value, n_frames, n_atoms)
            for key, value in self._example.items()
        }

    def _n_atoms_vector(self, n_frames: int, n_atoms: int) -> torch.Tensor:
        """Return what deepmd-kit says of a mixed-type system: all atoms of one type."""
        row = [n_atoms, n_atoms, n_atoms, *[0] * (self._n_types - 1)]
        return torch.tensor([row] * n_frames, dtype=torch.int32)


def _stacked(values: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
    return torch.as_tensor(np.stack(values), dtype=torch.float64)


def _filled(value: Any, n_frames: int, n_atoms: int) -> Any:
    """Return what deepmd-kit fills in for a label that there is not, in this size."""
    if not isinstance(value, torch.Tensor):
        return value  # tells that it is not there
    shape = (n_frames, n_atoms) if value.ndim > 2 else (n_frames,)
    rest = value.shape[len(shape) :]
    return value.flatten()[0].expand(*shape, *rest).clone()
