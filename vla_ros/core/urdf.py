"""A robot's joints, from its URDF: how they hang together, where they turn, and how far they may.

Links' shapes and masses are passed over. Angles in rad, lengths in m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from vla_ros.core.plain_file import read_plain_file
from vla_ros.core.shown import shown

# A humanoid's URDF has some 100 kB, 2,000 elements and 100 joints; what is far larger is no robot,
# and would keep the gate busy while it is configured.
MOST_BYTES = 5 << 20
MOST_ELEMENTS = 50_000
MOST_JOINTS = 1000
DEEPEST = 50  # levels of elements
KINDS = ("revolute", "continuous", "prismatic", "fixed", "floating", "planar")
MOVING = ("revolute", "continuous", "prismatic")  # by one number each
LIMITED = ("revolute", "prismatic")

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class UrdfJoint:
    """One joint, with the place of its child's frame in its parent's.

    Attributes:
        kind: one of KINDS.
        parent, child: the links that it connects.
        xyz, rpy: where the child's frame is while the joint is at zero, m, and how it is turned:
            about the parent's x, y and z axis, in this order, rad.
        axis: what it turns about or slides along, in the child's frame; of length 1.
        lower, upper: its limits, rad or m; infinite where it turns for ever.
        velocity: at most, rad/s or m/s; infinite where nothing is said.
        mimics: the joint that it follows; empty: none.
    """

    name: str
    kind: str
    parent: str
    child: str
    xyz: Vector = (0.0, 0.0, 0.0)
    rpy: Vector = (0.0, 0.0, 0.0)
    axis: Vector = (1.0, 0.0, 0.0)
    lower: float = -math.inf
    upper: float = math.inf
    velocity: float = math.inf
    mimics: str = ""


@dataclass(frozen=True)
class Urdf:
    """What is used of a URDF: a tree of joints.

    Attributes:
        source: where it was read from, for sentences about it.
        root: the link that hangs on no joint.
        notes: what was passed over, a sentence each.
    """

    source: str
    root: str
    joints: tuple[UrdfJoint, ...]
    notes: tuple[str, ...] = ()

    def joint(self, name: str) -> UrdfJoint:
        """The joint of that name. Raises ValueError where there is none."""
        for joint in self.joints:
            if joint.name == name:
                return joint
        moving = [joint.name for joint in self.joints if joint.kind in MOVING]
        raise ValueError(
            f"{self.source} has no joint {shown(name)}; those that move are "
            f"{_listed(moving) or 'none'}"
        )

    def chain(self, base: str, tool: str) -> tuple[UrdfJoint, ...]:
        """The joints from one link to another, in this order.

        Raises:
            ValueError: there is no such link, the tool does not hang on the base, or a joint
                between them does not move by a number of its own.
        """
        above = {joint.child: joint for joint in self.joints}
        for link in (base, tool):
            if link != self.root and link not in above:
                raise ValueError(
                    f"{self.source} has no link {shown(link)}; its links are "
                    f"{_listed([self.root, *above])}"
                )
        # A tree has one way between two links, and it leads up from the lower one.
        chain: list[UrdfJoint] = []  # from the tool back: each link hangs on one joint
        link = tool
        while link != base:
            if link == self.root:
                raise ValueError(
                    f"{self.source}: link '{tool}' does not hang on '{base}'; name a link on the "
                    f"way from '{self.root}' to it as the base frame"
                )
            chain.append(above[link])
            link = above[link].parent
        # Forward kinematics of what has several numbers, or none of its own, would be wrong: the
        # gate would watch a place where the tool is not.
        for joint in chain:
            if joint.kind not in (*MOVING, "fixed"):
                raise ValueError(
                    f"{self.source}: joint '{joint.name}', on the way from '{base}' to '{tool}', "
                    f"is {joint.kind}; only {', '.join(MOVING)} and fixed ones are followed"
                )
            if joint.mimics:
                raise ValueError(
                    f"{self.source}: joint '{joint.name}', on the way from '{base}' to '{tool}', "
                    f"mimics '{joint.mimics}', which is not followed; choose a link before it"
                )
        return tuple(reversed(chain))


def read_urdf(path: str | Path) -> Urdf:
    """Reads a URDF file.

    Raises:
        ValueError: a sentence with the file and what is wrong in it.
    """
    name = f"URDF {shown(str(path), 200)}"
    return parse_urdf(read_plain_file(path, name, MOST_BYTES), name)


def parse_urdf(text: str | bytes, source: str = "the URDF") -> Urdf:
    """The joints in a URDF.

    Args:
        text: all of it.
        source: what it is called in sentences about it.

    Raises:
        ValueError: it is no URDF, has a loop, or lacks a limit.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"{source} has more than {MOST_BYTES} bytes, the most that is read")
    root = _elements(text, source)
    if root.tag != "robot":
        raise ValueError(f"{source} begins with <{root.tag[:40]}>; a URDF begins with <robot>")
    # Its macros are parsed as unknown elements, and half of the robot would be missing.
    for element in root.iter():
        if "xacro" in element.tag:
            raise ValueError(f"{source} is xacro; expand it first: xacro FILE > robot.urdf")
    links = [_name(element, "a link", source) for element in root.findall("link")]
    elements = root.findall("joint")
    if not elements or len(elements) > MOST_JOINTS:
        raise ValueError(f"{source} has {len(elements)} joints; 1 to {MOST_JOINTS} are read")
    joints = [_joint(element, source) for element in elements]
    _check_names(links, "link", source)
    _check_names([joint.name for joint in joints], "joint", source)
    notes: list[str] = []
    for joint in joints:
        if joint.mimics:
            notes.append(f"joint '{joint.name}' mimics '{joint.mimics}': that is not looked at")
    return Urdf(source, _root(links, joints, source), tuple(joints), tuple(notes))


