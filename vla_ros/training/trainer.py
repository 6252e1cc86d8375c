"""The loop of every training here, on Hugging Face accelerate.

Several GPUs or machines are accelerate's configuration.

A step depends on the settings, the weights and its own number alone: batches are asked for by
number, and every step begins its own random stream. So a run that was killed goes on from its last
checkpoint to the bit (on the same machine with as many threads and processes).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, send_to_device
from torch import Tensor, nn

from vla_ros.training import checkpointing
from vla_ros.training.ema import ExponentialMovingAverage
from vla_ros.training.log import TrainingLog
from vla_ros.training.prefetch import BatchSource, ahead_of
from vla_ros.training.settings import OptimizerSettings

Loss = Callable[[Any, Any], Mapping[str, Tensor]]
Evaluate = Callable[[Any], Mapping[str, float]]


class LossModule(nn.Module):
    """The loss as the forward pass of one module.

    accelerate's wrappers (autocast, gradients summed over processes) see `forward` alone, and a VLA
    is asked stage by stage.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """The parts of the batch's loss by name."""
        return dict(self.loss(self.model, batch))


class Trainer:
    """Trains `model` by `loss(model, batch)`.

    Leaves in `folder`: checkpoints/, metrics.csv, curves.png, tensorboard/ where that is installed.

    Args:
        loss: gives parts by name.
        source: where batches come from.
        weights: of the parts; 1 where there is none, 0 for what is only logged.
        factors: multiply the learning rate of parameters by the beginning of their names.
        evaluate: gives numbers by name, "success" among them; asked with the averaged weights.
        resume: go on from the last checkpoint; without, a folder that holds one is refused.
        cpu: there, also where a GPU is.
        log: another than one of `folder`.

    Raises:
        ValueError: something does not fit; before any time is spent.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        source: BatchSource,
        settings: OptimizerSettings,
        folder: Path,
        *,
        weights: Mapping[str, float] | None = None,
        factors: Mapping[str, float] | None = None,
        evaluate: Evaluate | None = None,
        resume: bool = False,
        cpu: bool = False,
        log: TrainingLog | None = None,
    ) -> None:
        checkpoint = checkpointing.newest(folder)
        if checkpoint is not None and not resume:
            raise ValueError(
                f"{folder} holds a training at step {checkpointing.step_of(checkpoint)}; resume "
                "it, or give another folder"
            )
        if settings.precision == "fp16" and not torch.cuda.is_available():
            raise ValueError("precision is fp16, which needs a GPU; use bf16 or no on a CPU")
        self.settings = settings
        self.folder = Path(folder)
        self.source = source
        self.weights = dict(weights or {})
        self.evaluate = evaluate
        self.accelerator = Accelerator(
            mixed_precision=settings.precision,
            cpu=cpu or not torch.cuda.is_available(),
            # a loss need not ask every head of a model
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        trained = _trained(model)
        if not trained:
            raise ValueError("every weight of the model is frozen; nothing can be trained")
        optimizer = torch.optim.AdamW(
            _groups(trained, factors or {}),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self.model = model
        self.step = 0
        self._frozen = checkpointing.fingerprint(model)
        self._step, self._optimizer = self.accelerator.prepare(LossModule(model, loss), optimizer)
        self.trained = _trained(model)  # again: they are on their device now
        self.average = (
            ExponentialMovingAverage(model, settings.average) if settings.average else None
        )
        self._log = log or TrainingLog(
            self.folder, settings.steps, show=self.accelerator.is_main_process
        )
        if checkpoint is not None:
            self._restore(checkpoint)

    # -- steps -------------------------------------------------------------------------
    def run(self, until: int | None = None) -> dict[str, float]:
        """Train up to step `until` (default: the last) and leave a checkpoint there.

        Returns:
            The last metrics logged.

        Raises:
            ValueError: the loss is no finite number; the last checkpoint is then still good.
        """
        last = min(self.settings.steps if until is None else until, self.settings.steps)
        if self.step >= last:
            return self._log.last
        with ExitStack() as stack:
            stack.enter_context(self._log.running(self.step))
            indices = range(self._index(self.step), self._index(last))
            ahead = ahead_of(self._batch, indices, self.settings.ahead)
            batches = stack.enter_context(ahead)
            self.model.train()
            # of the steps since the last report: tensors, as a float would wait for the GPU
            sums: dict[str, Tensor] = {}
            count = 0
            since = time.perf_counter()
            while self.step < last:
                _add(sums, self._advance(batches))
                count += 1
                self.step += 1
                if self.step % self.settings.log_every == 0 or self.step == last:
                    self._report(sums, count, time.perf_counter() - since, self.step == last)
                    sums = {}
                    count = 0
                    since = time.perf_counter()
                if self.step % self.settings.checkpoint_every == 0 or self.step == last:
                    self.save()
        self._log.draw()
        return self._log.last

    @property
    def metrics(self) -> list[dict[str, float]]:
        """What was logged, a row a time; `step`, `loss` and its parts, …"""
        return self._log.rows

    @property
    def seconds(self) -> float:
        """Spent so far, also before a resume."""
        return self._log.seconds

    def _index(self, step: int) -> int:
        """Of the first batch of a step: every process has its own."""
        return step * self.settings.accumulate

    def _batch(self, index: int) -> Any:
        return self.source.batch(
            index * self.accelerator.num_processes + self.accelerator.process_index
        )

    def _advance(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        """One step of the optimizer."""
        many = self.settings.accumulate
        rate = self.settings.rate(self.step)
        metrics: dict[str, Tensor] = {}
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        # Dropout and the like draw from here, so that a step is the same after a resume.
        torch.manual_seed(
            self.settings.seed * 1_000_003 + self.step * 1009 + self.accelerator.process_index
        )
        for turn in range(many):
            batch = send_to_device(next(batches), self.accelerator.device, non_blocking=True)
            with ExitStack() as stack:
                if turn < many - 1:  # processes exchange gradients once a step
                    stack.enter_context(self.accelerator.no_sync(self._step))
                parts = self._step(batch)
                weighted = [self.weights.get(name, 1.0) * part for name, part in parts.items()]
                total = torch.stack(weighted).sum() / many
                self.accelerator.backward(total)
            parts["loss"] = total * many
            _add(metrics, {name: part.detach() / many for name, part in parts.items()})
        norm = self.accelerator.clip_grad_norm_(self.trained.values(), self.settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.model, self.step)
        if norm is not None:
            metrics["gradient"] = norm.detach()
        return metrics

    def _report(self, sums: Mapping[str, Tensor], count: int, seconds: float, last: bool) -> None:
        values = {}
        for name, value in sums.items():
            values[name] = float(self.accelerator.reduce(value / count, "mean"))
        if not math.isfinite(values["loss"]):
            raise ValueError(
                f"the loss is {values['loss']} at step {self.step}; go on from the last checkpoint "
                "with a smaller learning rate"
            )
        values["learning_rate"] = self.settings.rate(self.step - 1)
        values["steps_per_second"] = count / seconds
        every = self.settings.evaluate_every
        if self.evaluate is not None and (last or (every and self.step % every == 0)):
            values |= self._evaluated()
        self._log.add(self.step, values)

    def _evaluated(self) -> dict[str, float]:
        assert self.evaluate is not None
        with self.averaged() as model:
            return {name: float(value) for name, value in self.evaluate(model).items()}

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The model in evaluation mode, with the averaged weights where there are any.

        Training's come back after.
        """
        was = self.model.training
        with self.average.inside(self.model) if self.average is not None else ExitStack():
            try:
                yield self.model.eval()
            finally:
                self.model.train(was)

    def export(self, folder: Path) -> None:
        """The averaged model as a checkpoint that a policy runs.

        Adapters are merged: train no more after that.
        """
        from vla_ros.models.checkpoint import save_pretrained
        from vla_ros.models.lora import merge_lora
        from vla_ros.models.vla import VLA

        if self.accelerator.is_main_process:
            with self.averaged() as model:
                whole = model if isinstance(model, VLA) else model.vla  # an actor holds one
                assert isinstance(whole, VLA)
                if any(".lora_" in name for name, _ in whole.named_parameters()):
                    merge_lora(whole)
                save_pretrained(whole, folder)
        self.accelerator.wait_for_everyone()

    # -- checkpoints -------------------------------------------------------------------
    def save(self) -> None:
        """A checkpoint of this step; the older ones go."""
        if self.accelerator.is_main_process:
            tensors = self._tensors()
            tensors |= checkpointing.optimizer_tensors(self._optimizer, self.trained)
            scaler = getattr(self.accelerator, "scaler", None)  # fp16 has one
            facts = {
                "settings": self.settings.identity(),
                "frozen": self._frozen,
                "seconds": self._log.seconds,
                "scaler": scaler.state_dict() if scaler is not None else {},
            }
            checkpointing.save(self.folder, self.step, tensors, facts)
        self.accelerator.wait_for_everyone()

    def _tensors(self) -> dict[str, Tensor]:
        """What training changes, by its name in a checkpoint: weights, buffers, averages.

        Frozen weights come from where they came from.
        """
        tensors = {}
        for name, value in (*self.trained.items(), *self.model.named_buffers()):
            tensors[f"model.{name}"] = value
        if self.average is not None:
            for name, value in self.average.values.items():
                tensors[f"average.{name}"] = value
        return tensors

    def _restore(self, folder: Path) -> None:
        tensors, facts = checkpointing.load(folder, self.settings.identity(), self._frozen)
        checkpointing.fill(self._tensors(), tensors, folder)
        checkpointing.restore_optimizer(self._optimizer, self.trained, tensors, folder)
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and facts["scaler"]:
            scaler.load_state_dict(facts["scaler"])
        self.step = int(facts["step"])
        self._log.go_on(self.step, float(facts["seconds"]))


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def _add(sums: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Add each value to the sum of its name."""
    for name, value in values.items():
        sums[name] = sums[name] + value if name in sums else value


def _groups(trained: Mapping[str, Tensor], factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameters by the factor of their learning rate, as AdamW takes them."""
    groups: dict[float, list[Tensor]] = {}
    for name, value in trained.items():
        matching = [factors[start] for start in factors if name.startswith(start)]
        factor = matching[0] if matching else 1.0
        groups.setdefault(factor, []).append(value)
    return [{"params": values, "factor": factor} for factor, values in groups.items()]
