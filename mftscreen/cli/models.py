"""``mftscreen models``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mftscreen.cli.shared.options import quiet_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mftscreen.model.files.branches import Domain

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """List, download and show models.

    \b
    Example:
      mftscreen models list
      mftscreen models show mft-mini
      mftscreen models download DPA-3.1-3M
    """


@command.command("list")
def list_models() -> None:
    """List the models that have a name.

    They come with the package, or are downloaded or converted when they are first
    used, or by 'mftscreen models download'.

    \b
    Example:
      mftscreen models list
    """
    from mftscreen.errors import UnknownModelError
    from mftscreen.model.backbones import converted_models, pretrained_models
    from mftscreen.model.files.bundle import read_bundle
    from mftscreen.model.files.converted import converted_model
    from mftscreen.model.files.download import backbone
    from mftscreen.model.files.registry import FAMILIES, registered_models

    for family, members in FAMILIES.items():
        names = " or ".join(members.values())
        click.echo(f"{family}\t{names}, by the property that is asked for")
    for model in registered_models().values():
        card = read_bundle(model.path).card
        predicts = ["energy", "forces", "stress"] if card.energy_head else []
        click.echo(
            f"{model.name}\t{', '.join([*predicts, *card.properties])}"
            f"\tsha256 {model.sha256[:12]}\tshipped"
        )
    for name, domains in pretrained_models().items():
        try:
            known = backbone(name)
        except UnknownModelError as error:  # by the deepmd-kit that is installed
            click.echo(error, err=True)
            continue
        where = known.path if known.path.is_file() else "not downloaded"
        _echo_backbone(name, domains, known.sha256, where)
    for name, kind in converted_models().items():
        made = converted_model(name)
        where = made.path if made.sha256 else f"comes with {kind.package}"
        _echo_backbone(name, kind.converted[name], made.sha256, where)


def _echo_backbone(
    name: str, domains: Mapping[Domain, str], sha256: str | None, where: Path | str
) -> None:
    heads = ", ".join(f"{domain}: {head}" for domain, head in domains.items())
    digest = f"sha256 {sha256[:12]}" if sha256 else "not converted"
    click.echo(f"{name}\tenergy, forces, stress ({heads})\t{digest}\t{where}")


@command.command("download")
@click.argument("name")
@quiet_option
def download_model(name: str, quiet: bool) -> None:
    """Download the large pretrained model NAME and print where it is.

    One that comes with another Python package is converted instead. What is there
    already is only checked. Models are kept where deepmd-kit keeps them, or in the
    folder that MFTSCREEN_MODELS names.

    \b
    Example:
      mftscreen models download DPA-3.1-3M
    """
    from mftscreen.errors import UnknownModelError
    from mftscreen.model.files.pretrained import BACKBONES, obtain_backbone

    if name not in BACKBONES:
        msg = f"no model {name!r} to download; there are {', '.join(BACKBONES)}"
        raise UnknownModelError(msg)
    click.echo(obtain_backbone(name, progress=not quiet)[0])


@command.command("show")
@click.argument("model")
@quiet_option
def show_model(model: str, quiet: bool) -> None:
    """Show the card of MODEL (a name or a file) as JSON.

    A deepmd-kit checkpoint has no card; its elements and heads are shown, and where it
    is from if it says so. A large pretrained model is downloaded or converted for that,
    if it is not there.

    \b
    Example:
      mftscreen models show mft-mini
    """
    from mftscreen.model.files.bundle import read_bundle
    from mftscreen.model.files.registry import find_members, resolve_model

    first, *others = find_members(model)
    if others:
        msg = (
            f"{model} stands for {first}, shown here, and {', '.join(map(str, others))}"
        )
        click.echo(msg, err=True)
    path, _ = resolve_model(first, progress=not quiet)
    if path.suffix == ".pt":
        click.echo(json.dumps(_describe_checkpoint(path), indent=2))
        return
    bundle = read_bundle(path)
    click.echo(bundle.card.model_dump_json(indent=2))
    click.echo(f"sha256 {bundle.sha256}", err=True)


def _describe_checkpoint(path: Path) -> dict[str, Any]:
    from mftscreen.model.files.branches import energy_branches
    from mftscreen.model.files.checkpoint import model_parameters
    from mftscreen.model.files.reading import read_state

    parameters = model_parameters(read_state(path))
    energies = energy_branches(parameters)
    first = next(iter(parameters.values()))
    return {
        **({"info": first["info"]} if "info" in first else {}),
        "elements": first["type_map"],
        "heads": {
            name: {
                "predicts": "energy" if name in energies else _predicted(own),
                "aliases": own.get("model_branch_alias", []),
            }
            for name, own in parameters.items()
        },
    }


def _predicted(own: dict[str, Any]) -> str:
    """Return the property of a head that is not for energies, or its kind."""
    fitting: dict[str, str] = own["fitting_net"]
    return fitting.get("property_name", fitting["type"])
