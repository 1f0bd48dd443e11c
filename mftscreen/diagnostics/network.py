"""The models that are compared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mftscreen.model.backend import DeepmdNetwork, Device
from mftscreen.model.loading import load_model
from mftscreen.model.registry import resolve_model

__all__ = ["NamedNetwork", "load_network"]


@dataclass(frozen=True)
class NamedNetwork:
    """A network and where it is from.

    Attributes
    ----------
    source : str
        Name or path of the model.
    sha256 : str
        Of the model file.
    network : DeepmdNetwork
    """

    source: str
    sha256: str
    network: DeepmdNetwork


def load_network(source: str | Path, device: Device = "auto") -> NamedNetwork:
    """Open a model for comparison; it needs no card and no chosen head.

    Parameters
    ----------
    source : str or Path
        Name of a registered model, or path of a ``.mft`` or ``.pt`` file.
    device : {"auto", "cpu", "cuda"}

    Returns
    -------
    NamedNetwork

    Raises
    ------
    UnknownModelError, ModelFileError
        See :func:`mftscreen.model.loading.load_model`.
    """
    path, _ = resolve_model(source)
    if path.suffix == ".pt":
        content = path.read_bytes()
        network = DeepmdNetwork.from_checkpoint(content, device)
        return NamedNetwork(str(source), hashlib.sha256(content).hexdigest(), network)
    model = load_model(source, device=device)
    return NamedNetwork(str(source), model.sha256, model.network)
