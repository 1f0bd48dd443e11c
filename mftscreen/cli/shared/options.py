"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import click

from mftscreen.cli.shared.checks import check_goals, checked
from mftscreen.cli.shared.commands import Choice
from mftscreen.cli.shared.completion import complete_models

__all__ = [
    "SEED",
    "Finite",
    "LocalPath",
    "alpha_option",
    "anyway_option",
    "carried",
    "carry_option",
    "device_option",
    "id_key_option",
    "jobs_option",
    "label_kind_option",
    "limit_option",
    "model_option",
    "only_property",
    "output_option",
    "policy_option",
    "quiet_option",
    "ranking_options",
    "reranking_options",
    "style_option",
    "verbose_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])

SEED = click.IntRange(0, 2**32 - 1)

_AS_SCREENED = "[default: as in the screening]"


class Finite(click.FloatRange):
    """A range of floating-point numbers, without NaN and infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number that a text stands for, as click asks of a type."""
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{number} is not a finite number", param, ctx)
        return number


class LocalPath(click.Path):
    """A path on this machine, as a :class:`pathlib.Path`.

    An empty text is refused, and a URL, before its password becomes part of a message.
    A file that is not there, or a folder in its place, is an error as all others that
    files have, not wrong usage.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the path that a text stands for, as click asks of a type."""
        if value == "":  # which would be the current folder
            self.fail("an empty path", param, ctx)
        if isinstance(value, str) and "://" in value:
            from mftscreen.data.readers import without_password

            msg = f"{without_password(value)} is a URL; a local path is needed here"
            self.fail(msg, param, ctx)
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            from mftscreen.errors import DataError

            raise DataError(error.message) from error


model_option = click.option(
    "-m",
    "--model",
    default=None,
    shell_complete=complete_models,
    help="Name of a shipped model, .mft file, or folder of a training.  [default: "
    "mft-mini]",
)
device_option = click.option(
    "--device",
    type=Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to run the model.",
)
anyway_option = click.option(
    "--anyway",
    is_flag=True,
    help="Evaluate also what the model was not made for (a molecule by a model of "
    "crystals, say), and flag it.",
)
quiet_option = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    help="Say nothing of progress and of what is written.",
)
label_kind_option = click.option(
    "--kind",
    type=Choice(["number", "class"]),
    default="number",
    show_default=True,
    help="Of the labels; a class is true or false, yes or no, 1 or 0.",
)
output_option = click.option(
    "-o",
    "--output",
    type=LocalPath(dir_okay=False),
    default=None,
    help="Write all rows to FILE.csv, .jsonl, .parquet or .db (ASE).",
)
carry_option = click.option(
    "--carry",
    metavar="all|none|KEY,KEY",
    default=None,
    help="What the source says of candidates (key-value pairs of an ase.db, info of "
    "extxyz, columns of CSV) as columns, too.  [default: all for -o FILE.db, or none]",
)
id_key_option = click.option(
    "--id-key",
    metavar="KEY",
    default=None,
    help="Name candidates by this key of the source.",
)
_RANKING: dict[str, tuple[str, dict[str, Any]]] = {
    "method": (
        "--by",
        {
            "type": Choice(["pareto", "desirability"]),
            "default": "pareto",
            "help": "How several goals make one order.",
        },
    ),
    "policy": (
        "--ood",
        {
            "type": Choice(["label", "demote", "exclude"]),
            "default": "label",
            "help": "Candidates that are out of distribution: only label them, also "
            "put them last, or leave them out.",
        },
    ),
    "alpha": (
        "--alpha",
        {
            "type": Finite(0, 1, min_open=True, max_open=True),
            "default": 0.05,
            "help": "Flag candidates with an OOD p-value up to this.",
        },
    ),
    "coverage": (
        "--coverage",
        {
            "type": Finite(0, 1, min_open=True, max_open=True),
            "default": 0.9,
            "help": "Share of true values that the prediction intervals are to hold.",
        },
    ),
    "diverse": (
        "--diverse",
        {
            "type": click.IntRange(min=0),
            "default": 0,
            "metavar": "N",
            "help": "List first N candidates unlike each other, out of the best 10 N.",
        },
    ),
    "duplicates": (
        "--duplicates",
        {
            "type": Choice(["identical", "equivalent"]),
            "default": "identical",
            "help": "Copies, which get no rank: with the same numbers, or also the "
            "same crystal in another cell, orientation or order of atoms.",
        },
    ),
}
"""Options of :class:`mftscreen.screen.order.rank_options.RankOptions`, but for the
goals."""


