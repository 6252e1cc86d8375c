"""Point clouds for a policy: the robot file's `clouds`, what a policy asks for, and the images that they belong to."""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from vla_ros.core.pairing import Pairing, cloud_stream
from vla_ros.core.policy_file import ImageSource
from vla_ros.core.robot import Robot, parse_robot
from vla_ros.core.robot_clouds import MAX_CLOUDS, Cloud, chosen_clouds, parse_clouds, sampled
from vla_ros.core.types import MOST_CLOUD_POINTS, Frame, Instruction, Observation
from vla_ros.nodes.suite import planned_nodes
from vla_ros.policies import POLICIES
from vla_ros.policies.base import PolicySpec
from vla_ros.policies.views import Views

MS = 1_000_000
SIM = Path(__file__).parents[2] / "config" / "robots" / "sim.yaml"
POINTS = np.arange(30, dtype=np.float32).reshape(10, 3)


def robot(**clouds: Any) -> Robot:
    return parse_robot({**yaml.safe_load(SIM.read_text(encoding="utf-8")), "clouds": clouds})


def spec(clouds: Any) -> PolicySpec:
    return PolicySpec(("gripper",), 1, 100 * MS, {"camera": (8, 12)}, clouds=clouds)


# -- the robot file
def test_a_cloud_has_its_topic_and_defaults() -> None:
    assert robot(scene={"topic": "/points"}).clouds == (Cloud("scene", "/points"),)
    assert (Cloud.points, Cloud.color, Cloud.frame, Cloud("a", "/b").columns) == (4096, False, "sensor", 3)
    assert Cloud("a", "/b", color=True).columns == 6


@pytest.mark.parametrize("fields, sentence", [
    ({}, "cloud 'scene' lacks topic"),
    ({"topic": "/a b"}, "cloud 'scene': topic is '/a b'; give the name of a ROS topic"),
    ({"topic": "/p", "points": 0}, f"points is 0; give a whole number from 1 to {MOST_CLOUD_POINTS}"),
    ({"topic": "/p", "points": MOST_CLOUD_POINTS + 1}, "points is 65537"),
    ({"topic": "/p", "points": True}, "points is True"),
    ({"topic": "/p", "points": 10.0}, "points is 10.0"),
    ({"topic": "/p", "color": "yes"}, "color is 'yes'; give true or false"),
    ({"topic": "/p", "frame": "map"}, "frame is 'map'; use one of sensor, base"),
    ({"topic": "/p", "x": 0.1}, "x is for frame: base, and this is 'sensor'"),
    ({"topic": "/p", "frame": "base", "yaw": math.nan}, "yaw is nan; give a finite number"),
    ({"topic": "/p", "size": [1, 2]}, "cloud 'scene' has unknown size"),
    ("/p", "cloud 'scene' is '/p'; give a mapping"),
])
def test_a_cloud_that_cannot_be_is_refused(fields: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("[", r"\[")):
        parse_clouds({"scene": fields})


@pytest.mark.parametrize("points", [1, MOST_CLOUD_POINTS])
def test_the_least_and_the_most_points_are_taken(points: int) -> None:
    assert parse_clouds({"scene": {"topic": "/p", "points": points}})[0].points == points


def test_names_and_their_number_are_bounded() -> None:
    for name in ("a/b", "", "1st", "x" * 41, 3):
        with pytest.raises(ValueError, match="clouds has the name"):
            parse_clouds({name: {"topic": "/p"}})
    with pytest.raises(ValueError, match="clouds has 5 entries; at most 4"):
        parse_clouds({f"c{i}": {"topic": f"/p{i}"} for i in range(MAX_CLOUDS + 1)})


def test_points_are_in_the_frame_that_the_file_asks_for() -> None:
    points = np.array([[1.0, 0.0, 0.0, 0.1, 0.2, 0.3]], np.float32)
    assert Cloud("a", "/b").placed(points) is points
    turned = Cloud("a", "/b", frame="base", x=1.0, z=0.5, yaw=math.pi / 2).placed(points)
    assert turned == pytest.approx(np.array([[1.0, 1.0, 0.5, 0.1, 0.2, 0.3]]), abs=1e-6) and turned.dtype == np.float32
    hanging = Cloud("a", "/b", frame="base", roll=math.pi / 2).placed(np.array([[0.0, 1.0, 0.0]], np.float32))
    assert hanging == pytest.approx(np.array([[0.0, 0.0, 1.0]]), abs=1e-6)  # y turned up to z


