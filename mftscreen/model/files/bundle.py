"""The ``.mft`` model file: one stored zip with card, weights and reference set.

========================  ====================================================
``card.json``             :class:`ModelCard`
``model.pt``              a deepmd-kit checkpoint that stock deepmd-kit loads
``descriptor-2.pt``, …    likewise: models whose descriptors alone are read, side by
                          side with that of ``model.pt``
``reference.npz``         OFM reference set of the property's training data
``calibration.npz``       out-of-sample residuals for prediction intervals
``neighborhoods.npz``     training rows in the space of the descriptor
``readouts.npz``          landmarks and weights of kernel read-outs
========================  ====================================================

All but the first two are optional. Members are stored, not compressed, so that a file
takes no more memory than it has bytes, but for its arrays, which may be
:data:`mftscreen.model.files.archive.MAX_EXPANSION` times as large. Nothing in the file
is pickled except inside checkpoints, which are opened with ``weights_only=True`` and
may say to deepmd-kit what :mod:`mftscreen.model.files.allowed` lists.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mftscreen.domain import HeadDomain
from mftscreen.errors import ModelFileError
from mftscreen.model.files.archive import (
    DAMAGED,
    Arrays,
    parse_arrays,
    read_file,
    stored_members,
)
from mftscreen.model.readouts.kernel import KernelCard
from mftscreen.properties import Bias, PropertySpec
from mftscreen.writing import replacing

__all__ = [
    "Bundle",
    "DescriptorCard",
    "ForceFieldDomain",
    "ModelCard",
    "PropertyHead",
    "read_bundle",
    "write_bundle",
]

FORMAT_VERSION = 9
CARD, CHECKPOINT = "card.json", "model.pt"
MAX_DESCRIPTORS = 8
FURTHER = tuple(f"descriptor-{k}.pt" for k in range(2, MAX_DESCRIPTORS + 1))
ARRAYS = ("reference.npz", "calibration.npz", "readouts.npz", "neighborhoods.npz")
MAX_CARD_BYTES = 64 * 1024**2


class PropertyHead(BaseModel):
    """A property, the head that predicts it, and what that head has seen.

    Attributes
    ----------
    spec : PropertySpec
    head : str or None
        Name of its neural head in the checkpoint; None if only a kernel predicts it.
    readout : KernelCard or None
        The kernel that predicts it, in place of the head if there is one.
    bias : {"per_element", "global"}, optional
        Whether the head has a bias for each element (Eq. 17) or one for all.
    elements : list of str
        Chemical symbols that occur in the property's training set.
    domain : HeadDomain, optional
        What structures there are in it; unknown in files of format 3 and before.
    n_train : int
        Number of training labels.
    train_range : tuple of float
        Smallest and largest training label.
    training_set : str
        What the labels are and where they come from.
    training_hash : str
        sha256 over the training structures' hashes and labels.
    n_calibration : int
        Number of held-out rows that intervals are made from.
    metrics : dict
        Test name to metric name to value, e.g. ``{"fold 0 test": {"mae": 0.3}}``.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        # of labels whose range nobody knows, which JSON has no numbers for
        ser_json_inf_nan="strings",
    )

    spec: PropertySpec
    head: str | None
    readout: KernelCard | None = None
    bias: Bias | None = None
    elements: list[str]
    domain: HeadDomain | None = None
    n_train: int
    train_range: tuple[float, float]
    training_set: str
    training_hash: str
    n_calibration: int = 0
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)


class ForceFieldDomain(BaseModel):
    """What an energy head has seen.

    Attributes
    ----------
    elements : list of str
        Chemical symbols that occur in its training set.
    domain : HeadDomain
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    elements: list[str]
    domain: HeadDomain


class DescriptorCard(BaseModel):
    """A pretrained descriptor that kernels read as it is.

    Attributes
    ----------
    name : str
        Of the model that it is from.
    sha256 : str
        Of that model's file.
    licence, citation : str
        What the model says of them; empty where it says nothing.
    checkpoint_sha256 : str
        Of the checkpoint here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    licence: str = ""
    citation: str = ""
    checkpoint_sha256: str = ""