def _ranking_option(name: str) -> Callable[[Command], Command]:
    flag, attributes = _RANKING[name]
    return click.option(flag, name, show_default=True, **attributes)


policy_option = _ranking_option("policy")
alpha_option = _ranking_option("alpha")

limit_option = click.option(
    "-L",
    "--limit",
    type=click.IntRange(min=1),
    default=None,
    help="Print this many rows; files get all.  [default: 20 in a table, all in CSV]",
)
style_option = click.option(
    "--format",
    "style",
    type=Choice(["auto", "table", "csv"]),
    default="auto",
    help="On standard output: a table for people or CSV.  "
    "[default: table on a terminal, else CSV]",
)

verbose_option = click.option(
    "-v", "--verbose", is_flag=True, help="Say what remarks on intervals rest on."
)


def ranking_options(command: Command) -> Command:
    """Add what a ``RankOptions`` needs beside the goals."""
    for name in reversed(_RANKING):
        command = _ranking_option(name)(command)
    return command


def reranking_options(command: Command) -> Command:
    """Add the same and the goals, without defaults: a run folder holds its own.

    :func:`mftscreen.screen.result.screen_result.read_options` takes them.
    """
    for name, (flag, attributes) in reversed(_RANKING.items()):
        text = f"{attributes['help']}  {_AS_SCREENED}"
        changed = attributes | {"default": None, "help": text}
        command = click.option(flag, name, **changed)(command)
    text = f"gap:max, gap=1.2..1.6, 'mass<=90'; quote < and >.  {_AS_SCREENED}"
    return click.option(
        "-g",
        "--goal",
        "goals",
        multiple=True,
        callback=checked(check_goals),
        help=text,
    )(command)


def carried(carry: str | None, output: Path | None) -> bool | str:
    """Return what ``--carry`` means for an output."""
    if carry is None:
        return output is not None and output.suffix == ".db"
    return {"all": True, "none": False}.get(carry, carry)


def _not_zero(ctx: click.Context, param: click.Parameter, value: int) -> int:
    if value == 0:
        msg = "0 is neither a number of processes nor -1"
        raise click.BadParameter(msg, ctx, param)
    return value


jobs_option = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=-1),
    callback=_not_zero,
    default=1,
    show_default=True,
    help="Number of processes; -1 for all cores.",
)


def only_property(models: Sequence[str]) -> str:
    """Return the property that is meant if there is no choice."""
    from mftscreen.errors import UnknownPropertyError
    from mftscreen.model.files.bundle import read_bundle
    from mftscreen.model.files.registry import (
        DEFAULT_MODEL,
        check_fine_tuned,
        find_members,
        resolve_model,
    )

    model = models[0] if models else DEFAULT_MODEL
    check_fine_tuned(model)
    names: list[str] = []
    for member in find_members(model):
        path, _ = resolve_model(member)
        if path.suffix == ".pt":
            msg = (
                f"{path} is a deepmd-kit checkpoint, which has no card; say which "
                f"property with --property ('mftscreen models show {path}' lists its "
                "heads)"
            )
            raise UnknownPropertyError(msg)
        names += read_bundle(path).card.properties
    if len(names) == 1:
        return names[0]
    msg = (
        f"model {model} predicts several properties; choose --property from: "
        f"{', '.join(names)}"
        if names
        else f"model {model} predicts no property"
    )
    raise UnknownPropertyError(msg)