def test_the_clouds_that_are_read_are_all_or_those_that_are_named() -> None:
    clouds = parse_clouds({"a": {"topic": "/a"}, "b": {"topic": "/b"}})
    assert chosen_clouds(clouds, ["all"], "all") == list(clouds)
    assert [cloud.name for cloud in chosen_clouds(clouds, ["b"], "all")] == ["b"]
    assert chosen_clouds(clouds, [""], "all") == []
    with pytest.raises(ValueError, match="parameter 'clouds' holds 'c'; the robot file has a, b"):
        chosen_clouds(clouds, ["c"], "all")


# -- what a policy gets
@pytest.mark.parametrize("count", [1, 9, 10, 11, 40])
def test_a_policy_gets_exactly_as_many_rows_and_what_is_missing_is_nan(count: int) -> None:
    whole = sampled(POINTS, count, 3)
    assert whole.shape == (count, 3) and whole.dtype == np.float32
    measured = np.isfinite(whole).all(axis=1)
    assert measured.sum() == min(count, 10) and measured[: min(count, 10)].all()
    assert (whole == sampled(POINTS, count, 3))[measured].all()


def test_of_more_a_share_is_taken_from_all_of_them_and_colours_may_be_left() -> None:
    assert sampled(POINTS, 5, 3)[:, 0].tolist() == [0.0, 6.0, 12.0, 18.0, 24.0]
    assert sampled(np.ones((4, 6), np.float32), 2, 3).shape == (2, 3)


def test_a_spec_names_its_clouds_and_is_warmed_up_on_them() -> None:
    blank = spec({"scene": (16, 6), "hand": [4, 3]}).blank().clouds
    assert {name: cloud.shape for name, cloud in blank.items()} == {"scene": (16, 6), "hand": (4, 3)}
    assert all(cloud.dtype == np.float32 and np.isfinite(cloud).all() for cloud in blank.values())


@pytest.mark.parametrize("clouds", [(8, 3), {"scene": 8}, {"scene": (0, 3)}, {"scene": (8, 4)}, {"scene": (8.0, 3)}, {"scene": (True, 3)},
                                    {"scene": (MOST_CLOUD_POINTS + 1, 3)}, {"scene": "83"}])
def test_a_spec_s_cloud_that_is_none_is_refused(clouds: Any) -> None:
    with pytest.raises(ValueError, match="the policy's cloud"):
        spec(clouds)


def test_a_cloud_that_is_not_there_or_smaller_is_refused_with_both_lists() -> None:
    views = Views(spec({"scene": (1024, 6)}), {})
    views.check(["camera"], [], robot(scene={"topic": "/p", "points": 1024, "color": True}).clouds)
    views.check(["camera"])  # not the business of who asks
    for clouds, listed in (({}, "none"), ({"scene": {"topic": "/p", "points": 1023, "color": True}}, "scene of 1023 x 6"),
                           ({"scene": {"topic": "/p"}}, "scene of 4096 x 3"), ({"top": {"topic": "/p", "color": True}}, "top of 4096 x 6")):
        with pytest.raises(ValueError, match=f"wants the point cloud 'scene' of 1024 x 6, and the robot file's clouds are {listed}; give it"):
            views.check(["camera"], [], robot(**clouds).clouds)


def test_the_policy_file_names_another_cloud() -> None:
    views = Views(spec({"scene": (4, 3)}), {"scene": ImageSource("table")})
    assert views.clouds == {"scene": "table"}
    seen = Observation(1, Instruction(1, 1, "go"), {"camera": np.zeros((8, 12, 3), np.uint8)}, clouds={"table": POINTS})
    assert views.fit(seen).clouds["scene"][:, 0].tolist() == [0.0, 6.0, 15.0, 21.0]
    with pytest.raises(ValueError, match="images.scene is a point cloud, which has no size or resize"):
        Views(spec({"scene": (4, 3)}), {"scene": ImageSource("table", (8, 8))})


