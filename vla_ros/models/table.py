"""The VLA of an arm at its table: two cameras, words and joints in; a chunk of joint angles out.

Words are read as a meaning: a kind of task, and a colour and a shape for the thing and for the
place where it is put. The cells of both images say what stands in them; where that is what the
words name, the model looks, to a fraction of a cell. What it sees there and the joints give how
each joint moves from where it is, row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vla_ros.models.config import TABLE_IMAGES, VLAConfig
from vla_ros.models.language.small import TableLanguage
from vla_ros.models.language.tokenizers import TableTokenizer
from vla_ros.models.vision.pixels import places
from vla_ros.models.vla import VLA
from vla_ros.tasks.arm.intent import LEARNED_KINDS, LEARNED_OBJECT_KINDS, ArmIntent, Named
from vla_ros.tasks.arm.table import SHAPES
from vla_ros.tasks.objects import COLOURS

TASKS = LEARNED_KINDS  # and one for all other words
UNCLEAR = len(TASKS)
OBJECT_TASKS = len(LEARNED_OBJECT_KINDS)  # the first ones
# Of a meaning: task, colour and shape of the thing, of the place; the last of each: none.
MEANINGS = (len(TASKS) + 1, len(COLOURS) + 1, len(SHAPES) + 1, len(COLOURS) + 1, len(SHAPES) + 1)
NO_COLOUR = len(COLOURS)
NO_SHAPE = len(SHAPES)
SCENE_SIZE = TABLE_IMAGES["scene"]
SCENE_ROWS = (28, 92)  # of the scene's image that show the table
WRIST_SIZE = TABLE_IMAGES["wrist"]
STRIDE = 4  # pixels of a cell's side
ROW_RAD = 0.09  # of a joint, from one row to the next, as one unit
OFFSET_M = 0.1  # of a thing from the tool, as one unit
UNNAMED_LOGIT = 20.0
JOINTS = 6
# Beside the joints: how far open, 0 … 1, what it was told last, and how far it moved since the
# last image.
TABLE_STATE = (
    *(f"joint_{number}" for number in range(1, JOINTS + 1)),
    "opening",
    "gripper_command",
    "opening_change",
)


def said_of(intent: ArmIntent) -> tuple[int, ...]:
    """Numbers of the meaning's classes: task, colour and shape of the thing, of the place."""
    return (TASKS.index(intent.kind), *_said(intent.thing), *_said(intent.place))


def _said(named: Named | None) -> tuple[int, int]:
    if named is None:
        return NO_COLOUR, NO_SHAPE
    return (
        COLOURS.index(named.colour) if named.colour else NO_COLOUR,
        SHAPES.index(named.shape) if named.shape else NO_SHAPE,
    )


def one_hot(said: Tensor) -> tuple[Tensor, ...]:
    """Numbers of a meaning's classes, B x 5 -> of each part B x its classes."""
    parts = []
    for column, size in enumerate(MEANINGS):
        parts.append(nn.functional.one_hot(said[:, column], size).float())
    return tuple(parts)


class Gaze(NamedTuple):
    """Where one role is in one image, of BM instructions."""

    logits: Tensor  # BM x (N + 1), over cells and "nowhere"
    place: Tensor  # BM x 3: across and down, -1 … 1, and how likely nowhere
    value: Tensor  # BM x V


class TableOutput(NamedTuple):
    """What the model says about B images with M instructions each."""

    rows: Tensor  # BM x T x 6: how far each joint moves in each row, units of ROW_RAD
    gripper: Tensor  # BM x T, logits of open
    gazes: dict[str, Gaze]  # scene_thing, scene_goal, wrist_thing, wrist_place
    # camera -> the logarithms of how likely each colour and shape is, B x 7 x N and B x 4 x N
    cells: dict[str, tuple[Tensor, Tensor]]
    offsets: Tensor  # BM x 6: thing and goal from the tool, ahead, left, up, units of OFFSET_M
    turn: Tensor  # BM x 2: cosine and sine of four times how far a block is turned from the hand
    gripped: Tensor  # BM, a logit: the thing is held


