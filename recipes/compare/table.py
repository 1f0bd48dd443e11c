"""Print the errors and drifts of one comparison, or of several that differ in the seed.

Usage: python table.py RUN [RUN ...]

RUN is what ``mftscreen finetune --compare ... -o RUN`` has written. Each row is one
strategy on one fold: means over the runs that have it and, of several, the range in
brackets. With FT and MFT, the last lines say in how many pairs of one run and fold MFT
errs less.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import click

ERRORS = {"ID MAE": "id", "OOD MAE": "ood"}
DRIFTS = {
    "W1 train": "w1_train",
    "W1 ID": "w1_id",
    "W1 OOD": "w1_ood",
    "DB, descriptor": "db_descriptor",
}
Run = dict[tuple[str, str], dict[str, dict[str, float]]]


def read(folder: Path) -> Run:
    """Return the errors and drifts by strategy and fold."""
    document = json.loads((folder / "compare.json").read_text())
    return {
        (result["strategy"], result["fold"]): {
            "mae": {part: m["mae"] for part, m in result["metrics"].items()},
            "drift": result["drift"],
        }
        for result in document["results"]
    }


def cell(values: Sequence[float | None]) -> str:
    """Return the mean and, of several, the range."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    text = f"{mean(known):.3g}"
    if min(known) == max(known):
        return text
    return f"{text} ({min(known):.3g}-{max(known):.3g})"


def mft_over_ft(runs: list[Run], part: str) -> list[float]:
    """Return the error of MFT over that of FT, for each run and fold that has both."""
    return [
        run["mft", fold]["mae"][part] / errors["mae"][part]
        for run in runs
        for (strategy, fold), errors in run.items()
        if strategy == "ft" and ("mft", fold) in run
    ]


@click.command()
@click.argument("folders", metavar="RUN...", nargs=-1, required=True)
def main(folders: tuple[str, ...]) -> None:
    """Print a Markdown table of comparisons that differ in their seeds."""
    runs = [read(Path(folder)) for folder in folders]
    names = ["strategy", "fold", *ERRORS, *DRIFTS]
    click.echo(f"| {' | '.join(names)} |\n{'|---' * len(names)}|")
    for strategy, fold in runs[0]:
        found = [run[strategy, fold] for run in runs if (strategy, fold) in run]
        errors = [cell([one["mae"][key] for one in found]) for key in ERRORS.values()]
        drifts = [
            cell([one["drift"].get(key) for one in found]) for key in DRIFTS.values()
        ]
        click.echo(f"| {' | '.join([strategy, fold, *errors, *drifts])} |")
    for name, part in ERRORS.items():
        if ratios := mft_over_ft(runs, part):
            smaller = sum(ratio < 1 for ratio in ratios)
            click.echo(
                f"{name}: MFT smaller in {smaller} of {len(ratios)}, "
                f"MAE of MFT / MAE of FT {cell(ratios)}"
            )


if __name__ == "__main__":
    main()
