"""Large pretrained models that come with other Python packages, converted once.

A file that has been made is kept beside those that are downloaded, and its sha256 in
another one; where the two do not belong together, it is made again.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from mftscreen.errors import ModelError, ModelFileError, UnknownModelError
from mftscreen.model.backbones import converted_models
from mftscreen.model.files.archive import read_file
from mftscreen.model.files.checkpoint import save_state
from mftscreen.model.files.download import ENVIRONMENT, models_folder
from mftscreen.suggestions import did_you_mean
from mftscreen.writing import replacing

__all__ = ["ConvertedModel", "convert_backbone", "converted_model"]

REVISION = 2
"""Of the conversion: another one makes other files."""

log = logging.getLogger(__name__)
_lock = Lock()


@dataclass(frozen=True)
class ConvertedModel:
    """What has been made of a model.

    Attributes
    ----------
    name : str
    path : Path
        Where it is kept.
    sha256 : str or None
        Of the file that was written there; None if there is none yet.
    """

    name: str
    path: Path
    sha256: str | None


def converted_model(name: str) -> ConvertedModel:
    """Return what is known of a model without converting it.

    Parameters
    ----------
    name : str
        One of :func:`mftscreen.model.backbones.converted_models`.

    Raises
    ------
    UnknownModelError
        If it is none of these.
    """
    if name not in (known := converted_models()):
        msg = f"no model {name!r} to convert; there are {', '.join(known)}"
        msg += did_you_mean(name, known=known)
        raise UnknownModelError(msg)
    # the message of an error calls a model by the name of its file
    path = models_folder() / f"converted-{REVISION}" / f"{name}.pt"
    record = _record(path)
    try:
        sha256 = record.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ConvertedModel(name, path, None)
    return ConvertedModel(name, path, sha256 if path.is_file() else None)


def convert_backbone(name: str) -> ConvertedModel:
    """Return a model whose file is there, and as it was written.

    Parameters
    ----------
    name : str
        As for :func:`converted_model`.

    Raises
    ------
    UnknownModelError
        As :func:`converted_model`.
    ModelError
        If the package that it comes with is not installed, or the file cannot be
        written; the message says what to do.
    """
    with _lock:  # of threads; processes write files of their own
        found = converted_model(name)
        if found.sha256 is not None and _is_whole(found):
            return found
        log.info("converting %s, once", name)
        content = save_state(converted_models()[name]().convert(name))
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            found.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(found.path) as partial:
                partial.write_bytes(content)
            with replacing(_record(found.path)) as partial:
                partial.write_text(sha256 + "\n", encoding="ascii")
        except OSError as error:
            msg = (
                f"{name} cannot be written to {models_folder()}: "
                f"{error.strerror or error}; name another folder in {ENVIRONMENT}"
            )
            raise ModelError(msg) from error
        return ConvertedModel(name, found.path, sha256)


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _is_whole(found: ConvertedModel) -> bool:
    try:
        return hashlib.sha256(read_file(found.path)).hexdigest() == found.sha256
    except ModelFileError:
        return False
