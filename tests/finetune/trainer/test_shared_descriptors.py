from __future__ import annotations

import torch

from mftscreen.finetune.trainer.shared_descriptors import SharedDescriptors


def test_heads_with_weights_of_their_own_have_their_own_descriptors() -> None:
    same = torch.nn.Linear(2, 2)
    own = torch.nn.Linear(2, 2)
    twin = torch.nn.Linear(2, 2)
    twin.weight, twin.bias = same.weight, same.bias
    x = torch.ones(1, 2)
    apart, together = (
        SharedDescriptors([[same, own]]),
        SharedDescriptors([[same, twin]]),
    )
    apart.begin()
    together.begin()
    assert same(x) is twin(x)
    assert own(x) is not own(x)
    together.end()
    assert same(x) is not twin(x)
