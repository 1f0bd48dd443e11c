"""The loss of heads for yes or no, as a plugin of deepmd-kit."""

from __future__ import annotations

from typing import Any

import torch
from dargs import Argument
from deepmd.pt.loss import TaskLoss
from deepmd.utils.argcheck import loss_args_plugin
from deepmd.utils.data import DataRequirementItem
from torch.nn.functional import binary_cross_entropy_with_logits

__all__ = ["KIND", "YesNoLoss"]

KIND = "yes_no"
"""Of the loss in deepmd-kit's input."""


@TaskLoss.register(KIND)
class YesNoLoss(TaskLoss):
    r"""Binary cross entropy of labels 0 and 1.

    Parameters
    ----------
    var_name : str
        What the head calls its output :math:`f`, and the name of the labels.
    scale, shift : float
        The probability of 1 is :math:`1 / (1 + e^{-(s f + b)})`.
    """

    def __init__(self, var_name: str, scale: float, shift: float, **_: Any) -> None:
        super().__init__()
        self.var_name, self.scale, self.shift = var_name, scale, shift

    def forward(
        self,
        input_dict: dict[str, torch.Tensor],
        model: torch.nn.Module,
        label: dict[str, torch.Tensor],
        natoms: int,
        learning_rate: float | torch.Tensor = 0.0,
        mae: bool = False,
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor, dict[str, torch.Tensor]]:
        """Return predictions, the sum of the losses of a batch, and what is displayed.

        See deepmd-kit's ``TaskLoss``; as for its properties, losses are summed.
        """
        predicted = self._inject_atom_mask(model(**input_dict), input_dict)
        logits = self.scale * predicted[self.var_name] + self.shift
        known = label[self.var_name].to(logits.dtype)
        loss = binary_cross_entropy_with_logits(logits, known, reduction="sum")
        shown = {
            "log_loss": loss.detach() / len(logits),
            "wrong": ((logits > 0.0) != (known > 0.5)).to(logits.dtype).mean(),
        }
        return predicted, loss, shown

    @property
    def label_requirement(self) -> list[DataRequirementItem]:
        """One number for each structure."""
        return [
            DataRequirementItem(
                self.var_name, ndof=1, atomic=False, must=True, high_prec=True
            )
        ]


@loss_args_plugin.register(KIND)  # type: ignore[untyped-decorator]
def _arguments() -> list[Argument]:
    """Tell deepmd-kit what the loss has in its input."""
    return [
        Argument("var_name", str, doc="Name of the output and of its labels."),
        Argument("scale", float, doc="Factor on the output."),
        Argument("shift", float, doc="Added to it: the logit of the probability."),
    ]
