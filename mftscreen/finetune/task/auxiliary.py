"""The auxiliary force-field frames of multi-task fine-tuning (Eq. 10)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.readers import iter_rows
from mftscreen.data.sources import RowProblem, check_problems, read_force_field
from mftscreen.errors import DataError
from mftscreen.finetune.config.auxiliary import AuxiliaryConfig
from mftscreen.finetune.stream.limits import FrameLimits
from mftscreen.finetune.stream.spec import Side, Stream, open_stream
from mftscreen.finetune.task.self_replay import (
    Teacher,
    label_frames,
    perturb_structures,
)
from mftscreen.finetune.task.training_data import TrainingData
from mftscreen.model.backbones.seam import EdgeCutoffs
from mftscreen.ood.ofm.featurizer import N_FEATURES, OFMFeaturizer
from mftscreen.ood.reference.farthest import farthest_points
from mftscreen.structures import reduced_formula

__all__ = ["load_auxiliary", "select_diverse", "select_frames", "stream_auxiliary"]

N_MANY = 100_000
"""Frames in memory from which on it is said that they need not be."""

log = logging.getLogger(__name__)


def load_auxiliary(
    config: AuxiliaryConfig,
    downstream: Sequence[LabelledStructure],
    teacher: Teacher,
    *,
    seed: int,
    progress: bool = False,
) -> list[LabelledStructure]:
    """Return the frames to train the auxiliary head on.

    Parameters
    ----------
    config : AuxiliaryConfig
        Labelled frames are read from `data`; those of `self_replay` are made and
        labelled here. Frames are filtered before they are labelled.
    downstream : sequence of LabelledStructure
        The training rows of the properties.
    teacher : Teacher
        The pretrained model, which labels the frames of `self_replay`.
    seed : int
        Of the choice among frames without an OFM.
    progress : bool
        See :func:`mftscreen.finetune.task.self_replay.label_frames`.

    Returns
    -------
    list of LabelledStructure
        With ``energy``, ``force`` and, where known, ``virial``.

    Raises
    ------
    DataError
        If a file cannot be read, a frame has no labels, or the filters leave no frame.
    UnknownHeadError
        If the model has no force-field head of this name.
    """
    if config.self_replay is None:
        frames = [
            f for path in config.data for f in read_force_field(path, config.group)
        ]
        if len(frames) > N_MANY:
            log.info(
                "all of %d auxiliary frames are in memory; 'stream: {}' leaves them in "
                "their files",
                len(frames),
            )
        return select_frames(frames, config, downstream, seed)
    pool = [row for path in config.self_replay.pool for row in _read_pool(path)]
    frames = perturb_structures([*downstream, *pool], config.self_replay)
    frames = select_frames(frames, config, downstream, seed)
    return _without_large_forces(
        label_frames(frames, teacher, progress=progress), config.max_force
    )


def _read_pool(path: Path) -> list[LabelledStructure]:
    rows, problems = [], []
    for number, row in enumerate(iter_rows(path)):
        name = row.name or f"{path.name}#{number}"
        if isinstance(row.structure, Atoms):
            rows.append(LabelledStructure(name, row.structure))
        else:
            problems.append(RowProblem(name, "structure", str(row.structure)))
    check_problems(problems, path)
    return rows


def select_frames(
    frames: Sequence[LabelledStructure],
    config: AuxiliaryConfig,
    downstream: Sequence[LabelledStructure],
    seed: int,
) -> list[LabelledStructure]:
    """Apply the filters `elements`, `max_atoms`, `max_force` and `n_frames`.

    Frames that are yet to be labelled have no forces, and are filtered by them later.

    Parameters
    ----------
    frames : sequence of LabelledStructure
    config : AuxiliaryConfig
    downstream : sequence of LabelledStructure
        Whose elements ``elements: downstream`` means.
    seed : int
        See :func:`select_diverse`.

    Returns
    -------
    list of LabelledStructure
        In the order of `frames`.

    Raises
    ------
    DataError
        If no frame is left.
    """
    kept = list(frames)
    known = _allowed_elements(config, downstream)
    if known is not None:
        kept = [frame for frame in kept if known.issuperset(frame.atoms.symbols)]
    n_of_elements = len(kept)
    if config.max_atoms is not None:
        kept = [frame for frame in kept if len(frame.atoms) <= config.max_atoms]
    log.info(
        "auxiliary frames: %d; %d of them with the wanted elements only; %d of these "
        "small enough",
        len(frames),
        n_of_elements,
        len(kept),
    )
    if not kept:
        msg = (
            f"none of {len(frames)} auxiliary frames is left: {n_of_elements} have the "
            f"elements that 'elements' allows, none of these has up to "
            f"{config.max_atoms} atoms"
            if n_of_elements
            else f"none of {len(frames)} auxiliary frames has only elements that "
            "'elements' allows"
        )
        raise DataError(msg)
    if config.self_replay is None:
        kept = _without_large_forces(kept, config.max_force)
    if config.n_frames is not None and config.n_frames < len(kept):
        chosen = select_diverse([f.atoms for f in kept], config.n_frames, seed)
        kept = [kept[k] for k in chosen]
    return kept


def _allowed_elements(
    config: AuxiliaryConfig, downstream: Sequence[LabelledStructure]
) -> set[str] | None:
    """Return the elements that frames may have; None for all."""
    if config.elements == "downstream":
        return {symbol for row in downstream for symbol in row.atoms.symbols}
    return None if config.elements is None else set(config.elements)


def _without_large_forces(
    frames: list[LabelledStructure], largest: float | None
) -> list[LabelledStructure]:
    if largest is None:
        return frames
    kept = [frame for frame in frames if _force(frame) <= largest]
    log.info("%d of these without a force beyond %g eV/Å", len(kept), largest)
    if not kept:
        msg = (
            f"all of {len(frames)} auxiliary frames that other filters leave have a "
            f"force of more than {largest:g} eV/Å"
        )
        raise DataError(msg)
    return kept


def _force(frame: LabelledStructure) -> float:
    return float(np.linalg.norm(frame.labels["force"], axis=1).max())


def stream_auxiliary(
    config: AuxiliaryConfig,
    data: TrainingData,
    type_map: Sequence[str],
    cutoffs: EdgeCutoffs,
    seed: int,
) -> Stream:
    """Return the frames to draw an auxiliary head's training data from.

    Parameters
    ----------
    config : AuxiliaryConfig
        With `stream`.
    data : TrainingData
        The rows of the properties.
    type_map : sequence of str
        Elements that the model knows.
    cutoffs : EdgeCutoffs
        Of its descriptor.
    seed : int
        Of which frames are held out.

    Returns
    -------
    Stream

    Raises
    ------
    DataError
        If a file or folder cannot be read, or holds no frame.
    """
    assert config.stream is not None
    allowed = _allowed_elements(config, data.by_property("train"))
    new = data.new_rows if config.drop_test_formulas else []
    limits = FrameLimits(
        elements=[e for e in type_map if allowed is None or e in allowed],
        max_atoms=config.max_atoms,
        max_force=config.max_force,
        formulas=sorted({reduced_formula(row.atoms) for row in new}),
        cutoffs=(cutoffs.edge, cutoffs.angle),
    )
    side = Side(config.validation_fraction, seed, config.group)
    drawn = config.stream
    return open_stream(
        config.data,
        limits,
        side,
        fraction=drawn.fraction,
        limit=drawn.limit,
        seed=drawn.seed,
    )


def select_diverse(
    structures: Sequence[Atoms], n_pick: int, seed: int
) -> NDArray[np.int64]:
    """Choose structures that are unlike each other.

    Parameters
    ----------
    structures : sequence of Atoms
    n_pick : int
        Up to their number.
    seed : int
        Of the random choice among structures without an OFM.

    Returns
    -------
    ndarray of shape (n_pick,)
        Their numbers, ascending.

    Notes
    -----
    Farthest points (:func:`mftscreen.ood.reference.farthest.farthest_points`) among the
    orbital field matrices with volume. Structures that have none, as they are not
    periodic in all directions, are drawn at random; both kinds keep their shares. The
    matrices of 24,000 crystals of 7 atoms take three times as long as the choice of
    5,000 of them.
    """
    rows, periodic = [], []
    for number, row in enumerate(OFMFeaturizer()(structures)):
        if row.features is not None:
            rows.append(csr_array(row.features[None]))
            periodic.append(number)
    n = len(structures)
    others = np.setdiff1d(np.arange(n), periodic)
    n_random = round(n_pick * len(others) / n)
    points = vstack(rows, format="csr") if rows else csr_array((0, N_FEATURES))
    chosen = np.asarray(periodic, dtype=np.int64)[
        farthest_points(points, n_pick - n_random)
    ]
    drawn = np.random.default_rng(seed).choice(others, n_random, replace=False)
    log.info(
        "%d structures chosen: %d of %d by farthest points, %d of %d at random",
        n_pick,
        len(chosen),
        len(periodic),
        n_random,
        len(others),
    )
    return np.sort(np.concatenate([chosen, drawn]))
