"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = [
    "alpha_option",
    "device_option",
    "jobs_option",
    "model_option",
    "output_option",
    "policy_option",
    "quiet_option",
]

model_option = click.option(
    "-m",
    "--model",
    default=None,
    help="Name of a shipped model or path of a .mft file.  [default: mft-mini]",
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to run the model.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
output_option = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write all rows to FILE.csv, FILE.jsonl or FILE.db.",
)
policy_option = click.option(
    "--ood",
    "policy",
    type=click.Choice(["label", "demote", "exclude"]),
    default="label",
    show_default=True,
    help="Candidates that are out of distribution: only label them, also put them "
    "last, or leave them out.",
)
alpha_option = click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Flag candidates with an OOD p-value up to this.",
)
jobs_option = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=-1),
    default=1,
    show_default=True,
    help="Number of processes; -1 for all cores.",
)
