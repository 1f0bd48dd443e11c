"""Auxiliary data made of the downstream structures and the pretrained model itself.

Multi-task fine-tuning trains a force field beside the property, on data like those of
pretraining. Where these cannot be had, the pretrained model can label frames itself:
what it knew before fine-tuning is then what it is asked to keep. This goes beyond
arXiv:2601.08486, whose auxiliary data are always the pretraining set's own; it is
rehearsal with pseudo-patterns [1]_.

References
----------
.. [1] A. Robins, Connection Science 7, 123 (1995), doi:10.1080/09540099550039318
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import covalent_radii

from mftscreen.console.progress import progress_bar
from mftscreen.data.dataset import LabelledStructure, force_field_labels
from mftscreen.data.sources import read_force_field
from mftscreen.errors import DataError, StructureError
from mftscreen.finetune.config.auxiliary import SelfReplayConfig
from mftscreen.model.network.backend import DeepmdNetwork, Evaluation
from mftscreen.model.network.many import evaluate_many
from mftscreen.stress import virial_to_stress
from mftscreen.structures import check_sites, find_separate_neighbors
from mftscreen.writing import cache_folder, replacing

__all__ = ["PARENT", "Teacher", "label_frames", "perturb_structures"]

PARENT = "parent"
"""Key in ``info``: hash of the structure that a frame was made of."""

MAX_FORCE = 30.0
"""eV/Å; frames with larger forces are far from anything a force field knows."""

MIN_OVERLAP = 0.6
"""Of the sum of two covalent radii; closer atoms overlap."""

FORMAT = 1
"""Another number when the same model would label the same frames otherwise."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Teacher:
    """The pretrained model that labels frames.

    Attributes
    ----------
    state : mapping
        Of its checkpoint.
    sha256 : str
        Of its file.
    head : str
        The force-field head.
    """

    state: Mapping[str, Any]
    sha256: str
    head: str


def perturb_structures(
    rows: Iterable[LabelledStructure], settings: SelfReplayConfig
) -> list[LabelledStructure]:
    """Rattle and strain structures.

    Parameters
    ----------
    rows : iterable of LabelledStructure
        A structure that stands twice is taken once. Only a cell that is periodic in all
        directions is strained.
    settings : SelfReplayConfig

    Returns
    -------
    list of LabelledStructure
        Without labels; ``info["parent"]`` is the hash of the structure each is made of.

    Notes
    -----
    The strain is the symmetric part of a matrix of normal random numbers, applied to
    cell and atoms alike; then every coordinate is displaced at random.
    """
    rng = np.random.default_rng(settings.seed)
    parents = {row.hash: row.atoms for row in rows}
    frames = []
    for parent, atoms in parents.items():
        for number in range(settings.per_structure):
            frame = Atoms(
                atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc
            )
            if frame.pbc.all():
                strain = rng.normal(scale=settings.strain, size=(3, 3))
                deformation = np.eye(3) + (strain + strain.T) / 2.0
                frame.set_cell(frame.cell @ deformation, scale_atoms=True)
            frame.positions += rng.normal(scale=settings.rattle, size=(len(frame), 3))
            frame.info[PARENT] = parent
            frames.append(LabelledStructure(f"{parent[:12]}#{number}", frame))
    return frames


def label_frames(
    frames: Sequence[LabelledStructure],
    teacher: Teacher,
    *,
    progress: bool = False,
) -> list[LabelledStructure]:
    """Label frames by the pretrained model's own force-field head.

    They are kept in the cache folder (:func:`mftscreen.writing.cache_folder`), where
    all runs find them that need the same frames labelled by the same model.

    Parameters
    ----------
    frames : sequence of LabelledStructure
    teacher : Teacher
    progress : bool
        Whether to show progress on stderr.

    Returns
    -------
    list of LabelledStructure
        With ``energy``, ``force`` and, if periodic, ``virial``. Frames that the model
        cannot represent, whose atoms overlap or with a force of more than 30 eV/Å are
        left out, and counted in the log.

    Raises
    ------
    DataError
        If no frame is left.
    UnknownHeadError
        If the model has no force-field head of this name.
    """
    path = _place(frames, teacher)
    labelled = None if path is None else _find(path)
    if labelled is None:
        labelled = _label(frames, teacher, progress)
        if path is not None:
            _keep(labelled, path)
    return [
        LabelledStructure(f"self_replay#{k}", atoms, force_field_labels(atoms))
        for k, atoms in enumerate(labelled)
    ]


