"""One model of three properties, or one model for each? Compare errors on clusters.

Usage: python one_each.py [--steps 18000] [--to one_each]

Trains ``crystals_clusters.yaml`` with all three properties, then with each alone for a
third of the steps: one descriptor of the same size for each, at the same cost together.
The weight of the force field is that which balances both gradients, in each its own
(``LAMBDA``). Runs that are there are not repeated. Prints, for each property, errors on
rows held out at random (ID) and on the clusters left out (OOD), and the gradient of the
force field in the descriptor, relative to that of the properties.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import yaml

from mftscreen.finetune.document import read_document
from mftscreen.model.bundle import ModelCard, read_bundle

BASE = Path("crystals_clusters.yaml")
LAMBDA = {"dielectric": 0.02, "log_gvrh": 0.5, "perovskites": 0.5}


def train(properties: list[str], steps: int, run: Path, threads: int) -> ModelCard:
    """Return the card of a model of some of the properties, trained if need be."""
    path = run / "model.mft"
    if not path.exists():
        document = yaml.safe_load(read_document(BASE))
        kept = {name: document["properties"][name] for name in properties}
        if len(properties) == 1:
            document["auxiliary"]["lambda_reg"] = LAMBDA[properties[0]]
        document["properties"] = kept
        del document["auxiliary"]["test"]  # takes minutes, and is not compared
        document["training"] |= {"steps": steps, "save_every": max(1, steps // 6)}
        config = BASE.with_name(f".{run.name}.yaml")  # paths start where it is
        config.write_text(yaml.safe_dump(document, sort_keys=False))
        command = [sys.executable, "-m", "mftscreen", "finetune", str(config)]
        command += ["-o", str(run), "--threads", str(threads), "--no-collapse-report"]
        if run.exists():
            command.append("--resume")
        try:
            subprocess.run(command, check=True)
        finally:
            config.unlink()
    return read_bundle(path).card


@click.command()
@click.option("--steps", default=18000, show_default=True, help="Of all properties.")
@click.option("--to", "folder", type=click.Path(path_type=Path), default="one_each")
@click.option("--threads", default=1, show_default=True)
def main(steps: int, folder: Path, threads: int) -> None:
    """Train the four models that are missing, and print a table."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(LAMBDA)
    together = train(names, steps, folder / "all", threads)
    titles = ["property", "heads", "ID MAE", "OOD MAE", "gradient ratio"]
    click.echo(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for name in names:
        alone = train([name], steps // len(names), folder / name, threads)
        for card in (together, alone):
            metrics = card.properties[name].metrics
            click.echo(
                f"| {name} | {len(card.properties)} | {metrics['id']['mae']:.3g} "
                f"| {metrics['ood']['mae']:.3g} "
                f"| {card.provenance['gradient_ratio']:.2g} |"
            )


if __name__ == "__main__":
    main()
