"""ACT's network, as it acts: images and state in, a chunk of actions out.

The part that learns what differs between demonstrations (the VAE's encoder) is not here: where it
acts, its latent is zero. Modules are named as LeRobot names them, so that its weights fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_ros.models.act.resnet import FEATURES, ResNetFeatures

TEMPERATURE = 10_000.0  # of the sinusoids, as in "Attention Is All You Need"
STATE = "state"
ENVIRONMENT = "environment"
ACTION = "action"
ACTIVATIONS = {"relu": torch.relu, "gelu": nn.functional.gelu}


@dataclass(frozen=True)
class ActSizes:
    """What a checkpoint's config says of the network.

    Attributes:
        cameras: How many images it looks at.
        state, environment: Numbers of each; 0: none.
        actions: Numbers of a row; `rows` of a chunk.
        width, heads, hidden: Of the transformers.
        encoder_layers, decoder_layers: How many of each.
        latent: Numbers of the latent, all zero.
        backbone: What looks at the images.
        activation: Of the transformers' feed-forward parts, one of ACTIVATIONS.
        norm_first: Layers are normalised before they act, instead of afterwards.
    """

    cameras: int
    state: int
    environment: int
    actions: int
    rows: int
    width: int = 512
    heads: int = 8
    hidden: int = 3200
    encoder_layers: int = 4
    decoder_layers: int = 1
    latent: int = 32
    backbone: str = "resnet18"
    activation: str = "relu"
    norm_first: bool = False


class _Layer(nn.Module):
    """What encoder and decoder layers have in common; tokens are N x B x D."""

    def __init__(self, sizes: ActSizes) -> None:
        super().__init__()
        self._norm_first = sizes.norm_first
        self._activation = ACTIVATIONS[sizes.activation]
        self.self_attn = nn.MultiheadAttention(sizes.width, sizes.heads)
        self.linear1 = nn.Linear(sizes.width, sizes.hidden)
        self.linear2 = nn.Linear(sizes.hidden, sizes.width)
        self.norm1 = nn.LayerNorm(sizes.width)
        self.norm2 = nn.LayerNorm(sizes.width)

    def _attend(self, x: Tensor, places: Tensor, norm: nn.Module) -> Tensor:
        """Tokens look at each other; where they are is no part of what they say."""
        inner = norm(x) if self._norm_first else x
        queries = inner + places
        x = x + self.self_attn(queries, queries, inner, need_weights=False)[0]
        return x if self._norm_first else norm(x)

    def _feed(self, x: Tensor, norm: nn.Module) -> Tensor:
        inner = norm(x) if self._norm_first else x
        x = x + self.linear2(self._activation(self.linear1(inner)))
        return x if self._norm_first else norm(x)


class _EncoderLayer(_Layer):
    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        return self._feed(self._attend(x, places, self.norm1), self.norm2)


class _DecoderLayer(_Layer):
    def __init__(self, sizes: ActSizes) -> None:
        super().__init__(sizes)
        self.multihead_attn = nn.MultiheadAttention(sizes.width, sizes.heads)
        self.norm3 = nn.LayerNorm(sizes.width)

    def forward(self, x: Tensor, places: Tensor, seen: Tensor, seen_places: Tensor) -> Tensor:
        x = self._attend(x, places, self.norm1)
        inner = self.norm2(x) if self._norm_first else x
        keys = seen + seen_places
        x = x + self.multihead_attn(inner + places, keys, seen, need_weights=False)[0]
        x = x if self._norm_first else self.norm2(x)
        return self._feed(x, self.norm3)


class _Encoder(nn.Module):
    def __init__(self, sizes: ActSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_EncoderLayer(sizes) for _ in range(sizes.encoder_layers))
        self.norm = nn.LayerNorm(sizes.width) if sizes.norm_first else nn.Identity()

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, places)
        out: Tensor = self.norm(x)
        return out


class _Decoder(nn.Module):
    def __init__(self, sizes: ActSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_DecoderLayer(sizes) for _ in range(sizes.decoder_layers))
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, x: Tensor, places: Tensor, seen: Tensor, seen_places: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, places, seen, seen_places)
        out: Tensor = self.norm(x)
        return out


class Act(nn.Module):
    """Normalised images and numbers -> normalised actions, B x rows x actions."""

    def __init__(self, sizes: ActSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        if sizes.cameras:
            self.backbone = ResNetFeatures(sizes.backbone)
            self.encoder_img_feat_input_proj = nn.Conv2d(FEATURES, width, 1)
        if sizes.state:
            self.encoder_robot_state_input_proj = nn.Linear(sizes.state, width)
        if sizes.environment:
            self.encoder_env_state_input_proj = nn.Linear(sizes.environment, width)
        self.encoder_latent_input_proj = nn.Linear(sizes.latent, width)
        tokens = 1 + bool(sizes.state) + bool(sizes.environment)
        self.encoder_1d_feature_pos_embed = nn.Embedding(tokens, width)
        self.encoder = _Encoder(sizes)
        self.decoder = _Decoder(sizes)
        self.decoder_pos_embed = nn.Embedding(sizes.rows, width)
        self.action_head = nn.Linear(width, sizes.actions)

    def forward(
        self,
        batch: int,
        state: Tensor | None,
        environment: Tensor | None,
        images: Sequence[Tensor],
    ) -> Tensor:
        """One chunk for each of `batch` observations.

        Args:
            batch: B.
            state, environment: B x S and B x E; None: it has none.
            images: Of each camera B x 3 x H x W.
        """
        # The latent is zero: what its projection gives is its bias.
        tokens = [self.encoder_latent_input_proj.bias.expand(1, batch, -1)]
        if state is not None:
            tokens.append(self.encoder_robot_state_input_proj(state)[None])
        if environment is not None:
            tokens.append(self.encoder_env_state_input_proj(environment)[None])
        places = [self.encoder_1d_feature_pos_embed.weight[:, None]]
        for pixels in images:
            features = self.backbone(pixels)
            places.append(grid_places(features.shape[2], features.shape[3], self.sizes.width))
            cells = self.encoder_img_feat_input_proj(features)
            tokens.append(cells.flatten(2).permute(2, 0, 1))
        where = torch.cat([place.to(tokens[0].device) for place in places])
        seen = self.encoder(torch.cat(tokens), where)
        # The decoder begins with nothing but where each row is in the chunk.
        rows = self.decoder_pos_embed.weight[:, None]
        empty = torch.zeros_like(rows).expand(-1, batch, -1)
        out = self.decoder(empty, rows, seen, where)
        actions: Tensor = self.action_head(out.transpose(0, 1))
        return actions


def grid_places(rows: int, columns: int, width: int) -> Tensor:
    """Where each cell of an image is, as sinusoids: (rows x columns) x 1 x width, row by row.

    The first half of the width says how far down, the second how far across.
    """
    half = width // 2
    exponent = 2.0 * (torch.arange(half, dtype=torch.float32) // 2) / half
    frequency = 1.0 / TEMPERATURE**exponent
    halves: list[Tensor] = []
    for count, shape in ((rows, (rows, 1)), (columns, (1, columns))):
        angle = torch.arange(1, count + 1, dtype=torch.float32) / (count + 1e-6) * (2.0 * math.pi)
        turned = angle[:, None] * frequency  # count x half
        pairs = torch.stack((turned[:, 0::2].sin(), turned[:, 1::2].cos()), -1).flatten(1)
        halves.append(pairs.reshape(*shape, half).expand(rows, columns, half))
    return torch.cat(halves, -1).reshape(rows * columns, 1, width)


@dataclass(frozen=True)
class Scaling:
    """A feature as the network knows it: (value - offset) / scale; each broadcasts to it."""

    offset: Tensor
    scale: Tensor


class ActStage(nn.Module):
    """ACT between what the robot measures and what it obeys, as an engine runs it.

    Takes what `inputs` names, in this order: STATE (B x S) and ENVIRONMENT (B x E) where it has
    them, and of each camera B x H x W x 3, uint8. Gives (B x rows x actions,), in the dataset's
    units.
    """

    def __init__(self, act: Act, cameras: Sequence[str], scalings: Mapping[str, Scaling]) -> None:
        """`scalings`: of inputs and ACTION; what is not there is as it is."""
        super().__init__()
        self.act = act
        numbers: list[str] = []
        if act.sizes.state:
            numbers.append(STATE)
        if act.sizes.environment:
            numbers.append(ENVIRONMENT)
        self.inputs = (*numbers, *cameras)
        self.outputs = ("actions",)
        self._cameras = tuple(cameras)
        # By number: a buffer's name has no dots, and an image's may.
        for index, name in enumerate((*self.inputs, ACTION)):
            scaling = scalings.get(name, Scaling(torch.zeros(1), torch.ones(1)))
            self.register_buffer(f"offset_{index}", scaling.offset)
            self.register_buffer(f"scale_{index}", scaling.scale)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        scaled: dict[str, Tensor] = {}
        for index, (name, value) in enumerate(zip(self.inputs, inputs)):
            if name in self._cameras:
                value = value.permute(0, 3, 1, 2).float() / 255.0
            offset = self.get_buffer(f"offset_{index}")
            scaled[name] = (value - offset) / self.get_buffer(f"scale_{index}")
        images = [scaled[name] for name in self._cameras]
        actions = self.act(len(inputs[0]), scaled.get(STATE), scaled.get(ENVIRONMENT), images)
        last = len(self.inputs)
        scale = self.get_buffer(f"scale_{last}")
        return (actions * scale + self.get_buffer(f"offset_{last}"),)
