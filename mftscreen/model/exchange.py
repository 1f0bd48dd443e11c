"""Models for other programs, and from them: deepmd-kit's own kinds of files."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mftscreen.errors import (
    DataError,
    ModelFileError,
    UnknownHeadError,
    UnsupportedByBackboneError,
)
from mftscreen.model.files.branches import energy_branches, find_branch, main_head
from mftscreen.model.files.bundle import ModelCard, read_bundle, write_bundle
from mftscreen.model.files.checkpoint import (
    keep_heads,
    model_parameters,
    save_state,
)
from mftscreen.model.files.pretrained import find_domains
from mftscreen.model.files.registry import member_for, resolve_model
from mftscreen.model.loading import load_model, load_state
from mftscreen.model.network.rebuilding import build_models
from mftscreen.properties import suggestion
from mftscreen.suggestions import did_you_mean
from mftscreen.writing import check_place, output_file

__all__ = ["export_model", "import_model"]

FROZEN, CHECKPOINT = ".pth", ".pt"

log = logging.getLogger(__name__)


def export_model(model: str | Path, path: str | Path, head: str | None = None) -> str:
    """Write a head of a model as a file that deepmd-kit and LAMMPS load.

    Parameters
    ----------
    model : str or Path
        Name or file; of ``mft-mini``, `head` says which of both.
    path : str or Path
        ``.pth``: frozen, as ``dp --pt freeze`` writes it, for LAMMPS' ``pair_style
        deepmd``, ``deepmd.infer.DeepPot`` and ``dp test``. ``.pt``: a checkpoint, to go
        on with in deepmd-kit.
    head : str, optional
        Of the force field or of a property, or what stands for one (``crystals``); by
        default the force field that calculators use.

    Returns
    -------
    str
        The head's own name.

    Raises
    ------
    UnknownHeadError
        If there is no such head, or only a kernel predicts the property.
    UnsupportedByBackboneError
        If models of this kind cannot be frozen.
    ModelError
        If the model cannot be read.
    DataError
        If the file cannot be written, or is that of the model.

    Notes
    -----
    Units are deepmd-kit's: eV, Å. What a model knows of its limits stays behind: the
    frozen file gives numbers for whatever it is shown.
    """
    path = Path(path)
    if path.suffix not in (FROZEN, CHECKPOINT):
        msg = f"{path}: a model for others ends in {FROZEN} (frozen) or {CHECKPOINT}"
        raise ModelFileError(msg)
    check_place(path)
    source = member_for(str(model), head) if isinstance(model, str) else model
    state, sha256 = load_state(source)
    file, _ = resolve_model(source)
    _check_not_source(path, file)
    card = None if file.suffix == CHECKPOINT else read_bundle(file).card
    name = _find_head(model_parameters(state), card, head, sha256, source)
    kept = keep_heads(state, {"Default": name})
    # one task, as those who know nothing of several expect it
    kept["_extra_state"] = {
        **kept["_extra_state"],
        "model_params": model_parameters(kept)["Default"],
    }
    content = save_state(kept)
    if path.suffix == CHECKPOINT:
        with output_file(path) as partial:
            partial.write_bytes(content)
        return name
    _freeze(kept, path)
    return name


def import_model(
    source: str | Path,
    path: str | Path,
    *,
    name: str | None = None,
    energy_head: str | None = None,
    units: Mapping[str, str] | None = None,
    licence: str = "",
) -> ModelCard:
    """Make a ``.mft`` of deepmd-kit's own file.

    Parameters
    ----------
    source : str or Path
        A ``.pt`` checkpoint, or a frozen ``.pth``. The latter is a program: take it
        only from those whom you trust.
    path : str or Path
        Should end in ``.mft``.
    name : str, optional
        Of the model; by default that of the file.
    energy_head : str, optional
        Where there are several.
    units : mapping of str to str, optional
        Property to unit, which such files do not say.
    licence : str, optional

    Returns
    -------
    ModelCard
        It has no training set, and so results no p-values and no intervals.

    Raises
    ------
    ModelFileError
        If the file cannot be read, or holds what may not be in a model.
    UnknownHeadError
        If `energy_head` is needed, or there is no such head or property.
    DataError
        If the file cannot be written, or is `source`.
    """
    source, path = Path(source), Path(path)
    if path.suffix != ".mft":
        msg = f"{path}: a model file ends in .mft"
        raise ModelFileError(msg)
    check_place(path)
    _check_not_source(path, source)
    with TemporaryDirectory(prefix="mftscreen-") as folder:
        plain = source
        if source.suffix == FROZEN:
            plain = Path(folder) / f"{source.stem}{CHECKPOINT}"
            plain.write_bytes(save_state(_thaw(source)))
        elif source.suffix != CHECKPOINT:
            msg = f"{source}: deepmd-kit's files end in {FROZEN} or {CHECKPOINT}"
            raise ModelFileError(msg)
        # which refuses what may not be in a model
        card = load_model(plain, energy_head=energy_head).card
        state, _ = load_state(plain)
    card = _with_units(card, units or {}, source)
    card = card.model_copy(
        update={"name": name or source.stem, "strategy": "imported", "licence": licence}
    )
    write_bundle(path, card, save_state(state))
    return card


def _check_not_source(path: Path, source: Path) -> None:
    if path.exists() and source.exists() and path.samefile(source):
        msg = f"is the model {source}, which is read; choose another output"
        raise DataError(msg, path=path)


def _find_head(
    parameters: Mapping[str, Any],
    card: ModelCard | None,
    head: str | None,
    sha256: str,
    source: str | Path,
) -> str:
    """Return the name that a head has in the checkpoint."""
    energies = energy_branches(parameters)
    if card is not None:
        own = {name: p.head for name, p in card.properties.items()}
        head = head or card.energy_head
        if head in own:
            if own[head] is None:
                msg = (
                    f"{source}: {head} is predicted by a kernel, which has no such file"
                )
                raise UnknownHeadError(msg)
            if card.properties[head].readout is not None:
                log.warning(
                    "a kernel predicts %s here; its neural head is written", head
                )
            transform = card.properties[head].spec.transform
            if transform.kind != "identity":
                text = ", ".join(f"{k} {v}" for k, v in transform.model_dump().items())
                log.warning(
                    "the file gives %s as it was trained on; undo that: %s", head, text
                )
            return str(own[head])
    if head is None:
        return main_head(parameters)
    if head in parameters:
        return head
    try:
        return find_branch(energies, head, find_domains(sha256))
    except UnknownHeadError as error:
        known = [*parameters, *(() if card is None else card.properties)]
        names = ", ".join(dict.fromkeys(known))
        msg = f"{source}: no head {head!r}; it has {names}"
        msg += did_you_mean(head, known=known)
        raise UnknownHeadError(msg) from error


def _freeze(state: Mapping[str, Any], path: Path) -> None:
    import torch

    (model,) = build_models(state, torch.device("cpu"), accelerated=False).values()
    try:
        with _own_index_select():
            script = torch.jit.script(model)
    except (OSError, RuntimeError, TypeError) as error:
        kind = model_parameters(state)["Default"]["descriptor"]["type"]
        raise UnsupportedByBackboneError(kind, f"frozen files ({FROZEN})") from error
    with output_file(path) as partial:
        # what deepmd-kit looks for in its files
        torch.jit.save(script, str(partial), {"data_modifier.pth": ""})


@contextmanager
def _own_index_select() -> Iterator[None]:
    """Give torch its own function back.

    torch_geometric, which sevenn imports, puts another in its place that a frozen model
    cannot contain.
    """
    import torch

    other = torch.index_select
    torch.index_select = torch._C._VariableFunctions.index_select
    try:
        yield
    finally:
        torch.index_select = other


def _thaw(path: Path) -> dict[str, Any]:
    """Return the state of a frozen model."""
    import torch

    import mftscreen.model.plugins  # noqa: F401 - deepmd-kit's own operators

    try:
        load: Any = torch.jit.load  # which has no types
        frozen = load(str(path), map_location="cpu")
        parameters = json.loads(frozen.get_model_def_script())
        weights = {f"model.Default.{k}": v for k, v in frozen.state_dict().items()}
    except (AttributeError, OSError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[:1]
        msg = f"{path}: not a frozen model of deepmd-kit: {' '.join(first)}"
        raise ModelFileError(msg) from error
    return {**weights, "_extra_state": {"model_params": parameters}}


def _with_units(card: ModelCard, units: Mapping[str, str], source: Path) -> ModelCard:
    properties = dict(card.properties)
    for name, unit in units.items():
        if name not in properties:
            there = ", ".join(properties) or "none"
            msg = f"{source}: no property {name!r} to have a unit; there is {there}"
            msg += suggestion(name, {n: p.spec for n, p in properties.items()})
            raise UnknownHeadError(msg)
        spec = properties[name].spec.model_copy(update={"unit": unit})
        properties[name] = properties[name].model_copy(update={"spec": spec})
    return card.model_copy(update={"properties": properties})
