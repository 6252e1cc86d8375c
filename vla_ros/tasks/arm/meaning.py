"""The notation of tasks/meaning.py for an arm at a table.

pick:red block                      one step
put_into:red block, blue bowl       the thing, a comma, and where it is put
pick:cup ; home                     one after another; a cup of any colour
refuse                              nothing that the robot may do
"""

from __future__ import annotations

from vla_ros.tasks.arm.intent import ARM_KINDS, ARM_OBJECT_KINDS, PUT_KINDS, ArmIntent, Named
from vla_ros.tasks.arm.table import SHAPES
from vla_ros.tasks.meaning import REFUSE, colour_and_shape


def arm_meaning_of(notation: str) -> tuple[ArmIntent, ...]:
    """The steps; none for `refuse`.

    Raises:
        ValueError: the notation says nothing known; it names the part.
    """
    if notation.strip() == REFUSE:
        return ()
    return tuple(_step(part.strip()) for part in notation.split(";"))


def _step(text: str) -> ArmIntent:
    kind, _, rest = text.partition(":")
    kind = kind.strip()
    names = [name.strip() for name in rest.split(",") if name.strip()]
    if kind not in ARM_KINDS:
        known = ", ".join((*ARM_KINDS, REFUSE))
        raise ValueError(f"{text!r} begins with {kind!r}; it is one of {known}")
    wanted = (kind in ARM_OBJECT_KINDS) + (kind in PUT_KINDS)
    if len(names) != wanted:
        raise ValueError(
            f"{text!r} names {len(names)} things, and {kind} has {wanted}; write "
            "pick:red block, put_into:red block, blue bowl, or home"
        )
    things = [Named(*colour_and_shape(name.split(), SHAPES, text)) for name in names]
    return ArmIntent(kind, *things)
