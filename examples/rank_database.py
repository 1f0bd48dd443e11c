"""Rank a database for a high refractive index and look at what is trustworthy.

Usage: python examples/rank_database.py [DATABASE]
"""

from __future__ import annotations

import sys
from pathlib import Path

from mftscreen import rank
from mftscreen.screen.result.store import format_table

HERE = Path(__file__).parent
database = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "candidates.db"

# without models=..., the shipped mft-mini
result = rank(database, goals="dielectric:max", ood="demote")

print("Highest predicted refractive index, out-of-distribution candidates last:\n")
print(format_table(result, limit=10))
print("Not evaluated:")
for row in result.failures:
    print(f"  {row.id} {row.formula}: {row.reason}")
