"""Labelled structures, and the deepmd/npy mixed-type data that deepmd-kit trains on.

Reading is in :mod:`mftscreen.data.sources`.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.data.label_report import check_units, unused_keys
from mftscreen.data.units import match_factor
from mftscreen.errors import DataError
from mftscreen.stress import stress_to_virial
from mftscreen.structures import structure_hash

__all__ = ["LabelledStructure", "force_field_labels", "write_deepmd_npy"]

LARGEST_TRAINED = 1e15
"""Of what is trained on: its square still fits into single precision."""
ENERGY_LABELS = ("energy", "force", "virial")
_TENSORS = ("stress", "virial", "virials")
_SAME_VIRIAL = 0.02
"""How much, relatively, a virial may differ from that of the stress beside it."""
OPTIONAL_LABELS = ("virial",)
"""Labels that a system may lack; deepmd-kit then leaves their loss out."""


@dataclass(frozen=True)
class LabelledStructure:
    """A structure with what is known about it.

    Attributes
    ----------
    id : str
        Where it comes from; error messages name it.
    atoms : Atoms
        Not to be changed any more.
    labels : mapping of str to ndarray
        deepmd label name to value: ``energy`` (eV), ``force`` (n_atoms, 3) in eV/Å,
        ``virial`` (3, 3) in eV, or the name of a property.
    group : str
        Rows of one group are held out together; empty for those of one id.
    """

    id: str
    atoms: Atoms
    labels: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    group: str = ""

    @cached_property
    def hash(self) -> str:
        """Of the structure alone: :func:`mftscreen.structures.structure_hash`."""
        return structure_hash(self.atoms)


def force_field_labels(atoms: Atoms) -> dict[str, NDArray[np.float64]]:
    r"""Return the force-field labels stored in an :class:`ase.Atoms`.

    Parameters
    ----------
    atoms : Atoms
        With a calculator that holds ``energy``, ``forces`` and perhaps ``stress``
        (what :func:`ase.io.read` attaches), or instead of a stress with a ``virial``
        (3, 3) in its ``info``, as QUIP and dpdata write it to extended XYZ, or
        ``virials``.

    Returns
    -------
    dict of str to ndarray
        ``energy`` (), ``force`` (n_atoms, 3) and, for a periodic structure with a
        stress or virial, ``virial`` (3, 3) :math:`= -V\sigma` in eV.

    Raises
    ------
    DataError
        If energy or forces are missing, forces are those of another number of atoms, a
        label is no number (which holds for a stress or virial that is not used, too),
        not finite, larger than ``LARGEST_TRAINED`` or said to be in another unit, or
        there are a stress and a virial that are not the same.
    """
    results = atoms.calc.results if atoms.calc is not None else {}
    missing = [name for name in ("energy", "forces") if name not in results]
    if missing:
        msg = f"a force-field frame needs energy and forces; missing {missing}"
        if others := unused_keys(atoms, {}):
            msg += f"; there is {', '.join(sorted(others))}"
        raise DataError(msg)
    check_units(atoms)
    for name in ("energy", "forces"):
        if np.asarray(results[name]).dtype == bool:
            msg = f"the label {name} is a truth value, not a number"
            raise DataError(msg)
    try:
        _check_numbers({**atoms.info, **results})
        labels = {
            "energy": np.asarray(float(results["energy"])),
            "force": np.asarray(results["forces"], dtype=float),
        }
        if (shape := labels["force"].shape) != (len(atoms), 3):
            msg = f"the forces of {len(atoms)} atoms have the shape {shape}"
            raise DataError(msg)
        if atoms.pbc.all():
            labels |= _virial(atoms, results)
    except DataError:
        raise
    except (TypeError, ValueError) as error:
        msg = f"a force-field label cannot be used: {error}"
        raise DataError(msg) from error
    for name, value in labels.items():
        if not np.isfinite(value).all():
            msg = f"the {name} label is not finite"
            raise DataError(msg)
        if (largest := np.abs(value).max(initial=0.0)) > LARGEST_TRAINED:
            msg = f"the {name} label has {largest:.6g}, beyond any physical scale"
            raise DataError(msg)
    return labels


def _check_numbers(values: Mapping[str, Any]) -> None:
    """Raise if a stress or virial is no number, for whatever it may stand."""
    for key, value in values.items():
        if key.lower() not in _TENSORS or value is None:
            continue
        if np.asarray(value).dtype.kind not in "iuf":
            name, found = key.lower(), shortened(value)
            msg = f"the label {name} is not made of numbers (found {found})"
            raise DataError(msg)


def _virial(atoms: Atoms, results: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return the virial of a stress or one that is given; raise if they differ."""
    found: dict[str, NDArray[np.float64]] = {}
    if "stress" in results:
        stress = np.asarray(results["stress"], dtype=float)
        found["stress"] = stress_to_virial(stress, atoms.get_volume())
    for name in ("virial", "virials"):
        if (given := atoms.info.get(name)) is not None:
            found[name] = np.reshape(given, (3, 3)).astype(float)
    for one, other in combinations(found, 2):
        if np.isfinite([found[one], found[other]]).all():
            _check_same(one, found[one], other, found[other])
    return {"virial": next(iter(found.values()))} if found else {}


