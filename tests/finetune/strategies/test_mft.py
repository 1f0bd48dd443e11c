from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mftscreen.finetune.outcome.collapse import starting_model
from mftscreen.finetune.strategies import Plan
from mftscreen.finetune.strategies.plan import ForceField


def test_mft_trains_a_force_field_beside_the_properties(
    configure: Callable[..., Any], plan_of: Callable[..., Plan]
) -> None:
    auxiliary = configure("mft").auxiliary
    assert plan_of("mft") == replace(
        plan_of("ft"),
        force_fields={
            "oxides": ForceField(
                data=auxiliary,
                loss=auxiliary.loss,
                batch_size=128,
                share=0.5,
            )
        },
        auxiliaries={"oxides": auxiliary},
        energy_head="oxides",
        transfers_head=True,
    )


@pytest.mark.parametrize(
    ("settings", "share", "weight"),
    [
        ({"aux_prob": 0.2, "lambda_reg": 0.5}, 0.2, 0.5),
        ({"lambda_reg": "auto"}, 0.5, 1.0),
        ({"combine": "joint", "lambda_reg": 0.1}, 0.0, 0.1),
    ],
)
def test_share_and_weight_of_the_auxiliary_force_field(
    settings: dict[str, Any], share: float, weight: float, plan_of: Callable[..., Plan]
) -> None:
    auxiliary = {"head": "oxides", "data": ["ff.extxyz"], **settings}
    force_field = plan_of("mft", auxiliary=auxiliary).force_fields["oxides"]
    assert (force_field.share, force_field.weight) == (share, weight)


def test_what_mft_takes_over(
    configure: Callable[..., Any], plan_of: Callable[..., Plan]
) -> None:
    def taken_over(**settings: bool) -> tuple[bool, bool, bool]:
        plan = plan_of("mft", **settings)
        return plan.transfers, plan.transfers_head, plan.transfers_properties

    assert taken_over(transfer_head=False) == (True, False, False)
    nothing = {"transfer_head": False, "transfer_backbone": False}
    assert taken_over(**nothing) == (False, False, False)
    assert taken_over(transfer_properties=True) == (True, True, True)
    yes_no = {"metal": {"label": "is a metal", "kind": "class"}}
    with pytest.raises(ValueError, match=r"metal has kind: class, whose scale"):
        configure("mft", transfer_properties=True, properties=yes_no)
    assert starting_model(configure("mft")) == "backbone.pt"
    assert starting_model(configure("mft", **nothing)) is None
    assert starting_model(configure("scratch")) is None
