"""Both cameras' images of the arm at its table, each labelled by the expert for several words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.images import resize
from vla_ros.models.config import TABLE_IMAGES
from vla_ros.models.table import (
    NO_COLOUR,
    OFFSET_M,
    SCENE_SIZE,
    TABLE_STATE,
    TASKS,
    WRIST_SIZE,
    said_of,
)
from vla_ros.sim.arm import chain
from vla_ros.sim.arm.episode import ARM_STEP_S, draw_intent
from vla_ros.sim.arm.expert import PUT_BESIDE_GAP_M, beside_angle, gripped, rows_for
from vla_ros.sim.arm.world import CAMERAS, ArmWorld
from vla_ros.tasks.arm.intent import PUT_KINDS, ArmIntent, Named
from vla_ros.tasks.arm.phrases import UNSEEN_TABLE_PAIRS
from vla_ros.tasks.arm.success import places_meant, things_meant
from vla_ros.tasks.arm.table import HAND_OVER, SHAPES, TableObject, TableState
from vla_ros.tasks.objects import COLOURS
from vla_ros.training.stored_arrays import StoredArrays

Array = NDArray[np.float64]
DRAWN_TIMES = 2  # as large as the model's images: halved, edges come out as from a real camera
MAX_THINGS = 6  # of a table
SAID = 2  # instructions of an image: the one that is followed, and another
NOBODY = -1  # a role that no thing has
ABSENT_SHARE = 0.06  # of the other instructions, that name what is not there
ANY_SHAPE_SHARE = 0.08  # that name a colour alone
KIND_SHARES = {
    "reach": 0.13,
    "pick": 0.17,
    "put_into": 0.16,
    "put_onto": 0.17,
    "put_beside": 0.19,
    "hand_over": 0.06,
    "open": 0.02,
    "close": 0.02,
    "home": 0.05,
    "stop": 0.03,
}
_KIND_STEPS = np.cumsum(list(KIND_SHARES.values()))


@dataclass
class ArmFrames(StoredArrays):
    """n moments; of each SAID instructions (M) are labelled with T rows."""

    IMAGES: ClassVar[tuple[str, ...]] = CAMERAS

    scene: NDArray[np.uint8]  # n x 96 x 96 x 3
    wrist: NDArray[np.uint8]  # n x 64 x 64 x 3
    state: NDArray[np.float32]  # n x 9, as TABLE_STATE
    things: NDArray[np.int8]  # n x 6 x 2: colour and shape; NOBODY: none
    seen: NDArray[np.float32]  # n x 2 x 6 x 2: pixels across and down, by camera; NaN: not in it
    said: NDArray[np.int8]  # n x M x 5: task, thing's colour and shape, place's
    roles: NDArray[np.int8]  # n x M x 2: which thing is meant, and which place; NOBODY: none
    goal: NDArray[np.float32]  # n x M x 2: where something is put, pixels of the scene; NaN: none
    offsets: NDArray[np.float32]  # n x M x 6, units of OFFSET_M; NaN: none
    turn: NDArray[np.float32]  # n x M x 2; NaN: no block
    gripped: NDArray[np.float32]  # n x M; NaN: no thing
    rows: NDArray[np.float32]  # n x M x T x 7: angles from where they are (rad), gripper 0 … 1

    @classmethod
    def empty(cls, count: int, steps: int) -> ArmFrames:
        """Black images of empty tables, to be filled."""
        return cls(
            np.zeros((count, *SCENE_SIZE, 3), np.uint8),
            np.zeros((count, *WRIST_SIZE, 3), np.uint8),
            np.zeros((count, len(TABLE_STATE)), np.float32),
            np.full((count, MAX_THINGS, 2), NOBODY, np.int8),
            np.full((count, len(CAMERAS), MAX_THINGS, 2), np.nan, np.float32),
            np.zeros((count, SAID, 5), np.int8),
            np.full((count, SAID, 2), NOBODY, np.int8),
            np.full((count, SAID, 2), np.nan, np.float32),
            np.full((count, SAID, 6), np.nan, np.float32),
            np.full((count, SAID, 2), np.nan, np.float32),
            np.full((count, SAID), np.nan, np.float32),
            np.zeros((count, SAID, steps, 7), np.float32),
        )

    def __len__(self) -> int:
        return len(self.scene)


def look(world: ArmWorld) -> dict[str, NDArray[np.uint8]]:
    """Both cameras' images as the model sees them."""
    images = {}
    for camera, (height, width) in TABLE_IMAGES.items():
        drawn = world.draw(camera, DRAWN_TIMES * height, DRAWN_TIMES * width)
        images[camera] = resize(drawn, (height, width))
    return images


