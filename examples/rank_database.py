"""Rank a database for a high refractive index and look at what is trustworthy.

Usage: python examples/rank_database.py [DATABASE]
"""

from __future__ import annotations

import sys
from pathlib import Path

from mftscreen import Predictor, load_model
from mftscreen.ood.reference import open_reference
from mftscreen.screen.candidates import iter_candidates
from mftscreen.screen.pipeline import screen
from mftscreen.screen.ranking import Goal, rank_rows
from mftscreen.screen.store import format_table

HERE = Path(__file__).parent
database = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "candidates.db"

model = load_model()  # the shipped mft-mini
rows = screen(
    iter_candidates(database),
    Predictor(model, properties=["dielectric"]),
    "dielectric",
    open_reference(
        model.reference,
        alpha=0.05,
        elements=model.card.properties["dielectric"].elements,
    ),
)
ranked = rank_rows(rows, Goal("maximize"), policy="demote")

print("Highest predicted refractive index, out-of-distribution candidates last:\n")
print(format_table(ranked, "dielectric", limit=10))
print("Not evaluated:")
for _, row in ranked:
    if row.status != "ok":
        print(f"  {row.id} {row.formula}: {row.reason}")
