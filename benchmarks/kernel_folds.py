r"""Kernel read-outs on all published folds of a MatBench task, for any backbone.

Five official folds, and five times 50 published folds out of distribution. Settings are
chosen once for each method of splitting, by cross-validation on the training rows of
its first fold, some of which are test rows of others; each fold is then fitted with
them. The published validation rows of a fold are training rows here. All folds of a
method have one kernel matrix in common, so that descriptors are shifted and scaled by
all rows, with those of test rows among them, but without their labels. Seconds are
those of a fit without that matrix, which begins with the weights of one to all rows and
ends where it would without them.

A line of JSON for each fold is added to the output; what stands there is not done
again. Several pretrained models: their descriptors side by side, as ``pretrained: [A,
B]`` of ``strategy: kernel`` has them in one model file, or, with ``--ensemble``, the
mean of what a kernel on each of them says, which is what ``rank -m a.mft -m b.mft``
has.

    MFTSCREEN_DATA=... python benchmarks/kernel_folds.py dielectric \
        --pretrained runs/pretrain/model.mft -o dielectric.jsonl
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from mftscreen.console.text_table import text_table
from mftscreen.data.sources import read_labelled
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.kernel.groups import SubstanceKeys, draw_folds, group_numbers
from mftscreen.finetune.kernel.regression import Kernel, Regression
from mftscreen.finetune.kernel.rows import PooledRows, Setting, Targets, kernel_between
from mftscreen.finetune.kernel.search import choose_setting
from mftscreen.finetune.outcome.scores import target_labels
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.side_by_side import side_by_side

COLUMNS = {"dielectric": "n", "log_gvrh": "log10(G_VRH)", "perovskites": "e_form"}
METHODS = (
    *("random", "LOCO", "SparseXcluster", "SparseXsingle"),
    *("SparseYcluster", "SparseYsingle"),
)
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=COLUMNS)
    parser.add_argument("--pretrained", nargs="+", required=True)
    parser.add_argument("--ensemble", action="store_true")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    data = Path(os.environ["MFTSCREEN_DATA"])
    path = data / "matbench" / f"matbench_{options.task}.json.gz"
    rows = list(read_labelled(path, COLUMNS[options.task]))
    found = [load_pretrained(name) for name in options.pretrained]
    sha256 = ("," if options.ensemble else "+").join(d[:8] for _, d in found)
    members = [DeepmdNetwork(state) for state, _ in found]
    networks = members if options.ensemble else [side_by_side(members)]
    vectors = [PooledDescriptors(own, progress=True)(rows) for own in networks]
    structures = [row.atoms for row in rows]
    labels = target_labels(rows, COLUMNS[options.task])
    drawn = draw_folds(group_numbers(SubstanceKeys.of(rows)), 5, SEED)
    everything = [PooledRows(each, labels, structures, drawn) for each in vectors]
    for method in options.methods.split(","):
        run(everything, folds(data, options.task, method), method, sha256, options)
    print(table(options.output))


def folds(data: Path, task: str, method: str) -> list[list[int]]:
    """Return the test rows of each fold."""
    if method == "random":
        text = (data / "folds" / "matbench_official_test_indices.json").read_text()
        tests: list[list[int]] = json.loads(text)[f"matbench_{task}"]
        return tests
    with lzma.open(data / "folds" / "omee_ood_folds.json.xz", "rt") as stream:
        published = json.load(stream)[f"matbench_{task}"][method]
    return [fold["test"] for fold in published]


def run(
    members: list[PooledRows],
    tests: list[list[int]],
    method: str,
    sha256: str,
    options: argparse.Namespace,
) -> None:
    """Fit the folds that are not there yet."""
    done = [json.loads(line) for line in _lines(options.output)]
    known = {(d["task"], d["method"], d["fold"], d["pretrained"]) for d in done}
    settings: list[Setting] = []
    kernels: list[Kernel] = []
    whole: list[Regression] = []
    for number, test in enumerate(tests):
        key = (options.task, method, number, sha256)
        if key in known:
            continue
        if not settings:
            settings = [choose_setting(_training(m, tests[0]), "mae") for m in members]
            print(method, settings, flush=True)
            kernels = [
                kernel_between(m, s) for m, s in zip(members, settings, strict=True)
            ]
            # not part of the seconds of a fold, which begins with it
            whole = [
                fit(m, s, k, np.arange(len(m)))
                for m, s, k in zip(members, settings, kernels, strict=True)
            ]
        begin = time.process_time()
        values = np.mean(
            [
                predict(m, s, k, np.array(test), w)
                for m, s, k, w in zip(members, settings, kernels, whole, strict=True)
            ],
            axis=0,
        )
        errors = np.abs(values - members[0].labels[test])
        record = {
            **dict(zip(("task", "method", "fold", "pretrained"), key, strict=True)),
            "n": len(test),
            "mae": float(errors.mean()),
            "median_ae": float(np.median(errors)),
            "rmse": float(np.sqrt((errors**2).mean())),
            "seconds": time.process_time() - begin,
            "setting": repr(settings),
        }
        with options.output.open("a") as stream:
            stream.write(json.dumps(record) + "\n")


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _training(rows: PooledRows, test: list[int]) -> PooledRows:
    return rows.take(np.setdiff1d(np.arange(len(rows)), test))


def predict(
    rows: PooledRows,
    setting: Setting,
    kernel: Kernel,
    test: np.ndarray,
    start: Regression | None = None,
) -> np.ndarray:
    """Return what a fit to all other rows says of test rows."""
    train = np.setdiff1d(np.arange(len(rows)), test)
    # labels of test rows are not looked at; one may have no logarithm
    labels = rows.labels.copy()
    labels[test] = labels[train[0]]
    rows = replace(rows, labels=labels)
    found = fit(rows, setting, kernel, train, start)
    outputs = np.full(labels.shape, np.nan)
    outputs[test] = kernel.evaluate(found, test)
    told: np.ndarray = Targets(setting, rows).undo(outputs)[test]
    return told


def fit(
    rows: PooledRows,
    setting: Setting,
    kernel: Kernel,
    train: np.ndarray,
    start: Regression | None = None,
) -> Regression:
    """Return a fit to some rows."""
    targets = Targets(setting, rows)
    return setting.regression.fit(kernel, targets.values, train, start)


def table(path: Path) -> str:
    """Return mean and spread of the errors over folds."""
    errors = defaultdict(list)
    for line in _lines(path):
        record = json.loads(line)
        errors[record["pretrained"][:17], record["task"], record["method"]].append(
            record
        )
    lines = [
        [
            "pretrained",
            "task",
            "method",
            "folds",
            "MAE",
            "sd",
            "median",
            "CPU s per fold",
        ]
    ]
    for key, records in errors.items():
        mae = np.array([r["mae"] for r in records])
        median = np.mean([r["median_ae"] for r in records])
        seconds = np.mean([r["seconds"] for r in records])
        spread = mae.std(ddof=1) if len(mae) > 1 else float("nan")
        numbers = (f"{mae.mean():.4f}", f"{spread:.4f}", f"{median:.4f}")
        lines.append([*key, str(len(mae)), *numbers, f"{seconds:.1f}"])
    return text_table(lines, "<<<>", (18, 12, 14, 8))


if __name__ == "__main__":
    main()
