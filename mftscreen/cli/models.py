"""``mftscreen models``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mftscreen.cli.shared.commands import Group
from mftscreen.cli.shared.completion import complete_backbones, complete_models
from mftscreen.cli.shared.options import LocalPath, quiet_option
from mftscreen.cli.shared.summary import say_written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mftscreen.model.files.branches import Domain
    from mftscreen.properties import PropertySpec

__all__ = ["command"]


@click.group("models", cls=Group)
def command() -> None:
    """List, download, show, export and import models.

    \b
    Example:
      mftscreen models list
      mftscreen models show mft-mini
      mftscreen models download DPA-3.1-3M
      mftscreen models export mft-mini --head crystals -o crystals.pth
    """


@command.command("list")
def list_models() -> None:
    """List the models that have a name.

    They come with the package, or are downloaded or converted when they are first
    used, or by 'mftscreen models download'. With tabs between: name, what it predicts
    (energies in eV, forces in eV/Å, stress in eV/Å^3; units of other properties in
    brackets), sha256, size and where it is.

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
        predicts += [_with_unit(head.spec) for head in card.properties.values()]
        click.echo(
            f"{model.name}\t{', '.join(predicts)}\tsha256 {model.sha256[:12]}"
            f"\t{_size(model.path)}\tshipped"
        )
    for name, domains in pretrained_models().items():
        try:
            known = backbone(name)
        except UnknownModelError as error:  # by the deepmd-kit that is installed
            click.echo(error, err=True)
            continue
        where = known.path if known.path.is_file() else "not downloaded"
        _echo_backbone(name, domains, known.sha256, known.path, where)
    for name, kind in converted_models().items():
        made = converted_model(name)
        where = made.path if made.sha256 else f"comes with {kind.package}"
        _echo_backbone(name, kind.converted[name], made.sha256, made.path, where)


def _echo_backbone(
    name: str,
    domains: Mapping[Domain, str],
    sha256: str | None,
    path: Path,
    where: Path | str,
) -> None:
    heads = ", ".join(f"{domain}: {head}" for domain, head in domains.items())
    digest = f"sha256 {sha256[:12]}" if sha256 else "not converted"
    predicts = f"energy, forces, stress ({heads})"
    click.echo(f"{name}\t{predicts}\t{digest}\t{_size(path)}\t{where}")


def _with_unit(spec: PropertySpec) -> str:
    return spec.name if spec.unit == "1" else f"{spec.name} ({spec.unit})"


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB" if path.is_file() else "-"


@command.command("download")
@click.argument("name", shell_complete=complete_backbones)
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
    from mftscreen.suggestions import did_you_mean

    if name not in BACKBONES:
        msg = f"no model {name!r} to download; there are {', '.join(BACKBONES)}"
        msg += did_you_mean(name, known=BACKBONES)
        raise UnknownModelError(msg)
    click.echo(obtain_backbone(name, progress=not quiet)[0])


@command.command("show")
@click.argument("model", shell_complete=complete_models)
@click.option("--json", "as_json", is_flag=True, help="All of the card, for programs.")
@quiet_option
def show_model(model: str, as_json: bool, quiet: bool) -> None:
    """Show what MODEL predicts, in which units, and how well.

    MODEL is a name, a file, or the folder of a training.

    A deepmd-kit checkpoint has no card; its elements and heads are shown, and where it
    is from if it says so. A large pretrained model is downloaded or converted for that,
    if it is not there.

    \b
    Example:
      mftscreen models show mft-mini
      mftscreen models show my.mft --json
    """
    from mftscreen.model.files.bundle import read_bundle
    from mftscreen.model.files.card_view import card_text
    from mftscreen.model.files.registry import find_members, resolve_model

    first, *others = find_members(model)
    if others:
        msg = (
            f"{model} stands for {first}, shown here, and {', '.join(map(str, others))}"
        )
        click.echo(msg, err=True)
    path, _ = resolve_model(first, progress=not quiet)
    if path.suffix == ".pt":
        found = _describe_checkpoint(path)
        click.echo(json.dumps(found, indent=2) if as_json else _checkpoint_text(found))
        return
    bundle = read_bundle(path)
    if as_json:
        click.echo(bundle.card.model_dump_json(indent=2))
        click.echo(f"sha256 {bundle.sha256}", err=True)
        return
    size = path.stat().st_size / 1e6
    click.echo(card_text(bundle.card, bundle.sha256, size), nl=False)