# -- XML within bounds -----------------------------------------------------------------
def _elements(text: str | bytes, source: str) -> Element:
    """The elements of an XML text.

    A document type is refused where it begins: it alone can name other files, or define a few
    bytes that mean gigabytes.
    """
    # ElementTree's own parser cannot refuse in the middle of a file; expat, under it, can.
    builder = TreeBuilder()
    count = 0
    depth = 0

    def begin(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count, depth
        count += 1
        depth += 1
        if count > MOST_ELEMENTS:
            raise ValueError(f"{source} has more than {MOST_ELEMENTS} elements")
        if depth > DEEPEST:
            raise ValueError(f"{source} is nested deeper than {DEEPEST} levels")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*declaration: object) -> NoReturn:
        raise ValueError(f"{source} has a document type (<!DOCTYPE ...>), which is not read")

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if str(error).startswith(source):  # from above; expat's own know no source
            raise
        raise ValueError(f"{source} is no XML: {error}") from None
    return builder.close()


# -- one joint -------------------------------------------------------------------------
def _joint(element: Element, source: str) -> UrdfJoint:
    name = _name(element, "a joint", source)
    where = f"{source}: joint '{name}'"
    kind = element.get("type", "")
    if kind not in KINDS:
        raise ValueError(f"{where} has type {shown(kind)}; use one of {', '.join(KINDS)}")
    parent = element.find("parent")
    child = element.find("child")
    if parent is None or child is None:
        raise ValueError(f"{where} lacks its {'parent' if parent is None else 'child'} link")
    origin = element.find("origin")
    xyz = (0.0, 0.0, 0.0)
    rpy = (0.0, 0.0, 0.0)
    if origin is not None:
        xyz = _vector(origin.get("xyz", "0 0 0"), f"{where}: origin xyz")
        rpy = _vector(origin.get("rpy", "0 0 0"), f"{where}: origin rpy")
    mimic = element.find("mimic")
    lower, upper, velocity = _limits(element.find("limit"), kind, where)
    return UrdfJoint(
        name,
        kind,
        parent.get("link", ""),
        child.get("link", ""),
        xyz,
        rpy,
        _axis(element.find("axis"), kind, where),
        lower,
        upper,
        velocity,
        "" if mimic is None else mimic.get("joint", ""),
    )


