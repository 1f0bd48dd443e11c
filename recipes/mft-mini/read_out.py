"""Read trained models of this recipe out again, without training anything.

Usage: python read_out.py crystals_relax.yaml old.mft -o new.mft --kernel dielectric

The rows that the model was calibrated on stay its validation rows, the others of the
configuration its training rows; the hashes on the card tell whether they are the same.
Properties that ``--kernel`` names are read out by a kernel where that has the smaller
error on the validation rows, the others by their neural heads. Written anew are the
errors on the card, what intervals and error estimates are made of, and the kernels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.outcome.property_results import (
    PropertyResults,
    evaluate_properties,
)
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import TrainingData, read_rows
from mftscreen.model.files.bundle import (
    Bundle,
    PropertyHead,
    read_bundle,
    write_bundle,
)
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.properties import PropertySpec
from mftscreen.trust.neighborhood import open_neighborhoods, pack_neighborhoods


def divide(
    rows: Sequence[LabelledStructure], bundle: Bundle
) -> dict[str, list[LabelledStructure]]:
    """Return the rows that the model was trained on, and those that it was not."""
    names = bundle.card.properties
    held_out = {
        name: set(np.asarray(bundle.calibration[f"{name}/ids"]).tolist())
        for name in names
    }
    parts: dict[str, list[LabelledStructure]] = {"train": [], "validation": []}
    for row in rows:
        new = any(row.id in held_out[name] for name in names if name in row.labels)
        parts["validation" if new else "train"].append(row)
    return parts


def with_readout(path: Path, readout: str) -> Any:
    """Return a configuration with another way of reading out."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=path.parent) as stream:
        yaml.safe_dump({"base": path.name, "readout": readout}, stream)
        stream.flush()
        return load_config(Path(stream.name))


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--kernel", "best", multiple=True, help="Where a kernel may be better.")
def main(config: Path, model: Path, output: Path, best: tuple[str, ...]) -> None:
    """Read MODEL, trained as CONFIG says, out again."""
    bundle = read_bundle(model)
    specs = {name: head.spec for name, head in bundle.card.properties.items()}
    ways = {
        "best": {name: spec for name, spec in specs.items() if name in best},
        "neural": {name: spec for name, spec in specs.items() if name not in best},
    }
    found = [
        read_out(with_readout(config, way), bundle, some)
        for way, some in ways.items()
        if some
    ]
    cards = {name: card for each in found for name, card in each.cards.items()}
    heads = {
        name: renew(old, cards[name]) for name, old in bundle.card.properties.items()
    }
    width = DeepmdNetwork.from_checkpoint(bundle.checkpoint).width
    around = [
        n for each in found for n in open_neighborhoods(each.neighborhoods, width)
    ]
    merged = [
        {key: array for each in found for key, array in part(each).items()}
        for part in map(attrgetter, ("references", "calibration", "readouts"))
    ]
    card = bundle.card.model_copy(update={"properties": heads})
    write_bundle(output, card, bundle.checkpoint, *merged, pack_neighborhoods(around))
    click.echo(f"{output}: {output.stat().st_size / 1e6:.2f} MB")


def read_out(
    settings: Any, bundle: Bundle, specs: Mapping[str, PropertySpec]
) -> PropertyResults:
    """Read some properties out."""
    plan = settings.plan
    sources = [each.label_source(name) for name, each in plan.properties.items()]
    data = read_rows(plan.data, sources, plan.seed, validates=False)
    parts = {**data.rows, **divide(data.rows["train"], bundle)}
    network = DeepmdNetwork.from_checkpoint(bundle.checkpoint)
    data = TrainingData(parts, list(specs))
    task = Task(settings, data, network.type_map, None, "", specs)
    return evaluate_properties(task, network, progress=True)


def renew(old: PropertyHead, new: PropertyHead) -> PropertyHead:
    """Return the card of a property with what was measured anew."""
    name = old.spec.name
    if (new.n_train, new.training_hash) != (old.n_train, old.training_hash):
        click.echo(f"{name}: other training rows ({new.n_train}, {old.n_train} before)")
    for test, errors in new.metrics.items():
        before = old.metrics.get(test, {}).get("mae", np.nan)
        click.echo(f"{name}, {test}: MAE {before:.4g} -> {errors['mae']:.4g}")
    return old.model_copy(
        update={
            "readout": new.readout,
            "domain": new.domain,
            "n_calibration": new.n_calibration,
            "metrics": {**old.metrics, **new.metrics},
        }
    )


if __name__ == "__main__":
    main()
