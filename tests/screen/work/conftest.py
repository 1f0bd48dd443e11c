"""An outcome with all that an outcome may have."""

from __future__ import annotations

import pytest

from mftscreen.screen.work.outcome import Outcome, Relaxation


@pytest.fixture
def outcome() -> Outcome:
    return Outcome(
        formula="Si",
        values={"gap": (0.1 + 0.2, 1e-300)},
        p_values={"gap": 1 / 3},
        unseen_elements={"gap": ["W"]},
        unseen_pairs=["Cu d10 – O p4"],
        low_dimensional=False,
        relaxation=Relaxation(True, 3, 0.01, -0.02),
    )
