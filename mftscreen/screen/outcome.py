"""What is known of one structure after its evaluation, as it is kept on disk."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

from ase import Atoms
from ase.io.jsonio import decode, encode

__all__ = ["Outcome", "Relaxation", "pack_atoms", "unpack_atoms"]


@dataclass(frozen=True)
class Relaxation:
    """How a relaxation went.

    Attributes
    ----------
    converged : bool
    steps : int
    fmax : float
        Largest force in eV/Å at the end.
    volume_change : float
        Relative to the volume before; 0 without a cell filter.
    """

    converged: bool
    steps: int
    fmax: float
    volume_change: float


@dataclass(frozen=True)
class Outcome:
    """The evaluation of one structure; nothing in it depends on how it is ranked.

    Attributes
    ----------
    status : str
        ``ok`` or the kind of failure.
    reason : str
        Why it failed, or what to know about the relaxation.
    formula : str
        Reduced formula; empty if there is no structure.
    values : dict of str to tuple of float
        Property to the predictions of the models that have it, in their order.
    p_values : dict of str to float
        Property to the smallest p-value among its models' training sets.
    unseen_elements : dict of str to list of str
        Property to the elements that one of the training sets lacks.
    unseen_pairs : list of str
        Orbital pairs that one of the training sets lacks.
    no_ofm : str
        Why there is no orbital field matrix; empty if there is one.
    far : str
        How far it is from the training set that it is furthest from; empty if near.
    low_dimensional : bool or None
    relaxation : Relaxation or None
    """

    status: str = "ok"
    reason: str = ""
    formula: str = ""
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)
    p_values: dict[str, float] = field(default_factory=dict)
    unseen_elements: dict[str, list[str]] = field(default_factory=dict)
    unseen_pairs: list[str] = field(default_factory=list)
    no_ofm: str = ""
    far: str = ""
    low_dimensional: bool | None = None
    relaxation: Relaxation | None = None

    def to_json(self) -> str:
        """Return the outcome as JSON, with every digit of its numbers."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Return the outcome that :meth:`to_json` wrote."""
        found: dict[str, Any] = json.loads(text)
        if found["relaxation"] is not None:
            found["relaxation"] = Relaxation(**found["relaxation"])
        found["values"] = {key: tuple(v) for key, v in found["values"].items()}
        return cls(**found)


def pack_atoms(atoms: Atoms) -> bytes:
    """Return numbers, positions, cell and pbc of a structure, compressed."""
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    return zlib.compress(encode(bare).encode(), level=1)


def unpack_atoms(content: bytes) -> Atoms:
    """Return the structure that :func:`pack_atoms` packed."""
    atoms: Atoms = decode(zlib.decompress(content).decode())
    return atoms