def _check_same(
    one: str, first: NDArray[np.float64], other: str, second: NDArray[np.float64]
) -> None:
    """Raise if two virials, of a stress or given as such, are not the same."""
    apart = np.abs(first - second).max()
    largest = max(np.abs(first).max(), np.abs(second).max())
    if apart <= _SAME_VIRIAL * largest + 1e-3:
        return
    ratio = float((first * second).sum() / max((second**2).sum(), 1e-30))
    size = max(abs(ratio), 1e-30)
    unit = match_factor(max(size, 1.0 / size), "eV/Å^3", tolerance=_SAME_VIRIAL)
    hints = ["of opposite sign"] if ratio < 0.0 else []
    hints += [f"as if one were in other units ({unit})"] if unit else []
    label = "-volume*stress" if one == "stress" else f"the {one}"
    msg = (
        f"{one} and {other} contradict each other: {label} has the trace "
        f"{np.trace(first):.5g} eV, the {other} {np.trace(second):.5g} eV"
        + "".join(f", {hint}" for hint in hints)
    )
    raise DataError(msg)


def write_deepmd_npy(
    structures: Iterable[LabelledStructure],
    directory: Path,
    type_map: Sequence[str],
    label_names: Sequence[str],
) -> list[Path]:
    """Write deepmd/npy mixed-type systems, one per number of atoms.

    Parameters
    ----------
    structures : iterable of LabelledStructure
        Each with every label of `label_names`; the virial may be missing.
    directory : Path
        Replaced if it exists.
    type_map : sequence of str
        Chemical symbols; the position is the deepmd type.
    label_names : sequence of str
        Labels to write.

    Returns
    -------
    list of Path
        The systems, ordered by number of atoms. Aperiodic structures are kept in
        systems of their own, marked ``nopbc``, and so are those without a virial.

    Raises
    ------
    DataError
        If a label is missing, an element is not in `type_map`, a structure is periodic
        in some directions only, or nothing was given.
    """
    index = {symbol: number for number, symbol in enumerate(type_map)}
    groups: dict[tuple[int, bool, bool], list[LabelledStructure]] = defaultdict(list)
    for item in structures:
        missing = [
            name for name in label_names if name not in {*item.labels, *OPTIONAL_LABELS}
        ]
        if missing:
            msg = f"{item.id} has no label {', '.join(missing)}"
            raise DataError(msg)
        if item.atoms.pbc.any() and not item.atoms.pbc.all():
            msg = (
                f"{item.id} is periodic in some directions only, which deepmd-kit's "
                "trainer cannot represent; give it a cell with vacuum and full pbc"
            )
            raise DataError(msg)
        unknown = sorted(set(item.atoms.symbols) - index.keys())
        if unknown:
            msg = f"{item.id} holds {', '.join(unknown)}, not in the type map"
            raise DataError(msg)
        complete = all(name in item.labels for name in label_names)
        groups[len(item.atoms), bool(item.atoms.pbc.any()), complete].append(item)
    if not groups:
        msg = "no structures to write"
        raise DataError(msg, path=directory)
    if directory.exists():
        shutil.rmtree(directory)
    systems = []
    for key in sorted(groups):
        n_atoms, periodic, complete = key
        name = f"{n_atoms}{'' if periodic else '_nopbc'}{'' if complete else '_part'}"
        labels = [
            label for label in label_names if complete or label not in OPTIONAL_LABELS
        ]
        _write_system(directory / name, n_atoms, periodic, groups[key], index, labels)
        systems.append(directory / name)
    return systems


def _write_system(
    system: Path,
    n_atoms: int,
    periodic: bool,
    items: Sequence[LabelledStructure],
    index: Mapping[str, int],
    label_names: Sequence[str],
) -> None:
    block = system / "set.000"
    block.mkdir(parents=True)
    (system / "type_map.raw").write_text("\n".join(index) + "\n")
    (system / "type.raw").write_text("0\n" * n_atoms)
    if not periodic:
        (system / "nopbc").touch()
    types = [[index[s] for s in item.atoms.symbols] for item in items]
    np.save(block / "real_atom_types.npy", np.asarray(types, dtype=np.int64))
    coords = np.stack([item.atoms.positions.ravel() for item in items])
    np.save(block / "coord.npy", coords)
    boxes = [
        np.asarray(item.atoms.cell).ravel() if periodic else np.eye(3).ravel() * 100.0
        for item in items
    ]
    np.save(block / "box.npy", np.stack(boxes))
    for name in label_names:
        values = np.stack([np.ravel(item.labels[name]) for item in items])
        np.save(block / f"{name}.npy", values.astype(np.float64))