class ModelCard(BaseModel):
    """What a model is, what it was made from and how good it is.

    Attributes
    ----------
    format_version : int
    name : str
    description : str
    strategy : str
        ``pretrain``, ``scratch``, ``kernel``, ``ft``, ``lp`` or ``mft``.
    energy_head : str or None
        Head that gives energy, forces and stress.
    properties : dict of str to PropertyHead
        By property name.
    descriptors : list of DescriptorCard
        Those that kernels read if no network was trained: that of ``model.pt`` and, if
        several stand side by side, those of the other checkpoints in their order. Not
        in files of format 6 and before.
    force_field : dict
        Head name to a description of its training data and measured errors.
    force_field_domains : dict of str to ForceFieldDomain
        Head name to what it has seen, as far as that is known.
    versions : dict of str to str
        Packages that made the model.
    licence : str
    provenance : dict
        The resolved configuration, seed, and the sha256 of the pretrained model.
    checkpoint_sha256 : str
        Of the checkpoint that the card was written with, which is the only one that
        it describes; empty in files of format 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    name: str
    description: str = ""
    strategy: str
    energy_head: str | None = None
    properties: dict[str, PropertyHead] = Field(default_factory=dict)
    descriptors: list[DescriptorCard] = Field(
        default_factory=list, max_length=MAX_DESCRIPTORS
    )
    force_field: dict[str, dict[str, Any]] = Field(default_factory=dict)
    force_field_domains: dict[str, ForceFieldDomain] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    licence: str = ""
    provenance: dict[str, Any] = Field(default_factory=dict)
    checkpoint_sha256: str = ""

    @field_validator("properties")
    @classmethod
    def _check_names(cls, heads: dict[str, PropertyHead]) -> dict[str, PropertyHead]:
        for name, head in heads.items():
            if name != head.spec.name:
                msg = f"{name!r} stands for a property called {head.spec.name!r}"
                raise ValueError(msg)
        return heads


@dataclass(frozen=True)
class Bundle:
    """The contents of a model file.

    Attributes
    ----------
    card : ModelCard
    checkpoint : bytes
        The deepmd-kit checkpoint.
    sha256 : str
        Of the whole file; names the model in every result row.
    further : mapping of str to bytes
        Name of a member to the checkpoint in it: of descriptors that stand beside that
        of `checkpoint`, in their order.
    reference, calibration, readouts, neighborhoods : mapping of str to ndarray
        Empty where the file has none.
    """

    card: ModelCard
    checkpoint: bytes
    sha256: str
    further: Mapping[str, bytes] = field(default_factory=dict)
    reference: Arrays = field(default_factory=dict)
    calibration: Arrays = field(default_factory=dict)
    readouts: Arrays = field(default_factory=dict)
    neighborhoods: Arrays = field(default_factory=dict)


def write_bundle(
    path: Path,
    card: ModelCard,
    checkpoint: bytes,
    reference: Arrays | None = None,
    calibration: Arrays | None = None,
    readouts: Arrays | None = None,
    neighborhoods: Arrays | None = None,
    *,
    further: Sequence[bytes] = (),
) -> None:
    """Write a model file; an existing one is replaced only when all is written.

    Parameters
    ----------
    path : Path
        Should end in ``.mft``.
    card : ModelCard
        Its format and the sha256 of checkpoints are set here.
    checkpoint : bytes
        A deepmd-kit checkpoint.
    reference, calibration, readouts, neighborhoods : mapping, optional
        Of str to ndarray.
    further : sequence of bytes
        Checkpoints of one head each, whose descriptors stand beside that of
        `checkpoint`; the card's `descriptors` are these and, first, that one.

    Raises
    ------
    ValueError
        If the card has not as many descriptors.
    """
    checkpoints = (checkpoint, *further)
    digests = [hashlib.sha256(content).hexdigest() for content in checkpoints]
    if further or card.descriptors:
        described = [
            own.model_copy(update={"checkpoint_sha256": digest})
            for own, digest in zip(card.descriptors, digests, strict=True)
        ]
        card = card.model_copy(update={"descriptors": described})
    card = card.model_copy(
        update={"format_version": FORMAT_VERSION, "checkpoint_sha256": digests[0]}
    )
    members = {CARD: card.model_dump_json(indent=2).encode(), CHECKPOINT: checkpoint}
    members |= zip(FURTHER, further, strict=False)
    parts = (reference, calibration, readouts, neighborhoods)
    for name, arrays in zip(ARRAYS, parts, strict=True):
        if arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
            members[name] = buffer.getvalue()
    with (
        replacing(path) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, content in members.items():
            # a fixed date, so that equal contents have an equal sha256
            archive.writestr(zipfile.ZipInfo(name), content)


def read_bundle(path: Path) -> Bundle:
    """Read a model file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Bundle

    Raises
    ------
    ModelFileError
        If the file is missing, is not a ``.mft``, is truncated or damaged, holds a
        member that does not belong there or is compressed, has the card of other
        checkpoints, or was written by a newer mftscreen.
    """
    content = read_file(path)
    members = _read_members(content, path)
    # looked at first: a newer file may have members that this version does not know
    card = _parse_card(members[CARD], path)
    further = _check_members(members, card, path)
    arrays = (_parse_arrays(members.get(name), name, path) for name in ARRAYS)
    reference, calibration, readouts, neighborhoods = arrays
    return Bundle(
        card=card,
        checkpoint=members[CHECKPOINT],
        sha256=hashlib.sha256(content).hexdigest(),
        further=further,
        reference=reference,
        calibration=calibration,
        readouts=readouts,
        neighborhoods=neighborhoods,
    )


def _read_members(content: bytes, path: Path) -> dict[str, bytes]:
    try:
        infos = stored_members(content)
    except ModelFileError as error:
        msg = f"{path} is not a complete .mft model file: {error}"
        raise ModelFileError(msg) from error
    if missing := {CARD, CHECKPOINT} - infos.keys():
        msg = f"{path} is not a .mft model file: it lacks {sorted(missing)}"
        raise ModelFileError(msg)
    if infos[CARD].file_size > MAX_CARD_BYTES:
        msg = f"{path}: {CARD} has {infos[CARD].file_size} bytes"
        raise ModelFileError(msg)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in infos}
    except DAMAGED as error:
        msg = f"{path} is not a complete .mft model file: {error}"
        raise ModelFileError(msg) from error


def _check_members(
    members: Mapping[str, bytes], card: ModelCard, path: Path
) -> dict[str, bytes]:
    """Return the further checkpoints; raise if members are not those of the card."""
    digests = [own.checkpoint_sha256 for own in card.descriptors]
    described = list(zip((CHECKPOINT, *FURTHER), digests, strict=False))
    further = [name for name, _ in described[1:]]
    if card.checkpoint_sha256:  # not in files of format 1
        described.append((CHECKPOINT, card.checkpoint_sha256))
    missing = set(further) - members.keys()
    foreign = members.keys() - {CARD, CHECKPOINT, *ARRAYS, *further}
    if foreign or missing:
        what = f"lacks {sorted(missing)}" if missing else f"holds {sorted(foreign)}"
        msg = f"{path} is not a .mft model file: it {what}"
        raise ModelFileError(msg)
    for name, digest in described:
        if digest != hashlib.sha256(members[name]).hexdigest():
            msg = f"{path}: {name} is not the checkpoint that {CARD} describes"
            raise ModelFileError(msg)
    return {name: members[name] for name in further}


def _parse_card(content: bytes, path: Path) -> ModelCard:
    try:
        document = json.loads(content)
        # looked at first: a newer card may have keys that this version does not know
        version = document.get("format_version")
    except (ValueError, AttributeError, RecursionError) as error:
        msg = f"{path}: card.json is not valid: no JSON object: {error}"
        raise ModelFileError(msg) from error
    if isinstance(version, int) and version > FORMAT_VERSION:
        msg = (
            f"{path} has format {version}, this mftscreen reads up to "
            f"{FORMAT_VERSION}; upgrade with 'pip install -U mftscreen'"
        )
        raise ModelFileError(msg)
    try:
        return ModelCard.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"{path}: card.json is not valid: {where}: {first['msg']}"
        raise ModelFileError(msg) from error


def _parse_arrays(content: bytes | None, name: str, path: Path) -> Arrays:
    if content is None:
        return {}
    try:
        return parse_arrays(content)
    except ModelFileError as error:
        msg = f"{path}: {name} is damaged: {error}"
        raise ModelFileError(msg) from error
