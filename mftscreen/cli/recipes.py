"""``mftscreen recipes``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mftscreen.cli import EXIT_ERROR
from mftscreen.cli.shared.commands import Group
from mftscreen.cli.shared.completion import complete_recipes
from mftscreen.cli.shared.options import LocalPath
from mftscreen.console.text_table import text_table

__all__ = ["command"]


@click.group("recipes", cls=Group)
def command() -> None:
    """List, show, copy and validate configurations for 'mftscreen finetune'.

    \b
    Example:
      mftscreen recipes list
      mftscreen recipes copy mft/dielectric my
      mftscreen recipes validate my/config.yaml
      mftscreen finetune my/config.yaml
    """


@command.command("list")
def list_recipes() -> None:
    """List the recipes and what each is for.

    \b
    Example:
      mftscreen recipes list
    """
    from mftscreen.finetune.config.recipes import find_recipes

    lines = [(name, recipe.summary) for name, recipe in find_recipes().items()]
    click.echo(text_table(lines), nl=False)


@command.command("show")
@click.argument("name", shell_complete=complete_recipes)
def show_recipe(name: str) -> None:
    """Print the configuration of the recipe NAME, whole and with its comments.

    \b
    Example:
      mftscreen recipes show mft/dielectric
    """
    from mftscreen.finetune.config.recipes import find_recipe

    click.echo(find_recipe(name).text, nl=False)


@command.command("copy")
@click.argument("name", shell_complete=complete_recipes)
@click.argument("destination", type=LocalPath(file_okay=False))
def copy_recipe(name: str, destination: Path) -> None:
    """Copy the recipe NAME and the files beside it to the folder DESTINATION.

    \b
    Example:
      mftscreen recipes copy mft/dielectric my
    """
    from mftscreen.finetune.config import recipes

    for path in recipes.copy_recipe(recipes.find_recipe(name), destination):
        click.echo(path)


@command.command("validate")
@click.argument("paths", nargs=-1, required=True, type=LocalPath())
@click.pass_context
def validate(ctx: click.Context, paths: tuple[Path, ...]) -> None:
    """Check configurations without training; name the files that are still missing.

    In the data files that are there, the labels are looked for, and the names of
    pretrained models among those that are known. All configurations are checked; the
    exit code is 1 if one is not valid.

    \b
    Example:
      mftscreen recipes validate my/config.yaml
    """
    from mftscreen.errors import ConfigError
    from mftscreen.finetune.config.recipes import missing_files

    n_bad = 0
    for path in paths:
        try:
            config, kind = _load(path)
        except ConfigError as error:
            click.echo(f"Error: {error}{_how_to_copy(path)}", err=True)
            n_bad += 1
            continue
        click.echo(f"{path}: a valid {kind} configuration")
        for missing in missing_files(config):
            click.echo(f"  not there yet: {missing}")
    if n_bad:
        ctx.exit(EXIT_ERROR)


def _load(path: Path) -> tuple[Any, str]:
    """Return a configuration and its kind; raise if it has problems."""
    from mftscreen.errors import ConfigError
    from mftscreen.finetune.config.document import read_document
    from mftscreen.finetune.config.read import load_config
    from mftscreen.finetune.config.recipes import is_study
    from mftscreen.finetune.task.label_names import find_unknown_labels
    from mftscreen.study.config import load_study

    if is_study(read_document(path)):
        study = load_study(path)
        problems = _unknown_models(
            {f"backbones: {name}": b.pretrained for name, b in study.backbones.items()},
            path.parent,
        )
        changes = {
            f"variants: {name}": changed["pretrained"]
            for name, changed in study.variants.items()
            if "pretrained" in changed
        }
        # paths in them start at the folder of a task
        for folder in {task.parent for task in study.tasks.values()}:
            problems += _unknown_models(changes, folder, several=False)
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)), path=path)
        for task in filter(Path.exists, study.tasks.values()):
            _load(task)
        return study, "study"
    config: Any = load_config(path)
    problems = find_unknown_labels(config)
    sources = [*filter(None, [config.plan.pretrained]), *config.plan.beside]
    problems += _unknown_models({"pretrained": sources}, path.parent)
    if problems:
        raise ConfigError(problems, path=path)
    return config, config.strategy


def _unknown_models(
    named: Mapping[str, Any], folder: Path, *, several: bool = True
) -> list[str]:
    """Return what is wrong with names of models, by where they stand."""
    from mftscreen.errors import UnknownModelError
    from mftscreen.model.files.registry import check_model_source

    problems = []
    for where, given in named.items():
        sources = given if several and isinstance(given, list) else [given]
        for source in sources:
            if not isinstance(source, str):
                problems.append(f"{where}: the name of one model is needed")
                continue
            try:
                check_model_source(source, folder)
            except UnknownModelError as error:
                problems.append(f"{where}: {error}")
    return problems


def _how_to_copy(path: Path) -> str:
    """Return what to add to an error about a path, if a recipe's name was meant."""
    from mftscreen.finetune.config.recipes import find_recipes

    wanted = path.as_posix()
    if not path.exists():
        for name in find_recipes():
            if name == wanted or name.startswith(f"{wanted}/"):
                return f"; copy it first: mftscreen recipes copy {name} DIR"
    return ""