def pixels(world: ArmWorld, camera: str, points: Array) -> Array:
    """Where points (n x 3, m) are in the model's image of `camera`: n x 2, NaN outside of it."""
    number = world.model.camera(camera).id
    turn = world.data.cam_xmat[number].reshape(3, 3)
    seen = (points - world.data.cam_xpos[number]) @ turn  # right, up, backwards
    height, width = TABLE_IMAGES[camera]
    focal = height / 2 / np.tan(np.radians(world.model.cam_fovy[number]) / 2)
    ahead = -seen[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.stack(
            (width / 2 + focal * seen[:, 0] / ahead, height / 2 - focal * seen[:, 1] / ahead), 1
        )
    inside = (ahead > 0.01) & (places >= 0).all(1) & (places < (width, height)).all(1)
    places[~inside] = np.nan
    return places


def draw_kind(rng: np.random.Generator) -> str:
    """A kind of task, as often as training asks for it."""
    return TASKS[int(np.searchsorted(_KIND_STEPS, rng.random() * _KIND_STEPS[-1]))]


def trained(intent: ArmIntent) -> bool:
    """May training name these things?"""
    for named in (intent.thing, intent.place):
        if named is not None and (named.colour, named.shape) in UNSEEN_TABLE_PAIRS:
            return False
    return True


def other_instruction(world: ArmWorld, rng: np.random.Generator) -> ArmIntent:
    """Any instruction, now and then for what is not there."""
    for _ in range(8):
        intent = draw_intent(world, draw_kind(rng), rng)
        if intent is None or not trained(intent):
            continue
        if intent.thing is not None and rng.random() < ABSENT_SHARE:
            named = Named(COLOURS[rng.integers(NO_COLOUR)], intent.thing.shape)
            changed = ArmIntent(intent.kind, named, intent.place)
            if trained(changed) and changed.thing != changed.place:
                return changed
        return intent
    return ArmIntent("stop")


def any_shape(world: ArmWorld, intent: ArmIntent, rng: np.random.Generator) -> ArmIntent:
    """The same, now and then by the colour alone, where that is enough."""
    named = intent.thing
    if named is None or rng.random() >= ANY_SHAPE_SHARE:
        return intent
    colours = [thing.colour for thing in world.scene.objects]
    if colours.count(named.colour or "") > 1:
        return intent
    return ArmIntent(intent.kind, Named(named.colour), intent.place)


def meant(intent: ArmIntent, table: TableState) -> tuple[TableObject | None, TableObject | None]:
    """The thing and the place that the words mean; None where there is none."""
    thing = place = None
    if intent.thing is not None:
        try:
            thing = things_meant(intent, table)[0]
            if intent.kind in PUT_KINDS:
                place = places_meant(intent, table, thing)[0]
        except ValueError:  # not on this table
            return None, None
    return thing, place


def spot_for(
    intent: ArmIntent, start: TableState, thing: TableObject, place: TableObject
) -> tuple[float, float, float]:
    """Where (m) the middle of the thing comes to be."""
    if intent.kind == "put_into":
        return place.x, place.y, place.z + 0.5 * place.height
    if intent.kind == "put_onto":
        return place.x, place.y, place.z + 0.5 * (place.height + thing.height)
    angle = beside_angle(start, thing, place)
    apart = (thing.size + place.size) / 2 + PUT_BESIDE_GAP_M
    return place.x + apart * np.cos(angle), place.y + apart * np.sin(angle), thing.height / 2


def state_of(world: ArmWorld, command: float, opening_before: float) -> NDArray[np.float32]:
    """The numbers of TABLE_STATE now."""
    joints = list(world.joint_states().values())
    opening = joints[-1] / chain.FINGER_TRAVEL_M
    return np.array([*joints[:-1], opening, command, opening - opening_before], np.float32)


def shoot(
    world: ArmWorld, frames: ArmFrames, index: int, images: dict[str, NDArray[np.uint8]]
) -> None:
    """Put down what is seen at this moment, and where everything is in it."""
    frames.scene[index] = images["scene"]
    frames.wrist[index] = images["wrist"]
    table = world.state()
    points = np.array([(thing.x, thing.y, thing.z) for thing in table.objects])
    frames.things[index] = NOBODY
    frames.seen[index] = np.nan
    for row, thing in enumerate(table.objects):
        frames.things[index, row] = COLOURS.index(thing.colour), SHAPES.index(thing.shape)
    for number, camera in enumerate(CAMERAS):
        frames.seen[index, number, : len(points)] = pixels(world, camera, points)


def label(
    world: ArmWorld,
    frames: ArmFrames,
    index: int,
    which: int,
    intent: ArmIntent,
    start: TableState,
) -> Array:
    """Put down what the expert would do now; its rows, T x 7."""
    table = world.state()
    thing, place = meant(intent, table)
    steps = frames.rows.shape[2]
    joints = np.array(table.joints)
    lost = intent.thing is not None and thing is None
    if lost:  # nothing that could be meant: stay
        rows = rows_for(ArmIntent("stop"), start, table, steps, ARM_STEP_S)
    else:
        rows = rows_for(intent, start, table, steps, ARM_STEP_S)
    names = [thing.name for thing in table.objects]
    frames.said[index, which] = said_of(intent)
    frames.roles[index, which] = NOBODY
    frames.goal[index, which] = np.nan
    frames.offsets[index, which] = np.nan
    frames.turn[index, which] = np.nan
    frames.gripped[index, which] = np.nan
    if thing is not None:
        frames.roles[index, which, 0] = names.index(thing.name)
        frames.offsets[index, which, :3] = _offset(table, (thing.x, thing.y, thing.z))
        frames.gripped[index, which] = gripped(table, thing)
        if thing.shape == "block":
            turned = 4.0 * (thing.yaw - table.tool_yaw)
            frames.turn[index, which] = np.cos(turned), np.sin(turned)
        if place is not None:
            frames.roles[index, which, 1] = names.index(place.name)
            spot = spot_for(intent, start, thing, place)
            frames.goal[index, which] = pixels(world, "scene", np.array([spot]))[0]
            frames.offsets[index, which, 3:] = _offset(table, spot)
    if intent.kind == "hand_over":
        frames.offsets[index, which, 3:] = _offset(table, HAND_OVER)
    frames.rows[index, which] = rows
    frames.rows[index, which, :, :6] -= joints
    return rows


def _offset(table: TableState, point: tuple[float, float, float]) -> Array:
    """From the tool to the point: away from the arm's axis, left of that, up; units of OFFSET_M."""
    gap = np.subtract(point, table.tool)
    cos = np.cos(table.joints[0])
    sin = np.sin(table.joints[0])
    turned = (gap[0] * cos + gap[1] * sin, gap[1] * cos - gap[0] * sin, gap[2])
    return np.array(turned) / OFFSET_M
