"""What is known of one structure after its evaluation, as it is kept on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import dict2constraint
from ase.io.jsonio import decode, encode

from mftscreen.domain import total_charge
from mftscreen.ood.reference.novelty import Novelty, merge
from mftscreen.trust.neighborhood import Surroundings, merge_surroundings

__all__ = ["Outcome", "Relaxation", "pack_atoms", "unpack_atoms"]


_MARK, _CHARGE = b"constraints", b"charge"
"""What ends a packed structure with constraints or, behind these, with a charge;
others end in an atomic number."""


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
        Reduced, or of a molecule the whole one; empty if there is no structure.
    values : dict of str to tuple of float
        Property to the predictions of the models that have it, in their order.
    p_values : dict of str to float
        Property to the smallest p-value among its models' training sets.
    around : dict of str to Surroundings
        Property to what is around it in the spaces of its models' descriptors: the
        geometric mean of them. Missing where a model does not know that.
    descriptor_p_values : dict of str to float
        Property to the smallest p-value of a descriptor.
    unseen_elements : dict of str to list of str
        Property to the elements that one of the training sets lacks.
    refused : dict of str to str
        Property to why its models were not made for such a structure.
    doubts : dict of str to list of str
        Property to what else its models have never seen the like of.
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
    around: dict[str, Surroundings] = field(default_factory=dict)
    descriptor_p_values: dict[str, float] = field(default_factory=dict)
    unseen_elements: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    doubts: dict[str, list[str]] = field(default_factory=dict)
    unseen_pairs: list[str] = field(default_factory=list)
    no_ofm: str = ""
    far: str = ""
    low_dimensional: bool | None = None
    relaxation: Relaxation | None = None

    def with_predictions(
        self, models: Sequence[Mapping[str, tuple[float, Surroundings | None, Novelty]]]
    ) -> Outcome:
        """Return the outcome with what models say of the structure.

        Parameters
        ----------
        models : sequence of mapping
            For each model, property to its prediction, to what is around the
            structure, if that is known, and to the comparison with what it was trained
            on.

        Returns
        -------
        Outcome
        """
        values: dict[str, tuple[float, ...]] = {}
        places: dict[str, list[Surroundings | None]] = {}
        compared: dict[str, list[Novelty]] = {}
        for model in models:
            for name, (value, around, facts) in model.items():
                values[name] = (*values.get(name, ()), value)
                places.setdefault(name, []).append(around)
                compared.setdefault(name, []).append(facts)
        by_property = {name: merge(found) for name, found in compared.items()}
        every = merge([facts for model in models for *_, facts in model.values()])
        return replace(
            self,
            values=values,
            p_values={
                name: facts.p_value
                for name, facts in by_property.items()
                if facts.p_value is not None
            },
            around={
                name: merge_surroundings(known)
                for name, found in places.items()
                if len(known := [each for each in found if each]) == len(found)
            },
            descriptor_p_values={
                name: p
                for name, facts in by_property.items()
                if (p := facts.descriptor_p_value) is not None
            },
            unseen_elements={
                name: list(facts.unseen_elements) for name, facts in by_property.items()
            },
            unseen_pairs=list(every.unseen_pairs),
            no_ofm=every.no_ofm,
            far=every.far,
            low_dimensional=every.low_dimensional,
        )

    def novelty(self, names: Sequence[str]) -> Novelty:
        """Return how the structure compares with the training sets of some properties.

        Parameters
        ----------
        names : sequence of str
            Of the properties; those without a prediction count for nothing.

        Returns
        -------
        Novelty
            Its orbital pairs, and how far it is, are those of all properties.
        """
        found = [
            Novelty(
                p_value=self.p_values.get(name),
                descriptor_p_value=self.descriptor_p_values.get(name),
                unseen_elements=tuple(self.unseen_elements.get(name, ())),
                doubts=tuple(self.doubts.get(name, ())),
            )
            for name in names
        ]
        return replace(
            merge(found),
            far=self.far,
            unseen_pairs=tuple(self.unseen_pairs),
            no_ofm=self.no_ofm,
            low_dimensional=self.low_dimensional,
        )

    def to_json(self) -> str:
        """Return the outcome as JSON, with every digit of its numbers."""
        # not asdict, which copies every list and is most of the work
        relaxation = self.relaxation and vars(self.relaxation)
        found = {**vars(self), "relaxation": relaxation}
        return json.dumps(found, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Return the outcome that :meth:`to_json` wrote."""
        found: dict[str, Any] = json.loads(text)
        if found["relaxation"] is not None:
            found["relaxation"] = Relaxation(**found["relaxation"])
        found["values"] = {key: tuple(v) for key, v in found["values"].items()}
        around = found.get("around", {})
        found["around"] = {key: Surroundings(*pair) for key, pair in around.items()}
        return cls(**found)


def pack_atoms(atoms: Atoms) -> bytes:
    """Return numbers, positions, cell and pbc of a structure, every digit of them.

    Constraints and a charge, if there are any, follow.
    """
    lengths = np.concatenate([np.asarray(atoms.cell), atoms.positions])
    packed = b"".join(
        (
            np.asarray(atoms.pbc, dtype="?").tobytes(),
            lengths.astype("<f8").tobytes(),
            atoms.numbers.astype("<i4").tobytes(),
        )
    )
    if atoms.constraints:
        constraints = [constraint.todict() for constraint in atoms.constraints]
        n_packed = len(packed).to_bytes(8, "little")
        packed += str(encode(constraints)).encode() + n_packed + _MARK
    if charge := total_charge(atoms):
        packed += np.array(charge, dtype="<f8").tobytes() + _CHARGE
    return packed


def unpack_atoms(content: bytes) -> Atoms:
    """Return the structure that :func:`pack_atoms` packed.

    Raises
    ------
    ValueError
        If that is not what `content` is.
    """
    constraints, info = b"[]", {}
    if content.endswith(_CHARGE):
        content = content.removesuffix(_CHARGE)
        info["charge"] = float(np.frombuffer(content[-8:], dtype="<f8")[0])
        content = content[:-8]
    if content.endswith(_MARK):
        end = len(content) - len(_MARK) - 8
        n_packed = int.from_bytes(content[end : end + 8], "little")
        content, constraints = content[:n_packed], content[n_packed:end]
    n_atoms, rest = divmod(len(content) - 75, 28)  # 3 + 9 * 8, 3 * 8 + 4
    if rest or n_atoms < 0:
        msg = f"{len(content)} bytes are no packed structure"
        raise ValueError(msg)
    lengths = np.frombuffer(content, dtype="<f8", count=3 * n_atoms + 9, offset=3)
    cell, positions = np.split(lengths.reshape(-1, 3), [3])
    numbers = np.frombuffer(content, dtype="<i4", offset=75 + 24 * n_atoms)
    pbc = np.frombuffer(content, dtype="?", count=3)
    atoms = Atoms(numbers, positions, cell=cell, pbc=pbc, info=info)
    if constraints != b"[]":
        atoms.set_constraint([dict2constraint(c) for c in decode(constraints.decode())])
    return atoms
