"""Names of models and the files behind them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from pathlib import Path

from mftscreen.errors import (
    ModelError,
    ModelFileError,
    UnknownModelError,
    UnknownPropertyError,
)
from mftscreen.model.files.branches import Domain
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.pretrained import BACKBONES, obtain_backbone
from mftscreen.properties import PropertySpec, own_names, suggestion
from mftscreen.suggestions import did_you_mean

__all__ = [
    "DEFAULT_MODEL",
    "FAMILIES",
    "MODEL",
    "RegisteredModel",
    "check_fine_tuned",
    "check_model_source",
    "domain_of",
    "find_members",
    "is_model_name",
    "member_for",
    "properties_of",
    "registered_models",
    "resolve_model",
    "trained_model",
]

DEFAULT_MODEL = "mft-mini"

MODEL = "model.mft"
"""What a training calls the model in its folder."""
_BEST = "best"
"""Folder in that of a comparison, of the training on all rows."""

FAMILIES: dict[str, Mapping[Domain, str]] = {
    "mft-mini": {"crystals": "mft-mini-crystals", "molecules": "mft-mini-molecules"}
}
"""Names that stand for several models, one for each kind of structure."""

_SHA256 = {
    "mft-mini-crystals": (
        "102d472ce6d326f915694fc0f9b20fc2060e0e8e0030c7a41f922191c83e9ada"
    ),
    "mft-mini-molecules": (
        "c14e868dd521fa09ef88752df020f659e856370d0425afe96ae1567be89860fd"
    ),
    "mft-mini-pretrained": (
        "f05b410d98423dc5dd7d1339f85983f75bcb2de194933d0d4024bed937fa43f1"
    ),
}
_PRETRAINED = {"mft-mini-pretrained", *BACKBONES}
"""Models without a property, which are there to be fine-tuned."""


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


def is_model_name(source: str | Path) -> bool:
    """Tell whether something is the name of a model, whatever folder is called so.

    Parameters
    ----------
    source : str or Path
        As for :func:`resolve_model`; a Path is no name.
    """
    return source in {*FAMILIES, *_SHA256, *BACKBONES}


def trained_model(source: str | Path, start: Path = Path()) -> Path | None:
    """Return the model in the folder of a training, if that is what a source is.

    Parameters
    ----------
    source : str or Path
        As for :func:`resolve_model`; a name of a model stands for that, and an empty
        one for nothing.
    start : Path, optional
        Where a relative path starts.

    Returns
    -------
    Path or None
        None for anything else, and for a training that has not ended.
    """
    if not source or is_model_name(source):
        return None
    folder = start / source
    places = (folder / MODEL, folder / _BEST / MODEL)
    return next((path for path in places if path.is_file()), None)


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
        If it is ``mft-mini-pretrained``, or in
        :data:`mftscreen.model.files.pretrained.BACKBONES`.
    """
    if isinstance(source, str) and source in _PRETRAINED:
        msg = (
            f"{source} is a pretrained model: it predicts energies, but no property, "
            "and has no reference set. Fine-tune it ('mftscreen finetune') and give "
            "the .mft file that comes of it"
        )
        raise ModelError(msg)


def find_members(
    source: str | Path, properties: Collection[str] = ()
) -> tuple[str | Path, ...]:
    """Return the models that a name stands for, as far as they are of use.

    Parameters
    ----------
    source : str or Path
        One of :data:`FAMILIES`; the folder of a training stands for the model in it,
        and anything else for itself.
    properties : collection of str, optional
        Those members are of use that predict one of these, by whatever name
        (:func:`mftscreen.properties.own_names`); all are by default.

    Returns
    -------
    tuple of str or Path
        At least one.

    Raises
    ------
    UnknownPropertyError
        If no member predicts any of `properties`.
    """
    if not (isinstance(source, str) and source in FAMILIES):
        return (trained_model(source) or source,)
    members = tuple(FAMILIES[source].values())
    if not properties:
        return members
    known = registered_models()
    offered = {name: _specs(known[name].path) for name in members}
    found = tuple(
        name
        for name, own in offered.items()
        if not own.keys().isdisjoint(chain(*own_names(properties, own).values()))
    )
    if found:
        return found
    every = {name: spec for own in offered.values() for name, spec in own.items()}
    predicted = (f"{name} predicts: {', '.join(own)}" for name, own in offered.items())
    msg = f"{source} does not predict {', '.join(properties)}; {'; '.join(predicted)}"
    hints = "".join(suggestion(name, every) for name in properties)
    msg += hints or "; name another model, such as one of your own, if that has it"
    raise UnknownPropertyError(msg)


