"""A URDF gives joints, how they hang together and their limits; what cannot be true is refused in one sentence."""
import math
import time

import pytest
from tool_world import NAMES, PARSED, urdf_text

from vla_ros.core.urdf import MOST_BYTES, MOST_ELEMENTS, parse_urdf, read_urdf

LINKS = "<link name='a'/><link name='b'/>"
JOINT = "<joint name='j' type='{}'><parent link='a'/><child link='b'/>{}</joint>"
LIMIT = "<limit lower='-1' upper='1' velocity='1'/>"


def robot(*parts):
    return f"<robot name='r'>{''.join(parts)}</robot>"


def one_joint(kind="revolute", inner=LIMIT):
    return robot(LINKS, JOINT.format(kind, inner))


def test_joints_their_places_and_their_limits_are_read():
    joint = PARSED.joint("joint_5")
    assert (joint.kind, joint.parent, joint.child) == ("continuous", "link_4", "link_5")
    assert joint.xyz == (0.15, 0.01, 0.0) and joint.rpy == (0.0, -0.2, 0.1)
    assert joint.axis == pytest.approx((0.0, math.sqrt(0.5), math.sqrt(0.5)))
    assert (joint.lower, joint.upper, joint.velocity) == (-math.inf, math.inf, 2.0)  # it turns for ever
    joint = PARSED.joint("joint_6")
    assert joint.axis == (1.0, 0.0, 0.0) and (joint.lower, joint.upper) == (-2.5, 2.5)
    assert PARSED.root == "base_link"


def test_the_chain_leads_from_the_base_to_the_tool():
    assert [joint.name for joint in PARSED.chain("base_link", "tool")] == ["mounting", *NAMES, "tip"]
    assert [joint.name for joint in PARSED.chain("link_2", "link_4")] == ["joint_3", "joint_4"]
    assert PARSED.chain("link_2", "link_2") == ()


def test_what_is_left_out_has_the_format_s_own_default():
    joint, = parse_urdf(one_joint()).joints
    assert joint.xyz == joint.rpy == (0.0, 0.0, 0.0) and joint.axis == (1.0, 0.0, 0.0)
    joint, = parse_urdf(one_joint(inner="<limit upper='2' velocity='1'/>")).joints
    assert (joint.lower, joint.upper) == (0.0, 2.0)


def test_a_joint_that_mimics_another_is_noted_and_no_part_of_a_chain():
    finger = ("<link name='f'/><joint name='finger' type='prismatic'><parent link='link_6'/><child link='f'/>"
              "<limit lower='0' upper='1' velocity='1'/><mimic joint='joint_1'/></joint>")
    urdf = parse_urdf(urdf_text(more=finger))
    assert urdf.notes == ("joint 'finger' mimics 'joint_1': that is not looked at",)
    assert urdf.chain("base_link", "tool")
    with pytest.raises(ValueError, match="'finger', on the way from 'base_link' to 'f', mimics 'joint_1'"):
        urdf.chain("base_link", "f")


