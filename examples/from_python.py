"""Cross-validate on (N rows of) MatBench or on densities, then rank with a fit."""

import os
import sys

import pandas as pd
from ase.build import bulk
from ase.db import connect
from sklearn.model_selection import KFold, cross_val_score

from mftscreen import MFTRegressor, rank

if data := os.environ.get("MFTSCREEN_DATA"):
    df = pd.read_json(f"{data}/matbench/matbench_dielectric.json.gz", orient="split")
else:  # the examples' own crystals
    rows = connect(f"{sys.path[0]}/candidates.db").select(limit=60)
    df = pd.DataFrame({"structure": r.toatoms(), "n": r.mass / r.volume} for r in rows)
df = df[: int(sys.argv[1])] if sys.argv[1:] else df
X, y, error = df["structure"], df["n"], "neg_mean_absolute_error"
folds = KFold(5, shuffle=True, random_state=18012019)  # MatBench's own
model = MFTRegressor(pretrained="7net-0")  # mft-mini has learned from these labels
scores = cross_val_score(model, X, y, cv=folds, scoring=error)
print(f"MAE {-scores.mean():.3f} ± {scores.std():.3f} in 5 folds of {len(df)} rows")
crystals = [bulk("GaAs", "zincblende", a=5.65), bulk("MgO", "rocksalt", a=4.21)]
result = rank(crystals, goals="n", models=model.fit(X, y))
print(result.to_pandas()[["rank", "formula", "n", "n_low", "n_high", "trust"]])