def _limits(limit: Element | None, kind: str, where: str) -> tuple[float, float, float]:
    """Lower and upper limit and velocity. What is no number, or not there, is no limit."""
    if limit is None:
        if kind in LIMITED:
            raise ValueError(f"{where} is {kind} and has no limit; give <limit lower upper ...>")
        return -math.inf, math.inf, math.inf
    velocity = math.inf
    if "velocity" in limit.attrib:
        velocity = _number(limit.attrib["velocity"], f"{where}: velocity")
    elif kind in LIMITED:
        raise ValueError(f"{where}: its limit lacks velocity")
    if velocity < 0.0:
        raise ValueError(f"{where}: velocity is {velocity:g}; it must be at least 0")
    if kind not in LIMITED:
        return -math.inf, math.inf, velocity
    # The format's own default for both is 0.
    lower = _number(limit.get("lower", "0"), f"{where}: lower")
    upper = _number(limit.get("upper", "0"), f"{where}: upper")
    if lower >= upper:
        raise ValueError(f"{where}: lower is {lower:g}; it must be below upper, {upper:g}")
    return lower, upper, velocity


def _axis(axis: Element | None, kind: str, where: str) -> Vector:
    """As a unit vector."""
    if axis is None or kind not in MOVING:
        return (1.0, 0.0, 0.0)
    x, y, z = _vector(axis.get("xyz", "1 0 0"), f"{where}: axis")
    length = math.sqrt(x * x + y * y + z * z)
    if not (length > 1e-6 and math.isfinite(length)):
        raise ValueError(f"{where}: its axis is {x:g} {y:g} {z:g}, which points nowhere")
    return x / length, y / length, z / length


def _vector(text: str, where: str) -> Vector:
    parts = text.split()
    if len(parts) != 3:
        raise ValueError(f"{where} is {shown(text)}; give three numbers")
    return _number(parts[0], where), _number(parts[1], where), _number(parts[2], where)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where} is {shown(text)}; give a finite number")
    return value


# -- the tree --------------------------------------------------------------------------
def _name(element: Element, what: str, source: str) -> str:
    name = element.get("name", "")
    if not name or len(name) > 200:
        raise ValueError(f"{source}: {what} has name {shown(name)}; give 1 to 200 characters")
    return name


def _check_names(names: list[str], what: str, source: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{source}: {what} '{name}' is there twice; once is right")
        seen.add(name)


def _root(links: list[str], joints: list[UrdfJoint], source: str) -> str:
    """The link that hangs on no joint. Raises ValueError where the joints are no tree."""
    known = set(links)
    above: dict[str, UrdfJoint] = {}
    for joint in joints:
        # A name with a typing error would otherwise be a root of its own.
        for link in (joint.parent, joint.child):
            if link not in known:
                raise ValueError(
                    f"{source}: joint '{joint.name}' names link {shown(link)}, which is not there"
                )
        other = above.setdefault(joint.child, joint)
        if other is not joint:
            raise ValueError(
                f"{source} has a loop: link '{joint.child}' hangs on joints '{other.name}' and "
                f"'{joint.name}'; one is right"
            )
    roots = [link for link in links if link not in above]
    if len(roots) > 1:
        raise ValueError(f"{source}: links {_listed(roots)} hang on no joint; one is right")
    # Each link hangs on one joint at most: what never comes to the root goes round in a circle.
    whole = set(roots)
    for link in links:
        way: list[str] = []
        while link not in whole and link not in way:
            way.append(link)
            link = above[link].parent
        if link in way:
            raise ValueError(f"{source} has a loop: link '{link}' hangs on itself")
        whole.update(way)
    return roots[0]


def _listed(names: list[str]) -> str:
    """At most ten of them."""
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