@pytest.mark.parametrize("text, says", [
    ("", "is no XML: no element found"), ("<robot", "is no XML: unclosed token"), ("\0", "is no XML"),
    ("<robot><link></robot>", "is no XML: mismatched tag"), ("<sdf/>", "begins with <sdf>; a URDF begins with <robot>"),
    ("<robot/>", "has 0 joints; 1 to 1000 are read"), (robot("<link name='a'/>" * 2, JOINT), "has type '{}'"),
    ("<robot xmlns:xacro='x'><xacro:include filename='f'/></robot>", "is xacro; expand it first: xacro FILE"),
    (one_joint("ball"), "joint 'j' has type 'ball'; use one of revolute"),
    (one_joint(inner=""), "joint 'j' is revolute and has no limit"),
    (one_joint("prismatic", ""), "joint 'j' is prismatic and has no limit"),
    (one_joint(inner="<limit lower='-1' upper='1'/>"), "joint 'j': its limit lacks velocity"),
    (one_joint(inner="<limit velocity='1'/>"), "lower is 0; it must be below upper, 0"),
    (one_joint(inner="<limit lower='1' upper='-1' velocity='1'/>"), "lower is 1; it must be below upper, -1"),
    (one_joint(inner="<limit lower='-1' upper='nan' velocity='1'/>"), "upper is 'nan'; give a finite number"),
    (one_joint(inner="<limit lower='-inf' upper='1' velocity='1'/>"), "lower is '-inf'; give a finite number"),
    (one_joint(inner="<limit lower='low' upper='1' velocity='1'/>"), "lower is 'low'; give a finite number"),
    (one_joint(inner="<limit lower='-1' upper='1' velocity='-1'/>"), "velocity is -1; it must be at least 0"),
    (one_joint(inner=LIMIT + "<axis xyz='0 0 0'/>"), "its axis is 0 0 0, which points nowhere"),
    (one_joint(inner=LIMIT + "<axis xyz='0 1'/>"), "axis is '0 1'; give three numbers"),
    (one_joint(inner=LIMIT + "<axis xyz='1e300 1e300 0'/>"), "which points nowhere"),
    (one_joint(inner=LIMIT + "<origin xyz='0 0 nan'/>"), "origin xyz is 'nan'; give a finite number"),
    (one_joint(inner=LIMIT + "<origin rpy='0 0 0 1'/>"), "origin rpy is '0 0 0 1'; give three numbers"),
    (robot(LINKS, "<joint name='j' type='fixed'><parent link='a'/></joint>"), "joint 'j' lacks its child link"),
    (robot(LINKS, "<joint name='j' type='fixed'><child link='a'/></joint>"), "joint 'j' lacks its parent link"),
    (robot("<link name='a'/>", JOINT.format("fixed", "")), "joint 'j' names link 'b', which is not there"),
    (robot(LINKS, LINKS, JOINT.format("fixed", "")), "link 'a' is there twice"),
    (robot(LINKS, "<link name='c'/>", JOINT.format("fixed", "")), "links a, c hang on no joint"),
    (robot("<link/>", JOINT.format("fixed", "")), "a link has name ''; give 1 to 200"),
    (robot(LINKS, JOINT.format("fixed", ""), "<joint name='k' type='fixed'><parent link='a'/><child link='b'/></joint>"),
     "has a loop: link 'b' hangs on joints 'j' and 'k'"),
    (robot(LINKS, JOINT.format("fixed", "") * 2), "joint 'j' is there twice"),
    (robot(LINKS, "<link name='c'/>", JOINT.format("fixed", "").replace("'a'", "'c'"),
           "<joint name='k' type='fixed'><parent link='b'/><child link='c'/></joint>"), "has a loop: link 'b' hangs on itself"),
    (robot("<a>" * 60 + "</a>" * 60), "is nested deeper than 50 levels"),
    (robot("<a/>" * MOST_ELEMENTS), f"has more than {MOST_ELEMENTS} elements"),
    (robot(LINKS, *("<joint/>" for _ in range(1001))), "has 1001 joints; 1 to 1000 are read"),
    ("x" * (MOST_BYTES + 1), f"has more than {MOST_BYTES} bytes"),
])
def test_what_is_no_robot_is_refused_in_one_sentence(text, says):
    begin = time.monotonic()
    with pytest.raises(ValueError) as error:
        parse_urdf(text)
    assert says in str(error.value) and str(error.value).startswith("the URDF") and "\n" not in str(error.value)
    assert time.monotonic() - begin < 5.0


@pytest.mark.parametrize("head", [
    "<!DOCTYPE r [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>",
    "<!DOCTYPE r [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>", "<!DOCTYPE r SYSTEM 'http://127.0.0.1/r.dtd'>"])
def test_a_document_that_names_others_or_multiplies_itself_is_refused_where_it_begins(head):
    with pytest.raises(ValueError, match="has a document type"):
        parse_urdf(head + robot("<link name='&b;'/>"))


def test_a_text_of_any_encoding_that_xml_knows_is_read():
    assert parse_urdf(("<?xml version='1.0' encoding='utf-16'?>" + one_joint()).encode("utf-16")).root == "a"
    for encoding, says in (("klingon", "unknown encoding"), ("shift_jis", "multi-byte encodings are not supported")):
        with pytest.raises(ValueError, match=f"the URDF is no XML: {says}"):
            parse_urdf(f"<?xml version='1.0' encoding='{encoding}'?>{one_joint()}".encode())


@pytest.mark.parametrize("base, tool, says", [
    ("base_link", "hand", "has no link 'hand'; its links are base_link, mount"),
    ("world", "tool", "has no link 'world'"), ("tool", "link_1", "link 'link_1' does not hang on 'tool'")])
def test_a_chain_that_is_none_is_refused(base, tool, says):
    with pytest.raises(ValueError, match=says):
        PARSED.chain(base, tool)


@pytest.mark.parametrize("kind", ["floating", "planar"])
def test_a_joint_that_moves_by_more_than_one_number_is_followed_nowhere(kind):
    urdf = parse_urdf(one_joint(kind, ""))
    with pytest.raises(ValueError, match=f"joint 'j', on the way from 'a' to 'b', is {kind}; only revolute"):
        urdf.chain("a", "b")


def test_a_joint_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="the URDF has no joint 'elbow'; those that move are joint_1, joint_2"):
        PARSED.joint("elbow")


@pytest.mark.parametrize("make, says", [
    (lambda path: None, "does not exist"), (lambda path: path.mkdir(), "is a folder"),
    (lambda path: path.write_bytes(b" " * (MOST_BYTES + 1)), "has more than"),
    (lambda path: path.write_bytes(b"\x89PNG"), "is no XML")])
def test_a_file_that_is_none_is_named_in_the_sentence(make, says, tmp_path):
    path = tmp_path / "arm.urdf"
    make(path)
    with pytest.raises(ValueError, match=f"URDF '.*arm.urdf' {says}"):
        read_urdf(path)
