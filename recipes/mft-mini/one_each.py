"""One model of three properties, or one model for each? Compare errors on clusters.

Usage: python one_each.py [--steps 18000] [--to one_each]

Trains ``crystals_clusters.yaml`` with all three properties, then with each alone for a
third of the steps: one descriptor of the same size for each, at the same cost together.
The force field has a weight of its own in each (``LAMBDA``), near the balance of both
gradients. Runs of this many steps that are there are not repeated. Prints, for each
property, errors on the clusters left out (OOD), and the gradient of the force field in
the descriptor, relative to that of the properties.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import yaml
from ase import Atoms
from ase.io import write

from mftscreen.data.readers import iter_extxyz
from mftscreen.finetune.config.document import read_document
from mftscreen.model.files.bundle import ModelCard, read_bundle
from mftscreen.ood.splits import Fold, Split, SplitData

BASE = Path("crystals_clusters.yaml")
LAMBDA = {"dielectric": 0.02, "log_gvrh": 0.5, "perovskites": 0.5}


def rows_of(name: str, everything: Path, split: Split, folder: Path) -> dict[str, str]:
    """Write the rows that have a property, and their split; return both paths."""
    rows = [a for a in iter_extxyz(everything) if isinstance(a, Atoms)]
    rows = [atoms for atoms in rows if name in atoms.info]
    ids = [atoms.info["id"] for atoms in rows]
    data = SplitData(ids, rows, np.array([atoms.info[name] for atoms in rows]))
    own = set(ids)
    folds = [
        Fold(
            fold.name,
            *(
                tuple(row for row in part if row in own)
                for part in (fold.train, fold.val, fold.test, fold.id_test)
            ),
        )
        for fold in split.folds
    ]
    paths = {"train": folder / f"{name}.extxyz", "file": folder / f"{name}.json"}
    write(paths["train"], rows, format="extxyz")
    Split(
        split.method, split.parameters, split.seed, data.hash, tuple(ids), tuple(folds)
    ).write(paths["file"])
    return {key: str(path.resolve()) for key, path in paths.items()}


def train(properties: list[str], steps: int, run: Path, threads: int) -> ModelCard:
    """Return the card of a model of some of the properties, trained if need be."""
    path = run / "model.mft"
    if not path.exists():
        document = yaml.safe_load(read_document(BASE))
        if len(properties) == 1:
            (name,) = properties
            (everything,) = document["data"]["train"]
            split = Split.read(BASE.parent / document["data"]["split"]["file"])
            paths = rows_of(name, BASE.parent / everything, split, run.parent)
            document["data"]["train"] = [paths["train"]]
            document["data"]["split"]["file"] = paths["file"]
            document["auxiliary"]["lambda_reg"] = LAMBDA[name]
            document["properties"] = {name: document["properties"][name]}
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
    together = train(names, steps, folder / f"all_{steps}", threads)
    titles = ["property", "heads", "OOD rows", "OOD MAE", "gradient ratio"]
    click.echo(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for name in names:
        length = steps // len(names)
        alone = train([name], length, folder / f"{name}_{length}", threads)
        for card in (together, alone):
            metrics = card.properties[name].metrics["ood"]
            click.echo(
                f"| {name} | {len(card.properties)} | {metrics['n']:.0f} "
                f"| {metrics['mae']:.3g} | {card.provenance['gradient_ratio']:.2g} |"
            )


if __name__ == "__main__":
    main()
