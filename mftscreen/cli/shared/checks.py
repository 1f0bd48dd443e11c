"""Values that have a form of their own; another form is wrong usage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

__all__ = [
    "check_folder",
    "check_goals",
    "check_keep",
    "check_not_empty",
    "check_pairs",
    "check_relaxer",
    "check_symbols",
    "checked",
    "given",
    "symbols",
]


def checked(
    check: Callable[[Any], object],
) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback of an option by which what a check refuses is wrong usage.

    Parameters
    ----------
    check : callable
        Takes the value, if one is given, and raises a MftscreenError.
    """

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        from mftscreen.errors import MftscreenError

        try:
            if given(ctx, str(param.name)):
                check(value)
        except MftscreenError as error:
            raise click.BadParameter(str(error), ctx, param) from error
        return value

    return callback


def given(ctx: click.Context, *names: str) -> list[str]:
    """Return those options that stand on the command line."""
    return [
        f"--{name.replace('_', '-')}"
        for name in names
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]


def check_not_empty(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> str | None:
    """Return a text; one that is empty, as of a variable of a shell, is wrong usage."""
    if value is not None and not value.strip():
        msg = "an empty text"
        raise click.BadParameter(msg, ctx, param)
    return value


def check_folder(folder: Path, config: Path) -> None:
    """Raise if a folder that is named after a configuration is that file itself."""
    if folder == config:
        msg = f"{config} has no ending to leave out: name another folder with -o"
        raise click.UsageError(msg)


def check_goals(texts: Sequence[str]) -> None:
    """Raise a ConfigError if ``--goal`` is not understood."""
    from mftscreen.screen.order.goals import parse_goals

    parse_goals(texts)


def check_keep(keep: str) -> None:
    """Raise a ConfigError if ``--keep`` is neither a share nor a number."""
    from mftscreen.screen.funnel import count_kept

    count_kept(keep, 0)


def check_pairs(texts: Sequence[str]) -> None:
    """Raise a DataError if a ``--pair`` is not two chemical symbols."""
    from mftscreen.diagnostics.edge_kinds import parse_pair

    for text in texts:
        parse_pair(text)


def check_relaxer(name: str) -> None:
    """Raise a ConfigError if ``--relaxer`` is not a module and a factory."""
    from mftscreen.screen.relax.foreign import factory_parts

    factory_parts(name)


def check_symbols(text: str) -> None:
    """Raise a ConfigError if ``--exclude-elements`` has something else than symbols."""
    from mftscreen.screen.candidates.elements import ElementFilter

    ElementFilter(exclude=symbols(text))


def symbols(text: str) -> frozenset[str]:
    """Return the chemical symbols of a text with commas or spaces between them."""
    return frozenset(text.replace(",", " ").split())
