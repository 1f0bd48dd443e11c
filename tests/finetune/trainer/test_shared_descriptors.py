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


class _Edges(torch.nn.Linear):
    """Evaluated by two methods, as DPA4 is, which give different things."""

    def forward_with_edges(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward(x), x


def test_each_method_of_a_descriptor_has_an_output_of_its_own() -> None:
    same, twin = _Edges(2, 2), _Edges(2, 2)
    twin.weight, twin.bias = same.weight, same.bias
    x = torch.ones(1, 2)
    together = SharedDescriptors([[same, twin]])
    together.begin()
    both = same.forward_with_edges(x)
    assert isinstance(both, tuple)
    assert twin.forward_with_edges(x) is both
    assert torch.is_tensor(twin(x))
    together.end()
    assert twin.forward_with_edges(x) is not both
