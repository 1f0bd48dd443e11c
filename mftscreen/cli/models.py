"""``mftscreen models``."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """List the shipped models, or show a model's card.

    \b
    Example:
      mftscreen models list
      mftscreen models show mft-mini
    """


@command.command("list")
def list_models() -> None:
    """List the models that come with the package.

    \b
    Example:
      mftscreen models list
    """
    from mftscreen.model.bundle import read_bundle
    from mftscreen.model.registry import registered_models

    for model in registered_models().values():
        card = read_bundle(model.path).card
        predicts = ["energy", "forces", "stress"] if card.energy_head else []
        click.echo(
            f"{model.name}\t{', '.join([*predicts, *card.properties])}"
            f"\tsha256 {model.sha256[:12]}"
        )


@command.command("show")
@click.argument("model")
def show_model(model: str) -> None:
    """Show the card of MODEL (a name or a .mft file) as JSON.

    \b
    Example:
      mftscreen models show mft-mini
    """
    from mftscreen.model.bundle import read_bundle
    from mftscreen.model.registry import resolve_model

    path, _ = resolve_model(model)
    bundle = read_bundle(path)
    click.echo(bundle.card.model_dump_json(indent=2))
    click.echo(f"sha256 {bundle.sha256}", err=True)
