"""The planner: a recurrent head that says the steps one by one, and how many there are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.heads.action_decoder import Bounded


class Plan(NamedTuple):
    """Steps, and how many of them there are; those after the number mean nothing."""

    steps: Tensor  # B x T x C, SI units
    probabilities: Tensor  # B x T, of a plan of 1 … T steps
    number: Tensor  # B, the likeliest, int64
    logits: Tensor  # B x T, behind both, for a loss: the number itself passes no gradient


class Planner(Bounded):
    """features B x `inputs` -> Plan of T steps at most.

    An LSTM reads the features and the step it said last. Options: `hidden`, `layers`, `dropout`
    (between layers), `longest` (the most steps that a config may ask for).
    """

    def __init__(self, config: VLAConfig, inputs: int) -> None:
        super().__init__(config)
        options = config.options("head")
        hidden = options["hidden"]
        layers = options["layers"]
        self.steps = config.steps
        channels = len(config.channels)
        self.begin = nn.Parameter(torch.zeros(channels))  # in place of a step before the first
        self.lstm = nn.LSTM(
            inputs + channels,
            hidden,
            layers,
            batch_first=True,
            dropout=options["dropout"] if layers > 1 else 0.0,
        )
        self.out = nn.Linear(hidden, channels)
        self.length = nn.Linear(hidden, self.steps)

    def forward(self, features: Tensor) -> Plan:
        step = self.begin.expand(features.shape[0], -1)  # B x C, in -1 … 1
        state = None
        steps = []
        for _ in range(self.steps):
            inputs = torch.cat([features, step.to(features.dtype)], -1)[:, None]
            hidden, state = self.lstm(inputs, state)
            step = torch.tanh(self.out(hidden[:, 0]).float())
            steps.append(step)
        # The number of steps is read from the whole plan, so from the last state; a loss goes over
        # the logits.
        logits = self.length(hidden[:, 0]).float()
        bounded = self.bounded(torch.stack(steps, 1))
        return Plan(bounded, logits.softmax(-1), logits.argmax(-1) + 1, logits)
