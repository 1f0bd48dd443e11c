"""Large pretrained models, downloaded when they are first used.

Addresses and checksums are those of deepmd-kit's own registry, and so is the folder
they are kept in: what ``dp pretrained download`` has fetched is not fetched again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Lock

from mftscreen.errors import (
    DownloadError,
    ModelError,
    ModelFileError,
    UnknownModelError,
)
from mftscreen.internet.downloading import check_digest, fetch
from mftscreen.model.backbones import pretrained_models
from mftscreen.suggestions import did_you_mean

__all__ = ["Backbone", "backbone", "downloaded_name", "fetch_backbone", "models_folder"]

ENVIRONMENT = "MFTSCREEN_MODELS"

log = logging.getLogger(__name__)
_lock = Lock()


@dataclass(frozen=True)
class Backbone:
    """A pretrained model that can be downloaded.

    Attributes
    ----------
    name : str
    path : Path
        Where it is kept; there may be no such file yet.
    sha256 : str
        What the file must hash to.
    urls : sequence of str
        Where it can be had.
    """

    name: str
    path: Path
    sha256: str
    urls: Sequence[str]


def backbone(name: str) -> Backbone:
    """Return what is known of a model without downloading it.

    Parameters
    ----------
    name : str
        One of :func:`mftscreen.model.backbones.pretrained_models`.

    Returns
    -------
    Backbone

    Raises
    ------
    UnknownModelError
        If it is none of these, or deepmd-kit has no such model any more.
    """
    from deepmd.pretrained.registry import MODEL_REGISTRY

    if name not in (known := pretrained_models()):
        msg = f"no model {name!r} to download; there are {', '.join(known)}"
        msg += did_you_mean(name, known=known)
        raise UnknownModelError(msg)
    if name not in MODEL_REGISTRY:
        msg = (
            f"the deepmd-kit that is installed ({version('deepmd-kit')}) does not know "
            f"{name}; it has {', '.join(MODEL_REGISTRY)}"
        )
        raise UnknownModelError(msg)
    record = MODEL_REGISTRY[name]
    path = models_folder() / record["filename"]
    return Backbone(name, path, record["sha256"], tuple(record["urls"]))


def models_folder() -> Path:
    """Return the folder that large pretrained models are kept in."""
    if own := os.environ.get(ENVIRONMENT):
        return Path(own)
    from deepmd.pretrained.download import DEFAULT_CACHE_DIR

    return Path(DEFAULT_CACHE_DIR)


def downloaded_name(sha256: str) -> str | None:
    """Return the name of the model that a file holds; None if it is another one.

    Parameters
    ----------
    sha256 : str
        Of the file, wherever it is.
    """
    from deepmd.pretrained.registry import MODEL_REGISTRY

    for name in pretrained_models():
        # a deepmd-kit without the model cannot tell what it is
        if name in MODEL_REGISTRY and backbone(name).sha256 == sha256:
            return name
    return None


def fetch_backbone(name: str, *, progress: bool = False) -> Backbone:
    """Return a model whose file is there and has the right checksum.

    Parameters
    ----------
    name : str
        One of :func:`mftscreen.model.backbones.pretrained_models`.
    progress : bool, default False
        Whether a download shows its progress on stderr, if that is a terminal.

    Returns
    -------
    Backbone

    Raises
    ------
    UnknownModelError
        As :func:`backbone`.
    ModelFileError
        If the file that is there is not the one that was published.
    ModelError
        If it can be had from nowhere or cannot be written; the message says how to
        bring it by hand.
    """
    found = backbone(name)
    with _lock:  # of threads; processes write files of their own
        if not found.path.is_file():
            _download(found, progress)
            return found
    try:
        check_digest(found.path, "sha256", found.sha256)
    except DownloadError as error:
        msg = f"{error}; remove it, and {name} is downloaded again when it is used"
        raise ModelFileError(msg) from error
    return found


def _download(wanted: Backbone, progress: bool) -> None:
    problems = []
    for url in wanted.urls:
        log.info("downloading %s from %s", wanted.name, url)
        try:
            fetch(url, wanted.path, "sha256", wanted.sha256, progress=progress)
        except DownloadError as error:
            problems.append(str(error))
        except OSError as error:
            msg = (
                f"{wanted.name} cannot be written to {wanted.path.parent}: "
                f"{error.strerror or error}; name another folder in {ENVIRONMENT}"
            )
            raise ModelError(msg) from error
        else:
            return
    attempts = "\n".join(f"  {problem}" for problem in problems)
    msg = (
        f"{wanted.name} cannot be downloaded:\n{attempts}\n"
        "On a machine with internet, run\n"
        f"  dp pretrained download {wanted.name} --cache-dir .\n"
        f"and put the file here as {wanted.path}, or into another folder that "
        f"{ENVIRONMENT} names."
    )
    raise ModelError(msg)
