from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mftscreen.finetune.strategies import Plan
from mftscreen.finetune.task.bias import settle_bias


def test_pretraining_has_a_force_field_for_each_data_set(
    configure: Callable[..., Any],
) -> None:
    config = configure("pretrain")
    plan = config.plan
    assert plan == Plan(
        force_fields=plan.force_fields,
        training=config.training,
        energy_head="alloys",
        descriptor=config.descriptor,
    )
    assert {h: f.share for h, f in plan.force_fields.items()} == {
        "oxides": 0.75,
        "alloys": 0.25,
    }
    for head, force_field in plan.force_fields.items():
        assert force_field.data is config.branches[head]
        assert (force_field.loss, force_field.batch_size) == (config.loss, 32)
        assert force_field.weight == 1.0
    assert settle_bias(config, {}) is config
