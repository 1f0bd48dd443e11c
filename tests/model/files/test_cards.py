"""Cards that are not of the checkpoint beside them."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch

from mftscreen import load_model
from mftscreen.errors import ModelFileError
from mftscreen.model.files.bundle import PropertyHead, read_bundle, write_bundle
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "other"}, r"head 'other' predicts gap .*that it predicts other"),
        ({"spec": {"head": "extensive"}}, r"gap \(extensive\).*gap \(intensive\)"),
    ],
)
def test_card_with_swapped_heads_is_refused(
    tmp_path: Path, tiny_model: Path, change: dict[str, Any], message: str
) -> None:
    bundle = read_bundle(tiny_model)
    state = read_state(bundle.checkpoint)
    params = model_parameters(state)
    # another intensive head, under the name of a property that it does not predict
    params["other"] = copy.deepcopy(params["gap"])
    params["other"]["fitting_net"]["property_name"] = "other"
    for key in [key for key in state if key.startswith("model.gap.")]:
        state[key.replace("model.gap.", "model.other.")] = state[key]
    head = bundle.card.properties["gap"].model_dump()
    head = {**head, **change, "spec": {**head["spec"], **change.get("spec", {})}}
    card = bundle.card.model_copy(
        update={"properties": {"gap": PropertyHead.model_validate(head)}}
    )
    path = tmp_path / "swapped.mft"
    buffer = io.BytesIO()
    torch.save({"model": state}, buffer)
    write_bundle(path, card, buffer.getvalue())
    with pytest.raises(ModelFileError, match=message):
        load_model(path)
