"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["device_option", "model_option", "output_option", "quiet_option"]

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
