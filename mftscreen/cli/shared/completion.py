"""What a shell may complete: names of models, properties, recipes and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

__all__ = [
    "complete_backbones",
    "complete_data_sets",
    "complete_faults",
    "complete_models",
    "complete_properties",
    "complete_recipes",
]

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(names: Callable[[click.Context], Iterable[str]]) -> Completer:
    """Return what completes by some names, as click asks of ``shell_complete``."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [
            CompletionItem(name) for name in names(ctx) if name.startswith(incomplete)
        ]

    return complete


def complete_models(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a model or, if there is none, the path of a file."""
    from mftscreen.model.files.pretrained import BACKBONES
    from mftscreen.model.files.registry import FAMILIES, registered_models

    names = [*FAMILIES, *registered_models(), *BACKBONES]
    known = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    # a shell takes files where it is left without names
    return [CompletionItem(incomplete, type="file"), *known]


def _backbones(_: click.Context) -> Iterable[str]:
    from mftscreen.model.files.pretrained import BACKBONES

    return BACKBONES


def _properties(ctx: click.Context) -> Iterable[str]:
    """Return what the models that were named before, or else ours, predict."""
    from mftscreen.model.files.registry import DEFAULT_MODEL, properties_of

    given = ctx.params.get("models") or ctx.params.get("model") or DEFAULT_MODEL
    return properties_of([given] if isinstance(given, str) else given)


def _recipes(_: click.Context) -> Iterable[str]:
    from mftscreen.finetune.config.recipes import find_recipes

    return find_recipes()


def _data_sets(_: click.Context) -> Iterable[str]:
    from mftscreen.data.public_sets import DATASETS

    return DATASETS


def _faults(_: click.Context) -> Iterable[str]:
    from mftscreen.cli.explain import STATUSES, faults_by_status, known_faults

    return [*known_faults(), *STATUSES, *faults_by_status()]


complete_backbones = _completer(_backbones)
complete_properties = _completer(_properties)
complete_recipes = _completer(_recipes)
complete_data_sets = _completer(_data_sets)
complete_faults = _completer(_faults)
