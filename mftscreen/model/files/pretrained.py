"""Large pretrained models by name, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mftscreen.model.backbones import converted_models, pretrained_models
from mftscreen.model.files.branches import Domain
from mftscreen.model.files.converted import convert_backbone, converted_model
from mftscreen.model.files.download import downloaded_name, fetch_backbone

__all__ = ["BACKBONES", "find_domains", "obtain_backbone"]

BACKBONES: Mapping[str, Mapping[Domain, str]] = {
    **pretrained_models(),
    **{name: kind.converted[name] for name, kind in converted_models().items()},
}
"""Names, and the head for each kind of structure: that of the largest data set."""


def obtain_backbone(name: str, *, progress: bool = False) -> tuple[Path, str]:
    """Return the file of a model, downloaded or converted if need be, and its sha256.

    Parameters
    ----------
    name : str
        One of :data:`BACKBONES`.
    progress : bool, default False
        Whether a download shows its progress on stderr, if that is a terminal.

    Raises
    ------
    UnknownModelError, ModelFileError, ModelError
        As :func:`mftscreen.model.files.download.fetch_backbone` and
        :func:`mftscreen.model.files.converted.convert_backbone`.
    """
    if name in converted_models():
        converted = convert_backbone(name)
        assert converted.sha256 is not None
        return converted.path, converted.sha256
    fetched = fetch_backbone(name, progress=progress)
    return fetched.path, fetched.sha256


def find_domains(sha256: str) -> Mapping[Domain, str]:
    """Return the head for each kind of structure of a model file; none if unknown.

    Parameters
    ----------
    sha256 : str
        Of the file, wherever it is.
    """
    name = downloaded_name(sha256)
    if name is None:
        made = (n for n in converted_models() if converted_model(n).sha256 == sha256)
        name = next(made, None)
    return {} if name is None else BACKBONES[name]
