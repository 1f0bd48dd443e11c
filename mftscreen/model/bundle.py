"""The ``.mft`` model file: one stored zip with card, weights and reference set.

========================  ====================================================
``card.json``             :class:`ModelCard`
``model.pt``              a deepmd-kit checkpoint that stock deepmd-kit loads
``reference.npz``         OFM reference set of the property's training data
``calibration.npz``       out-of-sample residuals for prediction intervals
========================  ====================================================

The last two are optional. Nothing in the file is pickled except inside the
checkpoint, which is opened with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mftscreen.errors import ModelFileError
from mftscreen.properties import Bias, PropertySpec
from mftscreen.writing import replacing

__all__ = ["Bundle", "ModelCard", "PropertyHead", "read_bundle", "write_bundle"]

FORMAT_VERSION = 1
CARD, CHECKPOINT = "card.json", "model.pt"
ARRAYS = ("reference.npz", "calibration.npz")
MAX_MEMBER_BYTES = 4 * 1024**3
DAMAGED = (zipfile.BadZipFile, zlib.error)

Arrays = Mapping[str, NDArray[Any]]


class PropertyHead(BaseModel):
    """A property, the head that predicts it, and what that head has seen.

    Attributes
    ----------
    spec : PropertySpec
    head : str
        Name of the head in the checkpoint.
    bias : {"per_element", "global"}, optional
        Whether the head has a bias for each element (Eq. 17) or one for all.
    elements : list of str
        Chemical symbols that occur in the property's training set.
    n_train : int
        Number of training labels.
    train_range : tuple of float
        Smallest and largest training label.
    training_set : str
        What the labels are and where they come from.
    training_hash : str
        sha256 over the training structures' hashes and labels.
    n_calibration : int
        Number of held-out rows with an OOD p-value: what intervals are made from.
    metrics : dict
        Test name to metric name to value, e.g. ``{"fold 0 test": {"mae": 0.3}}``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: PropertySpec
    head: str
    bias: Bias | None = None
    elements: list[str]
    n_train: int
    train_range: tuple[float, float]
    training_set: str
    training_hash: str
    n_calibration: int = 0
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)


class ModelCard(BaseModel):
    """What a model is, what it was made from and how good it is.

    Attributes
    ----------
    format_version : int
    name : str
    description : str
    strategy : str
        ``pretrain``, ``scratch``, ``ft``, ``lp`` or ``mft``.
    energy_head : str or None
        Head that gives energy, forces and stress.
    properties : dict of str to PropertyHead
        By property name.
    force_field : dict
        Head name to a description of its training data and measured errors.
    versions : dict of str to str
        Packages that made the model.
    licence : str
    provenance : dict
        The resolved configuration, seed, and the sha256 of the pretrained model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    name: str
    description: str = ""
    strategy: str
    energy_head: str | None = None
    properties: dict[str, PropertyHead] = Field(default_factory=dict)
    force_field: dict[str, dict[str, Any]] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    licence: str = ""
    provenance: dict[str, Any] = Field(default_factory=dict)


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
    reference, calibration : mapping of str to ndarray
        Empty where the file has none.
    """

    card: ModelCard
    checkpoint: bytes
    sha256: str
    reference: Arrays = field(default_factory=dict)
    calibration: Arrays = field(default_factory=dict)


def write_bundle(
    path: Path,
    card: ModelCard,
    checkpoint: bytes,
    reference: Arrays | None = None,
    calibration: Arrays | None = None,
) -> None:
    """Write a model file; an existing one is replaced only when all is written.

    Parameters
    ----------
    path : Path
        Should end in ``.mft``.
    card : ModelCard
    checkpoint : bytes
        A deepmd-kit checkpoint.
    reference, calibration : mapping of str to ndarray, optional
    """
    members = {CARD: card.model_dump_json(indent=2).encode(), CHECKPOINT: checkpoint}
    for name, arrays in zip(ARRAYS, (reference, calibration), strict=True):
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
        member that does not belong there, or was written by a newer mftscreen.
    """
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = _read_members(archive, path)
    except FileNotFoundError:
        msg = f"{path}: no such file"
        raise ModelFileError(msg) from None
    except (OSError, EOFError, RuntimeError, *DAMAGED) as error:
        msg = f"{path} is not a complete .mft model file: {error}"
        raise ModelFileError(msg) from error
    card = _parse_card(members[CARD], path)
    reference, calibration = (_parse_arrays(members.get(n), n, path) for n in ARRAYS)
    return Bundle(
        card=card,
        checkpoint=members[CHECKPOINT],
        sha256=hashlib.sha256(content).hexdigest(),
        reference=reference,
        calibration=calibration,
    )


def _read_members(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    names = {info.filename for info in archive.infolist()}
    foreign = names - {CARD, CHECKPOINT, *ARRAYS}
    missing = {CARD, CHECKPOINT} - names
    if foreign or missing:
        what = f"lacks {sorted(missing)}" if missing else f"holds {sorted(foreign)}"
        msg = f"{path} is not a .mft model file: it {what}"
        raise ModelFileError(msg)
    for info in archive.infolist():
        if info.file_size > MAX_MEMBER_BYTES:
            msg = f"{path}: {info.filename} claims {info.file_size} bytes"
            raise ModelFileError(msg)
    return {name: archive.read(name) for name in names}


def _parse_card(content: bytes, path: Path) -> ModelCard:
    try:
        document = json.loads(content)
        # looked at first: a newer card may have keys that this version does not know
        version = document.get("format_version")
    except (ValueError, AttributeError) as error:
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
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (ValueError, TypeError, OSError, EOFError, *DAMAGED) as error:
        msg = f"{path}: {name} is damaged: {error}"
        raise ModelFileError(msg) from error