class Eye(nn.Module):
    """One camera: pixels B x 3 x H x W in 0 … 1 -> cells B x D x h x w."""

    place: Tensor

    def __init__(self, size: tuple[int, int], width: int, values: int, room: int) -> None:
        super().__init__()
        self.grid = (size[0] // STRIDE, size[1] // STRIDE)
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=2, dilation=2),
            nn.ReLU(),
        )
        self.register_buffer("place", places(self.grid), persistent=False)
        self.cells = nn.Conv2d(width, len(COLOURS) + len(SHAPES) + 2, 1)
        self.value = nn.Conv2d(width, values, 1)
        self.thin = nn.Sequential(nn.Conv2d(width, 8, 1), nn.ReLU(), nn.AvgPool2d(2))
        self.room = nn.Linear(8 * self.grid[0] * self.grid[1] // 4, room)
        self.nowhere = nn.Parameter(torch.zeros(()))

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.convolutions((pixels - 0.5) * 4.0)
        return features

    def stands(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """B x 7 x N and B x 4 x N: how likely what colour and shape has its middle in each cell.

        Their logarithms.
        """
        both = self.cells(features).float().flatten(2)
        colour, shape = both.split((len(COLOURS) + 1, len(SHAPES) + 1), 1)
        return colour.log_softmax(1), shape.log_softmax(1)

    def look(self, logits: Tensor, values: Tensor) -> Gaze:
        """Logits B x M x N -> where that is, and what is seen there. Values are B x N x V."""
        nowhere = self.nowhere.expand(*logits.shape[:2], 1)
        logits = torch.cat([logits, nowhere], -1)
        attention = logits.softmax(-1)
        cells = attention[..., :-1]
        place = torch.cat([cells @ self.place, attention[..., -1:]], -1)
        return Gaze(
            logits.flatten(0, 1), place.flatten(0, 1), (cells @ values.float()).flatten(0, 1)
        )

    def surroundings(self, features: Tensor) -> Tensor:
        """A coarse map of everything, B x R."""
        seen: Tensor = torch.relu(self.room(self.thin(features).flatten(1)))
        return seen


class TableVLA(VLA):
    """`meaning` reads words, `decide` looks and acts; the image stacks scene upon wrist."""

    def __init__(self, config: VLAConfig) -> None:
        nn.Module.__init__(self)  # none of the single-camera model's parts
        options = config.options("model")
        width = options["cells"]
        values = options["values"]
        hidden = options["hidden"]
        self.config = config
        self.tokenizer = TableTokenizer.default(config)
        self.statistics: Mapping[str, Any] = {}
        self.language = TableLanguage(config)
        slot = config.width // config.options("language")["slots"]
        self.read = nn.ModuleList(nn.Linear(slot, size) for size in MEANINGS[1:])
        self.task = nn.Linear(config.width - slot * len(self.read), MEANINGS[0])
        scene = (SCENE_ROWS[1] - SCENE_ROWS[0], SCENE_SIZE[1])
        self.scene = Eye(scene, width, values, 32)
        self.wrist = Eye(WRIST_SIZE, width, values, 64)
        self.spot = nn.ModuleList(
            (
                nn.Conv2d(width, 22, 2, stride=2),
                nn.Conv2d(24, 24, 3, padding=1),
                nn.Conv2d(24, 24, 3, padding=1),
                nn.Conv2d(24, 4, 1),
            )
        )
        self.spot_task = nn.Linear(MEANINGS[0], 1 + 24)
        meaning = MEANINGS[0] + MEANINGS[2] + MEANINGS[4]
        body = _body(torch.zeros(1, len(TABLE_STATE))).shape[-1]
        inputs = 4 * (3 + values) + 4 + 32 + 64 + body + meaning
        self.first = nn.Linear(inputs, hidden)
        self.gate = nn.Linear(body + meaning, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.known = nn.Linear(hidden, 6 + 2 + 1)
        self.third = nn.Linear(hidden + 9 + body + meaning, hidden)
        self.fourth = nn.Linear(hidden, hidden)
        self.act = nn.Linear(hidden, config.steps * (JOINTS + 1))

    # -- words -------------------------------------------------------------------------
    def meaning(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """ids, mask B x L -> logits of task, thing's colour and shape, place's colour and shape."""
        _, pooled = self.language(ids, mask)
        slot = self.config.width // self.config.options("language")["slots"]
        names = []
        for index, part in enumerate(self.read):
            names.append(part(pooled[:, index * slot : (index + 1) * slot]).float())
        return (self.task(pooled[:, len(names) * slot :]).float(), *names)

    # -- images ------------------------------------------------------------------------
    def decide(
        self, scene: Tensor, wrist: Tensor, meaning: tuple[Tensor, ...], state: Tensor
    ) -> TableOutput:
        """What to do.

        Args:
            scene: B x 3 x 96 x 96, 0 … 1.
            wrist: B x 3 x 64 x 64.
            meaning: One-hot, BM x a class, in the order of MEANINGS.
            state: BM x 9, as TABLE_STATE.
        """
        images = len(scene)
        task, *names = meaning
        seen = self.scene(scene[:, :, SCENE_ROWS[0] : SCENE_ROWS[1]])
        near = self.wrist(wrist)
        cells = {"scene": self.scene.stands(seen), "wrist": self.wrist.stands(near)}
        asked = []
        for name in names:
            asked.append(name.unflatten(0, (images, -1)))
        gazes = {}
        matches = {}
        for eye, features, camera in ((self.scene, seen, "scene"), (self.wrist, near, "wrist")):
            values = eye.value(features).flatten(2).transpose(1, 2)
            for role, colour, shape in (
                ("thing", asked[0], asked[1]),
                ("place", asked[2], asked[3]),
            ):
                match = _agree(cells[camera][0], colour) + _agree(cells[camera][1], shape)
                unnamed = colour[..., -1:] * shape[..., -1:]
                match = match - UNNAMED_LOGIT * unnamed  # what no word names is nowhere
                matches[f"{camera}_{role}"] = match
                if (camera, role) != ("scene", "place"):
                    gazes[f"{camera}_{role}"] = eye.look(match, values)
            if camera == "scene":
                spots = self._spots(seen, matches, task, images)
                gazes["scene_goal"] = eye.look(spots, values)
        rooms = torch.cat([self.scene.surroundings(seen), self.wrist.surroundings(near)], -1)
        rooms = rooms.repeat_interleave(len(state) // images, 0)
        return self._act(gazes, cells, rooms, torch.cat([task, names[1], names[3]], -1), state)

    def _spots(self, seen: Tensor, matches: dict[str, Tensor], task: Tensor, images: int) -> Tensor:
        """Logits B x M x N of where something is put: the place itself, or a free spot beside."""
        many = len(task) // images
        rows, columns = self.scene.grid
        thin, first, second, last = self.spot
        place = matches["scene_place"]
        maps = torch.stack([place.softmax(-1), matches["scene_thing"].softmax(-1)], 2)
        maps = maps.flatten(0, 1).unflatten(-1, (rows, columns))  # BM x 2 x h x w
        maps = nn.functional.avg_pool2d(maps, 2) * 4.0  # coarser: it is much work
        around = torch.relu(thin(seen)).repeat_interleave(many, 0)
        asked = self.spot_task(task)
        hidden = torch.relu(first(torch.cat([around, maps.to(around.dtype)], 1)))
        hidden = torch.relu(second(hidden) + asked[:, 1:, None, None])
        free = nn.functional.pixel_shuffle(last(hidden).float(), 2)
        free = free.flatten(1).unflatten(0, (images, many))
        return free + asked[:, :1].float().unflatten(0, (images, many)) * place

    def _act(
        self,
        gazes: dict[str, Gaze],
        cells: dict[str, tuple[Tensor, Tensor]],
        rooms: Tensor,
        meaning: Tensor,
        state: Tensor,
    ) -> TableOutput:
        body = _body(state)
        context = torch.cat([body, meaning], -1)
        parts = [rooms, context]
        turn = state[:, 5]
        for name, gaze in gazes.items():
            parts += [gaze.place, gaze.value]
            if name.startswith("wrist"):  # the hand turns with the last joint
                parts.append(_turned(gaze.place[:, :2], turn))
        assert self.gate is not None
        hidden = torch.relu(self.first(torch.cat(parts, -1)))
        hidden = hidden * (1.0 + torch.tanh(self.gate(context)))
        hidden = torch.relu(self.second(hidden))
        known = self.known(hidden).float()
        hidden = torch.relu(self.third(torch.cat([hidden, known, context], -1)))
        hidden = torch.relu(self.fourth(hidden))
        chunk = self.act(hidden).float().unflatten(-1, (self.config.steps, JOINTS + 1))
        return TableOutput(
            chunk[..., :JOINTS],
            chunk[..., JOINTS],
            gazes,
            cells,
            known[:, :6],
            known[:, 6:8],
            known[:, 8],
        )


def _body(state: Tensor) -> Tensor:
    """What the joints say, as numbers in which the tool's place is a plain sum and product."""
    joints = state[:, :JOINTS]
    upper = joints[:, 1]
    fore = upper + joints[:, 2]
    hand = fore + joints[:, 4]
    angles = torch.stack([joints[:, 0], upper, fore, hand, joints[:, 5]], -1)
    return torch.cat([state, angles.cos(), angles.sin()], -1)


def _turned(places: Tensor, angle: Tensor) -> Tensor:
    """Places B x 2, turned by the angle B, rad."""
    cos = angle.cos()
    sin = angle.sin()
    across, down = places.unbind(-1)
    return torch.stack([across * cos - down * sin, across * sin + down * cos], -1)


def _agree(cell: Tensor, word: Tensor) -> Tensor:
    """Of cells B x K x N and words B x M x K, the last "none" -> B x M x N, logarithms."""
    return word[..., :-1] @ cell[:, :-1]
