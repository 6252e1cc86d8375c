"""The notation of tasks/meaning.py for an arm at a table.

pick:red block                      one step
put_into:red block, blue bowl       the thing, a comma, and where it is put
pick:cup ; home                     one after another; a cup of any colour
refuse                              nothing that the robot may do
"""

from __future__ import annotations

from vla_ros.tasks.arm.intent import ARM_KINDS, ARM_OBJECT_KINDS, PUT_KINDS, ArmIntent, Named
from vla_ros.tasks.arm.table import SHAPES
from vla_ros.tasks.meaning import REFUSE
from vla_ros.tasks.objects import COLOURS


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
    things = [_named(name, text) for name in names]
    return ArmIntent(kind, *things)


def _named(name: str, text: str) -> Named:
    colour = None
    shape = None
    for word in name.split():
        if word in COLOURS:
            colour = word
        elif word in SHAPES:
            shape = word
        elif word != "object":
            raise ValueError(
                f"{text!r} names {word!r}, which is no colour ({', '.join(COLOURS)}) and no shape "
                f"({', '.join(SHAPES)})"
            )
    return Named(colour, shape)
