"""Put what was measured beside the training runs onto the cards of mft-mini.

Usage: python assemble.py [--runs runs] [--to .]

Writes ``mft-mini-crystals.mft`` and ``mft-mini-molecules.mft``: the models of
``crystals.yaml`` and ``molecules.yaml``, whose cards have in addition

* the errors on the three clusters that the model of ``crystals_clusters.yaml``, with
  the same settings, was not trained on;
* how far the descriptor has moved from the pretrained one (1-Wasserstein distance,
  Eq. 15 of arXiv:2601.08486), as the collapse reports beside the models say.
"""

from __future__ import annotations

from pathlib import Path

import click

from mftscreen.finetune.collapse import read_collapse
from mftscreen.model.bundle import ModelCard, read_bundle, write_bundle

MEMBERS = {"crystals": "crystals_clusters", "molecules": None}


def add_clusters(card: ModelCard, without: ModelCard) -> None:
    """Add the errors of a model that was trained without some clusters."""
    fold = without.provenance["config"]["data"]["split"]["fold"]
    clusters = fold.replace("-", ", ")
    for name, head in card.properties.items():
        errors = without.properties[name].metrics["ood"]
        head.metrics[f"clusters {clusters}, by a model trained without them"] = errors


@click.command()
@click.option("--runs", type=click.Path(path_type=Path), default="runs")
@click.option("--to", "folder", type=click.Path(path_type=Path), default=".")
def main(runs: Path, folder: Path) -> None:
    """Write the two models of mft-mini."""
    folder.mkdir(parents=True, exist_ok=True)
    for member, without in MEMBERS.items():
        path = runs / member / "model.mft"
        bundle = read_bundle(path)
        left_out = runs / str(without) / "model.mft"
        if left_out.exists():
            add_clusters(bundle.card, read_bundle(left_out).card)
        elif without is not None:
            click.echo(f"{left_out} is not there: no errors on clusters", err=True)
        collapse = read_collapse(path)
        if collapse is None:
            msg = f"{path}: no collapse report beside it; finetune --resume makes it"
            raise click.ClickException(msg)
        bundle.card.provenance["drift"] = collapse.numbers
        target = folder / f"mft-mini-{member}.mft"
        write_bundle(
            target,
            bundle.card,
            bundle.checkpoint,
            bundle.reference,
            bundle.calibration,
        )
        click.echo(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
