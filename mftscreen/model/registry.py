"""Names of models and the files behind them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from mftscreen.errors import ModelError, ModelFileError, UnknownModelError
from mftscreen.model.download import BACKBONES, fetch_backbone

__all__ = [
    "DEFAULT_MODEL",
    "RegisteredModel",
    "check_fine_tuned",
    "registered_models",
    "resolve_model",
]

DEFAULT_MODEL = "mft-mini"

_SHA256 = {
    "mft-mini": "0fa5b35f844fb4206c66944a08de5b28517c124d0dc94e316f36a9802a3ef722"
}


@dataclass(frozen=True)
class RegisteredModel:
    """A model that comes with the package.

    Attributes
    ----------
    name : str
    path : Path
    sha256 : str
        What the file must hash to; checked when it is loaded.
    """

    name: str
    path: Path
    sha256: str


def registered_models() -> dict[str, RegisteredModel]:
    """Return the models that come with the package, by name."""
    folder = Path(str(files("mftscreen"))) / "models"
    return {
        name: RegisteredModel(name, folder / f"{name}.mft", sha256)
        for name, sha256 in _SHA256.items()
    }


def check_fine_tuned(source: str | Path) -> None:
    """Raise if a name is that of a model that has been pretrained, but no more.

    Nothing is downloaded to find that out.

    Parameters
    ----------
    source : str or Path
        As for :func:`resolve_model`.

    Raises
    ------
    ModelError
        If it is in :data:`mftscreen.model.download.BACKBONES`.
    """
    if isinstance(source, str) and source in BACKBONES:
        msg = (
            f"{source} is a pretrained model: it predicts energies, but no property, "
            "and has no reference set. Fine-tune it ('mftscreen finetune') and give "
            "the .mft file that comes of it"
        )
        raise ModelError(msg)


def resolve_model(
    source: str | Path, *, progress: bool = False
) -> tuple[Path, str | None]:
    """Return the file of a model and, for a registered one, the sha256 it must have.

    Parameters
    ----------
    source : str or Path
        The name of a model that comes with the package, or of one in
        :data:`mftscreen.model.download.BACKBONES`, which is downloaded if it is not
        there; or the path of a ``.mft`` or ``.pt`` file.
    progress : bool, default False
        Whether a download shows its progress on stderr.

    Returns
    -------
    path : Path
    sha256 : str or None

    Raises
    ------
    UnknownModelError
        If it is neither a known name nor a path that looks like a model file.
    ModelFileError
        If it is a path and nothing is there, or a downloaded file is damaged.
    ModelError
        If it cannot be downloaded; the message says how to bring it by hand.
    """
    known = registered_models()
    if isinstance(source, str) and source in known:
        return known[source].path, known[source].sha256
    if isinstance(source, str) and source in BACKBONES:
        fetched = fetch_backbone(source, progress=progress)
        return fetched.path, fetched.sha256
    path = Path(source)
    if path.is_file():
        return path, None
    if path.suffix in (".mft", ".pt"):
        msg = f"{path}: no such file"
        raise ModelFileError(msg)
    msg = (
        f"no model named {str(source)!r}; known names: "
        f"{', '.join([*sorted(known), *BACKBONES])}. "
        "A file is given by its path and ends in .mft or .pt"
    )
    raise UnknownModelError(msg)