def _label(
    frames: Sequence[LabelledStructure], teacher: Teacher, progress: bool
) -> list[Atoms]:
    """Return the frames that can be used, with the model's results."""
    network = DeepmdNetwork(teacher.state)
    dropped: Counter[str] = Counter()
    sound = []
    for frame in frames:
        fault = _fault(frame.atoms, network.type_map)
        if fault:
            dropped[fault] += 1
        else:
            sound.append(frame)
    labelled = _evaluate(sound, network, teacher.head, dropped, progress)
    log.info(
        "self-replay: %d of %d frames labelled by head %r%s",
        len(labelled),
        len(frames),
        teacher.head,
        "".join(f"; {n} dropped: {reason}" for reason, n in dropped.items()),
    )
    if not labelled:
        reasons = ", ".join(f"{n}: {reason}" for reason, n in dropped.items())
        msg = (
            f"self_replay: none of {len(frames)} frames can be used ({reasons}); "
            "rattle or strain less"
        )
        raise DataError(msg)
    return labelled


def _place(frames: Sequence[LabelledStructure], teacher: Teacher) -> Path | None:
    """Return where labelled frames are kept; None if there is no home."""
    try:
        folder = cache_folder() / "self_replay"
    except RuntimeError as error:
        log.info("self-replay: labelled frames are not kept: %s", error)
        return None
    return folder / f"{FORMAT}-{_key(frames, teacher)[:32]}.traj"


def _find(path: Path) -> list[Atoms] | None:
    """Return labelled frames that were kept, if there are any."""
    if not path.exists():
        return None
    try:
        found = [frame.atoms for frame in read_force_field(path)]
    except DataError as error:  # it is the same again when it is made anew
        log.info(
            "self-replay: labelled frames that were kept cannot be read: %s", error
        )
        return None
    log.info("self-replay: labelled frames are in %s", path)
    return found


def _key(frames: Sequence[LabelledStructure], teacher: Teacher) -> str:
    digest = hashlib.sha256(teacher.sha256.encode())
    # the head's own name does not tell: a new model may call another one so
    prefix = f"model.{teacher.head}."
    for name, value in teacher.state.items():
        if name.startswith(prefix):
            digest.update(name.removeprefix(prefix).encode())
            digest.update(value.detach().cpu().numpy().tobytes())
    for frame in frames:
        digest.update(frame.hash.encode())
    return digest.hexdigest()


def _fault(atoms: Atoms, elements: Sequence[str]) -> str | None:
    try:
        check_sites(atoms, elements)
        radii = covalent_radii[atoms.numbers]
        pairs = find_separate_neighbors(atoms, 2.0 * float(radii.max()))
    except StructureError as error:
        return error.status
    first, second, _, distances = pairs
    if (distances < MIN_OVERLAP * (radii[first] + radii[second])).any():
        return "overlapping atoms"
    return None


def _evaluate(
    frames: Sequence[LabelledStructure],
    network: DeepmdNetwork,
    head: str,
    dropped: Counter[str],
    progress: bool,
) -> list[Atoms]:
    """Return frames with results, in their order; count those with large forces."""
    found: dict[int, Evaluation | StructureError] = {}
    evaluate = partial(network.evaluate, energy_head=head)
    with progress_bar(
        shown=progress, desc="self-replay", total=len(frames), unit="frame"
    ) as bar:
        for k, result in evaluate_many(evaluate, [frame.atoms for frame in frames]):
            found[k] = result
            bar.update()
    labelled = []
    for k, frame in enumerate(frames):
        result = found[k]
        if isinstance(result, StructureError):
            dropped[result.status] += 1
            continue
        assert result.forces is not None
        # written so that NaN is refused, too
        if not np.linalg.norm(result.forces, axis=1).max() <= MAX_FORCE:
            dropped[f"a force of more than {MAX_FORCE:g} eV/Å"] += 1
        else:
            labelled.append(_with_results(frame.atoms, result))
    return labelled


def _with_results(atoms: Atoms, result: Evaluation) -> Atoms:
    results = {"energy": result.energy, "forces": result.forces}
    if atoms.pbc.all():
        assert result.virial is not None
        results["stress"] = virial_to_stress(result.virial, atoms.get_volume())
    labelled = atoms.copy()
    labelled.calc = SinglePointCalculator(labelled, **results)
    return labelled


def _keep(frames: Sequence[Atoms], path: Path) -> None:
    """Write frames, which a trajectory keeps to the last digit, whole or not at all."""
    from ase.io import write

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            write(partial, frames, format="traj")
    except OSError as error:
        log.info("self-replay: labelled frames are not kept: %s", error)
