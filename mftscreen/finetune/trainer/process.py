"""The process that trains: deepmd-kit's trainer with a sum of losses (Eq. 11).

Started as ``python -m mftscreen.finetune.trainer.process input.json ...`` in a run
directory, with the options of ``dp --pt train``. Data, checkpoints, learning curve,
restart and distributed training are deepmd-kit's own, but for frames that are streamed
(:mod:`mftscreen.finetune.trainer.streaming`). What is added hangs on three seams of it:

* deepmd-kit creates ``deepmd.pt.train.training.Trainer``; here, a subclass.
* ``Trainer._next_training_batch`` is called once per step with the head that was drawn.
  With ``combine: joint`` the other heads' batches are drawn with it.
* The model wrapper's forward pass returns the loss of that step, so a forward hook can
  weigh it, measure its gradient and add the other heads' losses. Everything after it
  (backward pass, clipping, optimizer, schedule) then sees the sum, in one step. Outside
  training mode, in which deepmd-kit displays errors, the hook does nothing.

Properties with labels of the same rows are trained on the same batches, with one pass
through the descriptor: the mean of their losses takes the place of one of them.

Layer-wise learning rates, which deepmd-kit does not have, are parameter groups of the
same optimizer.

A restart goes on where the checkpoint was written: the batches that the run has drawn
are drawn again and dropped, so that on one thread of a CPU its weights become those of
a run that was never interrupted. deepmd-kit itself begins its data anew and takes the
step of the checkpoint twice. With ``combine: alternate`` and a given ``lambda_reg``,
training is otherwise that of ``dp --pt train``, with its layers in accelerated form
(:mod:`mftscreen.model.backbones`) and what is replaced for speed and safety
(:mod:`mftscreen.finetune.trainer.replacements`).
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepmd.pt.entrypoints.main import main as deepmd_main
from deepmd.pt.train import training
from deepmd.pt.utils import dp_random
from deepmd.pt.utils.dataloader import setup_seed
from deepmd.pt.utils.env import DEVICE
from deepmd.utils.data import DataRequirementItem

import mftscreen.model.plugins  # noqa: F401 - registers them with deepmd-kit
from mftscreen.errors import TrainingError
from mftscreen.finetune.trainer.balance import (
    GRADIENTS,
    LAMBDA,
    Combination,
    balanced_lambda,
    measured_lambdas,
)
from mftscreen.finetune.trainer.heartbeat import Heartbeat
from mftscreen.finetune.trainer.layer_groups import layer_groups
from mftscreen.finetune.trainer.replacements import (
    open_arrays_in_turn,
    orthogonalize_in_single_precision,
    sort_elements_without_database,
)
from mftscreen.finetune.trainer.shared_descriptors import SharedDescriptors
from mftscreen.finetune.trainer.streaming import open_streams
from mftscreen.head_forms import find_form
from mftscreen.model.backbones import find_architecture
from mftscreen.model.files.allowed import check_parameters
from mftscreen.writing import replacing

__all__ = ["Trainer", "main"]

N_SETTLE, N_BALANCE = 50, 16
"""Batches that ``lambda_reg: auto`` fits the heads on, and per task measures on."""

log = logging.getLogger("deepmd.mftscreen")  # below deepmd-kit's handlers
Batch = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


class Trainer(training.Trainer):
    """deepmd-kit's trainer, told by ``combination.json`` in the working directory."""

    def __init__(
        self,
        config: dict[str, Any],
        training_data: Mapping[str, Any],
        *args: Any,
        **options: Any,
    ) -> None:
        # a run folder may be from anywhere
        check_parameters(config["model"]["model_dict"])
        self.combination = Combination.read(Path())
        nets = {k: h["fitting_net"] for k, h in config["model"]["model_dict"].items()}
        for first, *others in self.combination.shared:
            training_data[first].add_data_requirement(
                [
                    DataRequirementItem(name, nets[name].get("task_dim", 1), must=True)
                    for name in others
                ]
            )
        heads = config["model"]["model_dict"].values()
        # all heads share one descriptor
        self.architecture = find_architecture(next(iter(heads))["descriptor"])
        forms = [find_form(head["fitting_net"]) for head in heads]
        super().__init__(config, training_data, *args, **options)
        module = self._get_inner_module()
        # one head that reads vectors is enough
        atoms_only = not any(form is not None and form.directed for form in forms)
        for model in module.model.values():
            self.architecture.accelerate(model, atoms_only=atoms_only)
        self._seed = int(config["training"]["seed"])
        self._streams = open_streams(
            Path(), config, training_data, self.rank, self.world_size
        )
        # in place of the loaders of the samples
        self.training_data.update(self._streams)
        self._heartbeat = Heartbeat(Path()) if self.rank == 0 else None
        self._step = 0
        self._joined: dict[str, Batch] = {}
        self._weights: dict[str, float] = {}
        self._batches: Counter[str] = Counter()
        self._norms: dict[str, float] = {}
        self._descriptors = SharedDescriptors(
            [module.model[head].atomic_model.descriptor for head in group]
            for group in self.combination.shared
        )
        module.forward = partial(self._evaluate, module.forward)
        module.register_forward_pre_hook(self._begin_batch)
        module.register_forward_hook(self._combine, with_kwargs=True)

    def _create_optimizer(
        self, optimizer_class: type[torch.optim.Optimizer], **options: Any
    ) -> torch.optim.Optimizer:
        decay = self.combination.layer_decay
        if decay < 1:
            groups = layer_groups(
                self.wrapper.named_parameters(), decay, self.architecture.layer
            )
            return optimizer_class(groups, **options)
        optimizer: torch.optim.Optimizer
        optimizer = super()._create_optimizer(optimizer_class, **options)
        return optimizer

    def _create_lr_scheduler(
        self, optimizer: torch.optim.Optimizer, schedule: Any, start_step: int
    ) -> torch.optim.lr_scheduler.LambdaLR:
        if self.restart_training:
            # deepmd-kit would take the step of the checkpoint twice
            self.start_step = start_step = start_step + 1
        scheduler: torch.optim.lr_scheduler.LambdaLR
        scheduler = super()._create_lr_scheduler(optimizer, schedule, start_step)
        for k, group in enumerate(optimizer.param_groups):
            scale = group.get("layer_scale", 1.0)
            group["lr"] *= scale
            scheduler.base_lrs[k] *= scale
        return scheduler

    def run(self) -> None:
        """Train, after weighing the auxiliary loss if that was asked for."""
        # from here on, the data depend on the seed and on the step alone
        setup_seed([self.rank, self._seed])
        if "auto" in self.combination.lambda_reg.values():
            self._weights = self._broadcast_value_from_rank0(self._measured_lambdas())
            for head, weight in self._weights.items():
                log.info("lambda_reg = %.4g balances the gradients of %s", weight, head)
        self._skip_to_start()
        super().run()

    def _skip_to_start(self) -> None:
        """Draw the batches of the steps before a restart, as deepmd-kit drew them."""
        for step in range(1, self.start_step + 1):
            index = dp_random.choice(np.arange(self.num_model), p=self.model_prob)
            drawn = self.model_keys[index]
            self._next_training_batch(drawn)
            for head in (drawn, *self._joined):
                self._batches.update(self.combination.sharing(head))
            if step % self.disp_freq == 0:
                self._batches.clear()
            elif step != 1:
                continue
            for head in self.model_keys:
                if head != drawn:
                    self.get_data(is_train=True, task_key=head)
                for _ in range(self.valid_numb_batch[head]):
                    self.get_data(is_train=False, task_key=head)
        self._step = self.start_step

    def _next_training_batch(self, task_key: str) -> Batch:
        if self._heartbeat is not None:
            self._heartbeat.tell(self._step)
        batch: Batch = super()._next_training_batch(task_key)
        self._step += 1
        if self.combination.combine == "joint":
            heads = self.combination.drawn(self.model_keys)
            self._joined = self._draw(head for head in heads if head != task_key)
        return batch

    def _evaluate(self, forward: Callable[..., Any], **inputs: Any) -> Any:
        """Let what a model draws, as DPA4 turns edges, depend on the step alone.

        Otherwise the data would come in another order after a restart.
        """
        used = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=used):
            torch.manual_seed(self._seed + self._step)
            return forward(**inputs)

    def _begin_batch(self, wrapper: torch.nn.Module, _: Any) -> None:
        if wrapper.training:
            self._descriptors.begin()

    def _combine(
        self,
        wrapper: torch.nn.Module,
        _: Any,
        inputs: Mapping[str, Any],
        outputs: tuple[Any, torch.Tensor | None, Any],
    ) -> tuple[Any, torch.Tensor, Any] | None:
        """Return the outputs of a training step with the sum of all losses."""
        predicted, loss, errors = outputs
        if not wrapper.training or loss is None:
            return None
        first, rate = inputs["task_key"], inputs["cur_lr"]
        structures = {key: inputs[key] for key in ("coord", "atype", "box")}
        own: Batch = (structures, inputs["label"], {})
        others = self.combination.sharing(first)[1:]
        drawn = {first: {first: loss} | {h: self._loss(h, own, rate) for h in others}}
        self._descriptors.end()
        for head, batch in self._joined.items():
            drawn[head] = self._losses(head, batch, rate)
        for losses in drawn.values():
            self._batches.update(losses.keys())
        applied = {head: self._applied(losses) for head, losses in drawn.items()}
        self._record(drawn, applied)
        return predicted, torch.stack(list(applied.values())).sum(), errors

    def _applied(self, losses: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return what a step takes of the losses that one batch gives."""
        weighted = [loss * self._weights.get(h, 1.0) for h, loss in losses.items()]
        total = torch.stack(weighted).sum()
        return total if self.combination.combine == "joint" else total / len(losses)

    def _losses(self, drawn: str, batch: Batch, rate: float) -> dict[str, torch.Tensor]:
        """Return the losses of all heads that a batch trains."""
        self._descriptors.begin()
        heads = self.combination.sharing(drawn)
        losses = {head: self._loss(head, batch, rate) for head in heads}
        self._descriptors.end()
        return losses

    def _loss(self, head: str, batch: Batch, rate: float) -> torch.Tensor:
        inputs, labels, _ = batch
        loss: torch.Tensor
        # not by a call, which would come back to the hooks; deepmd-kit divides labels
        # of extensive properties in place
        _, loss, _ = self._get_inner_module().forward(
            **inputs, cur_lr=rate, label=dict(labels), task_key=head
        )
        return loss

    def _record(
        self,
        drawn: Mapping[str, Mapping[str, torch.Tensor]],
        applied: Mapping[str, torch.Tensor],
    ) -> None:
        """Check losses and measure gradients once per interval."""
        for head in drawn.keys() - self._norms.keys():
            for name, loss in drawn[head].items():
                self._check_loss(name, float(loss.detach()))
            self._norms[head] = self._gradient_norm(applied[head])
        if self._step % self.disp_freq and self._step != self.num_steps:
            return
        if self.rank == 0:
            row = {
                "step": self._step,
                "batches": dict(self._batches),
                "gradient_norms": self._norms,
                "streams": {h: dict(s.counts) for h, s in self._streams.items()},
                "elements": {h: sorted(s.elements) for h, s in self._streams.items()},
            }
            with Path(GRADIENTS).open("a", encoding="utf-8") as stream:
                # the last line may have been cut short, as by a full disk
                stream.write("\n" + json.dumps(row))
        self._batches, self._norms = Counter(), {}

    def _check_loss(self, head: str, loss: float) -> None:
        unused = self.combination.lambda_reg.get(head) == 0
        if math.isfinite(loss) and (loss != 0 or unused):
            return
        reason = (
            "no label of its data enters the loss"
            if loss == 0
            else "lower the learning rate or look for wrong labels"
        )
        msg = f"the loss of head {head!r} is {loss:g} at step {self._step}: {reason}"
        raise TrainingError(msg)

    def _gradient_norm(self, loss: torch.Tensor) -> float:
        """Return the norm of a loss's gradient in the shared descriptor."""
        model = self._get_inner_module().model[self.model_keys[0]]
        shared = [p for p in model.get_descriptor().parameters() if p.requires_grad]
        if not shared or not loss.requires_grad:
            return 0.0
        gradients = torch.autograd.grad(
            loss, shared, retain_graph=True, allow_unused=True
        )
        squares = [g.square().sum() for g in gradients if g is not None]
        return float(torch.stack(squares).sum().sqrt())

    def _measured_lambdas(self) -> dict[str, float]:
        """Return the balancing weight of each head that needs one, once per run."""
        combination = self.combination
        measured = [h for h, reg in combination.lambda_reg.items() if reg == "auto"]
        downstream = [h for h in self.model_keys if h not in combination.auxiliary]
        drawn = combination.drawn(downstream)
        first = [self._draw(drawn) for _ in range(N_SETTLE)]
        second = [self._draw(drawn) for _ in range(N_BALANCE)]
        third = {h: [self._draw([h]) for _ in range(N_BALANCE)] for h in measured}
        if known := measured_lambdas(Path(), measured):
            return known
        norms = {
            head: [self._gradient_norm(self._sum(b)) for b in batches]
            for head, batches in third.items()
        }
        with self._settled_heads(first):
            task = [self._gradient_norm(self._sum(b)) for b in second]
        weights = {
            head: balanced_lambda(
                task, norms[head], combination.batches_for_each(head, len(downstream))
            )
            for head in measured
        }
        if self.rank == 0:
            found = {"lambda_reg": weights, "auxiliary": norms, "downstream": task}
            with replacing(Path(LAMBDA)) as partial:
                partial.write_text(json.dumps(found, indent=1))
        return weights

    def _draw(self, heads: Iterable[str]) -> dict[str, Batch]:
        return {head: super(Trainer, self)._next_training_batch(head) for head in heads}

    def _sum(self, batches: Mapping[str, Batch]) -> torch.Tensor:
        """Return the sum of the losses at the first learning rate."""
        rate = self.lr_schedule.value(0)
        losses = [self._losses(head, batch, rate) for head, batch in batches.items()]
        return torch.stack([x for some in losses for x in some.values()]).sum()

    @contextmanager
    def _settled_heads(self, batches: Sequence[Mapping[str, Batch]]) -> Iterator[None]:
        """Fit the heads alone for a moment, and undo that at the end.

        A random head's errors are large, and so is its gradient: several times that of
        the rest of the training.
        """
        models = self._get_inner_module().model
        drawn = {head for batch in batches for head in batch}
        heads = [head for name in drawn for head in self.combination.sharing(name)]
        weights = [
            parameter
            for head in sorted(heads)
            for parameter in models[head].atomic_model.fitting_net.parameters()
            if parameter.requires_grad
        ]
        before = [weight.detach().clone() for weight in weights]
        optimizer = torch.optim.Adam(weights, lr=self.lr_schedule.value(0))
        for batch in batches:
            gradients = torch.autograd.grad(
                self._sum(batch), weights, allow_unused=True
            )
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            optimizer.step()
        try:
            yield
        finally:
            for weight, old in zip(weights, before, strict=True):
                weight.data.copy_(old)
                weight.grad = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``dp --pt train`` with this module's trainer.

    Parameters
    ----------
    arguments : sequence of str, optional
        Of ``dp train``; those of the command line by default.
    """
    training.Trainer = Trainer
    sort_elements_without_database()
    open_arrays_in_turn()
    if DEVICE.type == "cpu":
        orthogonalize_in_single_precision()
    deepmd_main(["train", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    main()
