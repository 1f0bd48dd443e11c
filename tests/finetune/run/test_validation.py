from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.run import validation
from mftscreen.finetune.run.validation import CRITERION, DRIFT, Validator
from mftscreen.finetune.strategies import FTConfig
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import TrainingData
from mftscreen.model.files.checkpoint import keep_heads
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.transforms import Transform


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return a list that gets the heads of every network that is built."""
    found: list[list[str]] = []

    class Recorded(DeepmdNetwork):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            found.append(list(self.heads))

    monkeypatch.setattr(validation, "DeepmdNetwork", Recorded)
    return found


@pytest.mark.parametrize(
    ("pretrained", "main"),
    [(["alloys", "oxides"], "alloys"), (["alloys", "gap", "alpha"], "gap")],
)
def test_drift_needs_one_head_of_the_pretrained_model(
    checkpoint: Path, built: list[list[str]], pretrained: list[str], main: str
) -> None:
    config = FTConfig(
        strategy="ft",
        name="test",
        pretrained="a.pt",
        properties={"gap": {}},
        data={"train": ["a.extxyz"]},
        training={"steps": 1},
    )
    rows = [
        LabelledStructure(str(k), bulk("MgO", "rocksalt", a=4 + k / 10), {"gap": k})
        for k in range(4)
    ]
    state = keep_heads(read_state(checkpoint), {name: name for name in pretrained})
    task = Task(
        config,
        TrainingData({"train": rows, "validation": rows}, ["gap"]),
        ["Mg", "O"],
        state,
        "0" * 64,
        {"gap": config.properties["gap"].specs("gap", [Transform()])[0]},
    )
    validate = Validator(task)
    for _ in range(2):  # the pretrained model is built once
        errors = validate(checkpoint)
        assert errors[DRIFT] == 0  # the weights are the same
        assert errors[CRITERION] > 0
    everything = ["alloys", "oxides", "gap", "alpha"]
    assert built == [everything, [main], everything]