@pytest.mark.parametrize("clouds", [{}, {"scene": POINTS}])
def test_an_observation_without_the_cloud_or_its_colours_is_refused(clouds: Any) -> None:
    seen = Observation(1, Instruction(1, 1, "go"), {"camera": np.zeros((8, 12, 3), np.uint8)}, clouds=clouds)
    with pytest.raises(ValueError, match="the policy wants the point cloud 'scene' of 4 x 6, and the observation has "):
        Views(spec({"scene": (4, 6)}), {}).fit(seen)


def test_a_fallback_looks_at_no_other_cloud() -> None:
    policy = Views(spec({"scene": (4, 3)}), {})
    assert Views(spec({}), {}).within(policy) and Views(spec({"scene": (2, 3)}), {}).within(policy)
    assert not policy.within(Views(spec({}), {}))


# -- paired by time
def pairing(**options: Any) -> Pairing:
    pairing = Pairing(["camera"], "latched", 100 * MS, 10**12, clouds=["scene"], **options)
    pairing.add_instruction(Instruction(10**9, 1, "go"))
    return pairing


def image(stamp: int) -> Frame:
    return Frame(stamp, "camera", np.zeros((2, 2, 3), np.uint8))


def cloud(stamp: int, value: float = 1.0) -> Frame:
    return Frame(stamp, cloud_stream("scene"), np.full((3, 3), value, np.float32))


@pytest.mark.parametrize("apart, paired", [(0, True), (99, True), (100, True), (101, False)])
def test_a_cloud_is_paired_within_max_skew_or_not_at_all(apart: int, paired: bool) -> None:
    pairs = pairing()
    now = 10**10
    pairs.add_frame(image(now), now)
    assert pairs.read(now) is None and pairs.waiting_for == "no point cloud from 'scene'"
    pairs.add_frame(cloud(now - apart * MS), now)
    seen = pairs.read(now)
    assert (seen is not None) == paired
    if seen:
        assert list(seen.images) == ["camera"] and list(seen.clouds) == ["scene"] and not seen.depths
        assert seen.stamp == now - apart * MS and seen.skew == apart * MS  # as old as the older one


def test_each_image_gets_the_cloud_nearest_to_it_and_each_is_used_once() -> None:
    pairs = pairing()
    now = 10**10
    for step in range(3):
        pairs.add_frame(cloud(now + 50 * step * MS, step), now + 100 * MS)
    pairs.add_frame(image(now + 52 * MS), now + 100 * MS)
    seen = pairs.read(now + 100 * MS)
    assert seen is not None and seen.clouds["scene"][0, 0] == 1.0
    assert pairs.read(now + 100 * MS) is None


# -- who is told
class Cloudy:
    """Looks at a camera and a cloud."""

    name = "cloudy@test"

    @classmethod
    def spec(cls, options: Any) -> PolicySpec:
        return spec(options.get("clouds", {}))

    def __init__(self, options: Any) -> None: ...

    def predict(self, observation: Observation) -> np.ndarray:
        return np.zeros((1, 1))

    def reset(self) -> None: ...


def test_the_synchronizer_reads_the_clouds_that_the_policy_looks_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "cloudy", f"{__name__}:Cloudy")
    data = {**yaml.safe_load(SIM.read_text(encoding="utf-8")), "clouds": {"a": {"topic": "/a"}, "b": {"topic": "/b"}}}
    robot_file = tmp_path / "robot.yaml"
    robot_file.write_text(yaml.safe_dump(data), encoding="utf-8")
    for wanted, told in (({"b": [8, 3]}, ["b"]), ({}, [""])):
        policy_file = tmp_path / "policy.yaml"
        policy_file.write_text(yaml.safe_dump({"policy": "cloudy", "options": {"clouds": wanted}}), encoding="utf-8")
        nodes = {node.name: node for node in planned_nodes(str(robot_file), policy_file=str(policy_file))}
        assert nodes["synchronizer"].parameters["clouds"] == told
        assert "clouds" not in nodes["inference"].parameters
    assert "clouds" not in {node.name: node for node in planned_nodes(str(SIM), "constant")}["synchronizer"].parameters