@command.command("export")
@click.argument("model", shell_complete=complete_models)
@click.option(
    "--head",
    default=None,
    help="Force field or property to write.  [default: the force field]",
)
@click.option(
    "-o",
    "--output",
    type=LocalPath(dir_okay=False),
    required=True,
    help="FILE.pth (frozen, for LAMMPS and dp) or FILE.pt (a checkpoint).",
)
@quiet_option
def export(model: str, head: str | None, output: Path, quiet: bool) -> None:
    """Write a head of MODEL as a file that deepmd-kit and LAMMPS load.

    A frozen .pth is what 'dp --pt freeze' makes: 'pair_style deepmd FILE.pth' in LAMMPS
    built with deepmd-kit, DeepPot('FILE.pth') in Python. It knows neither domains nor
    p-values. 7net and DPA4 cannot be frozen so.

    \b
    Example:
      mftscreen models export mft-mini --head crystals -o crystals.pth
      mftscreen models export my.mft --head gap -o gap.pth
    """
    from mftscreen.model.exchange import export_model

    name = export_model(model, output, head)
    say_written(f"head {name} of {model}", output, quiet=quiet)
    click.echo(output)


def _units(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    units = {}
    for value in values:
        name, equals, unit = value.partition("=")
        if not (name and equals and unit):
            msg = f"{value!r} is not PROPERTY=UNIT, such as gap=eV"
            raise click.BadParameter(msg, ctx, param)
        units[name] = unit
    return units


@command.command("import")
@click.argument("file", type=LocalPath(dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=LocalPath(dir_okay=False),
    required=True,
    help="Write FILE.mft.",
)
@click.option("--name", default=None, help="Of the model.  [default: that of FILE]")
@click.option(
    "--energy-head", default=None, help="Head for energies, where there are several."
)
@click.option(
    "--unit",
    "units",
    multiple=True,
    metavar="PROPERTY=UNIT",
    callback=_units,
    help="Of a property, which FILE does not say; may be repeated.",
)
@click.option("--licence", default="", help="Of the model.")
@quiet_option
def import_(
    file: Path,
    output: Path,
    name: str | None,
    energy_head: str | None,
    units: dict[str, str],
    licence: str,
    quiet: bool,
) -> None:
    """Make a .mft of deepmd-kit's FILE: a .pt checkpoint or a frozen .pth.

    It predicts what FILE does. There are no p-values and no intervals, since its
    training set is not known. A frozen .pth is a program: take it only from those whom
    you trust.

    \b
    Example:
      mftscreen models import model.ckpt.pt -o theirs.mft --unit gap=eV
    """
    from mftscreen.model.exchange import import_model

    card = import_model(
        file,
        output,
        name=name,
        energy_head=energy_head,
        units=units,
        licence=licence,
    )
    predicts = ["energy"] if card.energy_head else []
    predicts += card.properties
    say_written(f"a model of {', '.join(predicts)}", output, quiet=quiet)
    click.echo(output)


def _checkpoint_text(found: dict[str, Any]) -> str:
    """Return what is known of a checkpoint, as a terminal shows it."""
    from mftscreen.console.text_table import text_table

    lines = [f"{key}: {value}" for key, value in found.get("info", {}).items()]
    elements: list[str] = found["elements"]
    lines.append(f"{len(elements)} elements: {' '.join(elements)}")
    table = [["head", "predicts", "also called"]]
    table += [
        [name, head["predicts"], ", ".join(head["aliases"])]
        for name, head in found["heads"].items()
    ]
    return "\n".join(lines) + "\n\n" + text_table(table).rstrip()


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
