"""``strategy: kernel``, beyond the paper: a linear probe with a kernel."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from mftscreen.finetune.config.fields import BranchName, PretrainedModels, Seed
from mftscreen.finetune.strategies.downstream import Downstream, name_the_model
from mftscreen.finetune.strategies.plan import Plan

__all__ = ["KernelConfig"]


class KernelConfig(Downstream):
    """Pretrained descriptor, frozen; kernel regression on its mean and spread.

    Nothing is trained by gradients: minutes on a laptop for thousands of rows. Settings
    are chosen by cross-validation on the training rows with the error that `loss`
    of each property stands for (``mse``: RMSE, others: MAE); `transform`, `bias` and
    `neurons` are those of neural heads and have no effect. Rows that are held out for
    validation take part, since cross-validation holds out each of them in turn. The
    force field of the pretrained model stays as it is.
    """

    strategy: Literal["kernel"]
    """Which strategy the configuration is of."""
    pretrained: PretrainedModels
    """A registered name, a ``.mft`` file or a deepmd-kit ``.pt`` checkpoint; or a list
    of up to eight, whose descriptors are read side by side. The first of several gives
    energies and forces, too; the model knows the elements that all of them know."""
    energy_head: BranchName | None = None
    """Force-field head to keep; by default that which the model's card names."""
    seed: Seed = 1
    """Of the rows that are held out in turn."""

    @model_validator(mode="before")
    @classmethod
    def _name_the_model(cls, document: Any) -> Any:
        return name_the_model(document)

    @property
    def plan(self) -> Plan:
        """Train nothing; fit kernels to the descriptor as it is."""
        named = self.pretrained
        first, *beside = [named] if isinstance(named, str) else named
        return Plan(
            properties=self.properties,
            data=self.data,
            seed=self.seed,
            readout="kernel",
            pretrained=first,
            beside=beside,
            energy_head=self.energy_head,
            freezes_descriptor=True,
        )
