"""The models that are compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mftscreen.model.files.checkpoint import keep_main_head
from mftscreen.model.loading import load_state
from mftscreen.model.network.backend import DeepmdNetwork, Device

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
        With one head: descriptors are compared, and need no other.
    """

    source: str
    sha256: str
    network: DeepmdNetwork


def load_network(
    source: str | Path, device: Device = "auto", *, progress: bool = False
) -> NamedNetwork:
    """Open a model for comparison; it needs no card and no chosen head.

    Parameters
    ----------
    source : str or Path
        Name of a registered model, or path of a ``.mft`` or ``.pt`` file.
    device : {"auto", "cpu", "cuda"}
    progress : bool, default False
        Whether a download shows its progress on stderr.

    Returns
    -------
    NamedNetwork

    Raises
    ------
    UnknownModelError, ModelFileError
        See :func:`mftscreen.model.loading.load_model`.
    """
    state, sha256 = load_state(source, progress=progress)
    network = DeepmdNetwork(keep_main_head(state), device)
    return NamedNetwork(str(source), sha256, network)
