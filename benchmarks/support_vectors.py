"""Support vectors of ours against LIBSVM's: CPU time of a fit, and what they predict.

Both have the same kernel matrix of rows of a MatBench task, which is not part of the
seconds. In turn, so that other work on the machine slows both; medians and ranges of
the rounds' ratios.

    MFTSCREEN_DATA=... python benchmarks/support_vectors.py perovskites -n 8000 \
        --pretrained mft-mini-pretrained --cost 10 --tolerance 0.005 --gamma 0.12
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from kernel_folds import COLUMNS
from sklearn.svm import SVR

from mftscreen.data.sources import read_labelled
from mftscreen.finetune.kernel.descriptors import PooledDescriptors
from mftscreen.finetune.kernel.regression import SupportVectors
from mftscreen.finetune.kernel.rows import PooledRows, Setting, Targets, kernel_between
from mftscreen.finetune.outcome.scores import target_labels
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.side_by_side import side_by_side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=COLUMNS)
    parser.add_argument("--pretrained", nargs="+", required=True)
    parser.add_argument("-n", "--rows", type=int, default=4000)
    parser.add_argument("--cost", type=float, default=3.0)
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--gamma", type=float, default=0.12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    path = Path(os.environ["MFTSCREEN_DATA"], "matbench")
    column = COLUMNS[options.task]
    rows = list(read_labelled(path / f"matbench_{options.task}.json.gz", column))
    drawn = np.random.default_rng(0).permutation(len(rows))[: options.rows + 500]
    rows = [rows[k] for k in drawn]
    network = side_by_side(
        [DeepmdNetwork(load_pretrained(name)[0]) for name in options.pretrained]
    )
    data = PooledRows(
        PooledDescriptors(network, progress=True)(rows),
        target_labels(rows, column),
        [row.atoms for row in rows],
        np.zeros(len(rows), dtype=np.int64),
    )
    method = SupportVectors(options.cost, options.tolerance)
    setting = Setting(method, "mean", options.gamma)
    kernel, targets = kernel_between(data, setting), Targets(setting, data).values
    train, test = np.arange(options.rows), np.arange(options.rows, len(rows))
    part = np.asarray(kernel.matrix[np.ix_(train, train)], dtype=np.float64)
    method.fit(kernel, targets, np.arange(20))  # is compiled
    center, spread = np.median(targets[train]), _spread(targets[train])
    ratios = []
    for _ in range(options.rounds):
        begin = time.process_time()
        found = method.fit(kernel, targets, train)
        between = time.process_time()
        model = SVR(
            kernel="precomputed", C=method.cost, epsilon=method.tolerance,
            cache_size=1000,
        ).fit(part, (targets[train, 0] - center) / spread)  # fmt: skip
        end = time.process_time()
        ratios.append((end - between) / (between - begin))
        print(f"ours {between - begin:.2f} s, LIBSVM {end - between:.2f} s", flush=True)
    own = kernel.evaluate(found, test)[:, 0]
    its = center + spread * model.predict(kernel.matrix[np.ix_(test, train)])
    print(
        f"{np.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f}) times as fast; "
        f"largest difference {np.abs(own - its).max() / spread:.2g} of the spread; "
        f"MAE {np.abs(own - targets[test, 0]).mean():.5f}, "
        f"{np.abs(its - targets[test, 0]).mean():.5f}"
    )


def _spread(targets: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(targets - np.median(targets))))


if __name__ == "__main__":
    main()
