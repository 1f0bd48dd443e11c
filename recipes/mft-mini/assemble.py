"""Put what was measured beside the training runs onto the cards of mft-mini.

Usage: python assemble.py [--runs runs] [--to .]

Writes ``mft-mini-crystals.mft`` and ``mft-mini-molecules.mft``: the models of
``crystals_relax.yaml`` and ``molecules.yaml``, whose cards have in addition

* the errors on the three clusters that the model of ``crystals_clusters.yaml``, with
  the settings of ``crystals.yaml``, was not trained on;
* how far each step has moved the descriptor from that which it started from
  (1-Wasserstein distance, Eq. 15 of arXiv:2601.08486), as the collapse reports beside
  the models say.
"""

from __future__ import annotations

from pathlib import Path

import click

from mftscreen.finetune.outcome.collapse import read_collapse
from mftscreen.model.files.bundle import ModelCard, read_bundle, write_bundle

MEMBERS: dict[str, tuple[list[str], str | None]] = {
    "crystals": (["crystals", "crystals_relax"], "crystals_clusters"),
    "molecules": (["molecules"], None),
}
"""The steps of each model, and the run that leaves clusters out."""


def add_clusters(card: ModelCard, without: ModelCard) -> None:
    """Add the errors of a model that was trained without some clusters."""
    fold = without.provenance["config"]["data"]["split"]["fold"]
    clusters = fold.replace("-", ", ")
    test = f"clusters {clusters}, by the model of crystals_clusters.yaml"
    for name, head in card.properties.items():
        head.metrics[test] = without.properties[name].metrics["ood"]


def read_drift(run: Path) -> dict[str, float]:
    """Return how far a run has moved the descriptor."""
    path = run / "model.mft"
    collapse = read_collapse(path)
    if collapse is None:
        msg = f"{path}: no collapse report beside it; finetune --resume makes it"
        raise click.ClickException(msg)
    return dict(collapse.numbers)


@click.command()
@click.option("--runs", type=click.Path(path_type=Path), default="runs")
@click.option("--to", "folder", type=click.Path(path_type=Path), default=".")
def main(runs: Path, folder: Path) -> None:
    """Write the two models of mft-mini."""
    folder.mkdir(parents=True, exist_ok=True)
    for member, (steps, without) in MEMBERS.items():
        bundle = read_bundle(runs / steps[-1] / "model.mft")
        left_out = runs / str(without) / "model.mft"
        if left_out.exists():
            add_clusters(bundle.card, read_bundle(left_out).card)
        elif without is not None:
            click.echo(f"{left_out} is not there: no errors on clusters", err=True)
        bundle.card.provenance["drift"] = read_drift(runs / steps[-1])
        if before := {step: read_drift(runs / step) for step in steps[:-1]}:
            bundle.card.provenance["drift_before"] = before
        target = folder / f"mft-mini-{member}.mft"
        write_bundle(
            target,
            bundle.card,
            bundle.checkpoint,
            bundle.reference,
            bundle.calibration,
            bundle.readouts,
            bundle.neighborhoods,
        )
        click.echo(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