def properties_of(sources: Iterable[str | Path]) -> dict[str, PropertySpec]:
    """Return the properties of models that have a card, without loading them.

    Parameters
    ----------
    sources : iterable of str or Path
        Names or files. Those that cannot be read are passed over, since who loads them
        says why; and checkpoints, which do not say what their properties mean.
    """
    known = registered_models()
    found: dict[str, PropertySpec] = {}
    for member in (each for source in sources for each in find_members(source)):
        name = str(member)
        path = known[name].path if name in known else Path(member)
        if path.suffix == ".mft" and path.is_file():
            with suppress(ModelFileError):
                found |= _specs(path)
    return found


def _specs(path: Path) -> dict[str, PropertySpec]:
    properties = read_bundle(path).card.properties
    return {name: head.spec for name, head in properties.items()}


def member_for(source: str, domain: str | None) -> str:
    """Return the model that a name stands for where a kind of structure is known.

    Parameters
    ----------
    source : str
        One of :data:`FAMILIES`; anything else stands for itself.
    domain : str or None
        ``crystals`` or ``molecules``; anything else means crystals.
    """
    members = FAMILIES.get(source)
    if members is None:
        return source
    found = {str(kind): name for kind, name in members.items()}
    return found.get(domain or "", next(iter(found.values())))


def resolve_model(
    source: str | Path,
    *,
    properties: Collection[str] = (),
    domain: str | None = None,
    progress: bool = False,
) -> tuple[Path, str | None]:
    """Return the file of a model and, for a registered one, the sha256 it must have.

    Parameters
    ----------
    source : str or Path
        The name of a model that comes with the package, or of one in
        :data:`mftscreen.model.files.pretrained.BACKBONES`, which is downloaded or
        converted if it is not there; or the path of a ``.mft`` or ``.pt`` file, or of
        the folder of a training, which has one.
    properties : collection of str, optional
        What is wanted of it. Of several models with one name it is the one that
        predicts these.
    domain : str, optional
        Of several models with one name it is otherwise the one for ``crystals`` or
        ``molecules``; by default for crystals.
    progress : bool, default False
        Whether a download shows its progress on stderr.

    Returns
    -------
    path : Path
    sha256 : str or None

    Raises
    ------
    UnknownPropertyError
        If no single one of several models with one name predicts all `properties`.
    UnknownModelError
        If it is neither a known name nor a path that looks like a model file.
    ModelFileError
        If it is a path and nothing is there, or a folder without a model, or a
        downloaded file is damaged.
    ModelError
        If it cannot be downloaded; the message says how to bring it by hand.
    """
    if isinstance(source, str) and source in FAMILIES:
        source = _choose_member(source, properties, domain)
    known = registered_models()
    if isinstance(source, str) and source in known:
        return known[source].path, known[source].sha256
    if isinstance(source, str) and source in BACKBONES:
        return obtain_backbone(source, progress=progress)
    path = trained_model(source) or Path(source)
    if path.is_file():
        return path, None
    if source and path.is_dir():
        msg = f"{path}: a folder without {MODEL}, which a training writes as it ends"
        raise ModelFileError(msg)
    if path.suffix in (".mft", ".pt"):
        msg = f"{path}: no such file"
        raise ModelFileError(msg)
    raise _unknown_model(source)


def check_model_source(source: str, folder: Path) -> None:
    """Check that something is the name of a model, or may be a path of one.

    Parameters
    ----------
    source : str
        As for :func:`resolve_model`. Nothing is downloaded, and a path that ends in
        ``.mft`` or ``.pt`` or has a slash, as ``./run``, need not be there yet.
    folder : Path
        Where a relative path starts.

    Raises
    ------
    UnknownModelError
        If it is a word that no model has for its name.
    """
    may_be_path = "/" in source or source.endswith((".mft", ".pt"))
    if not (may_be_path or is_model_name(source) or (folder / source).exists()):
        raise _unknown_model(source)


def _unknown_model(source: str | Path) -> UnknownModelError:
    names = [*FAMILIES, *sorted(_SHA256), *BACKBONES]
    hint = did_you_mean(str(source), known=names)
    return UnknownModelError(
        f"no model named {str(source)!r}; known names: {', '.join(names)}{hint or '.'} "
        "A file is given by its path and ends in .mft or .pt; or give the folder of a "
        "training"
    )


def _choose_member(
    family: str, properties: Collection[str], domain: str | None
) -> str | Path:
    if not properties:
        return member_for(family, domain)
    first, *others = find_members(family, properties)
    if others:
        msg = (
            f"no single model of {family} predicts {', '.join(properties)}; some are "
            f"of {first}, some of {', '.join(map(str, others))}"
        )
        raise UnknownPropertyError(msg)
    return first


def domain_of(source: str | Path, path: Path) -> Domain | None:
    """Return what a shipped model is for, if it was asked for by a name.

    Parameters
    ----------
    source : str or Path
        As for :func:`resolve_model`.
    path : Path
        What that returned.

    Returns
    -------
    {"crystals", "molecules"} or None
    """
    if not isinstance(source, str):
        return None
    known = registered_models()
    for members in FAMILIES.values():
        for domain, name in members.items():
            if known[name].path == path:
                return domain
    return None
