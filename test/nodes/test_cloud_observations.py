"""A point cloud from its sensor to the policy: with the image of its moment or not at all, counted and told."""
import time
from array import array

import numpy as np
import pytest
from robots import robot_file
from sensor_msgs.msg import Image, PointCloud2, PointField

from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.types import Instruction as CoreInstruction
from vla_ros.core.types import Observation as CoreObservation
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import IMAGES, LATCHED, LATEST, SENSOR
from vla_ros.nodes.inference import Inference
from vla_ros.nodes.synchronizer import Synchronizer
from vla_ros.policies import POLICIES
from vla_ros.policies.base import PolicySpec
from vla_ros_msgs.msg import ActionChunk, Instruction, Observation

MS = 1_000_000
POINTS = np.arange(12.0).reshape(4, 3)


class Cloudy:
    """Looks at a camera and at a point cloud."""

    name = "cloudy@test"
    seen: list = []

    @classmethod
    def spec(cls, options):
        return PolicySpec(("gripper",), 1, 100 * MS, {"camera": (4, 4)}, clouds={"scene": (6, 3)})

    def __init__(self, options):
        Cloudy.seen = []

    def predict(self, observation):
        Cloudy.seen.append(observation.clouds["scene"])
        return np.array([[0.2]], np.float32)

    def reset(self):
        pass


@pytest.fixture(autouse=True)
def cloudy(monkeypatch):
    monkeypatch.setitem(POLICIES, "cloudy", f"{__name__}:Cloudy")


def cloud_message(stamp, points=POINTS, names="xyz"):
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate(names)]
    data = np.ascontiguousarray(points, "<f4")
    message = PointCloud2(height=1, width=len(data), fields=fields, point_step=4 * data.shape[1], row_step=data.nbytes,
                          data=array("B", data.tobytes()))
    message.header.stamp = convert.time_message(stamp)
    return message


class Wires:
    """The synchronizer between a camera and a cloud, and whoever hears it."""

    def __init__(self, around, cloud=None, **parameters):
        clouds = {"scene": {"topic": "/points", **(cloud or {})}}
        self.around, self.node = around, around.start(Synchronizer, robot_file=robot_file(clouds=clouds), **parameters)
        self.observations = around.hear(Observation, "observation", IMAGES)
        self.frames, self.clouds = around.speaker(Image, "frame", IMAGES), around.speaker(PointCloud2, "/points", SENSOR)
        instructions = around.speaker(Instruction, "instruction/accepted", LATCHED)
        around.wait(lambda: self.frames.get_subscription_count() and instructions.get_subscription_count())
        instructions.publish(convert.instruction_message(CoreInstruction(time.time_ns(), 1, "go")))

    def hears_clouds(self):
        self.around.wait(self.clouds.get_subscription_count)
        return self

    def show(self, stamp):
        self.frames.publish(convert.image_message(np.zeros((4, 4, 3), np.uint8), stamp, "camera"))

    def seen(self):
        return convert.observation(self.around.wait(lambda: self.observations)[0])


@pytest.mark.parametrize("cloud_first", [False, True])
def test_an_observation_has_the_cloud_of_its_image_s_moment(around, cloud_first):
    wires = Wires(around, {"frame": "base", "z": 0.5}).hears_clouds()
    stamp = time.time_ns()
    steps = [lambda: wires.show(stamp), lambda: wires.clouds.publish(cloud_message(stamp - 20 * MS))]
    for step in reversed(steps) if cloud_first else steps:
        step()
        time.sleep(0.05)
    seen = wires.seen()
    assert list(seen.images) == ["camera"] and list(seen.clouds) == ["scene"] and not seen.depths
    assert seen.clouds["scene"] == pytest.approx(POINTS + (0.0, 0.0, 0.5)) and seen.clouds["scene"].dtype == np.float32
    assert seen.stamp == stamp - 20 * MS and seen.skew == 20 * MS


def test_without_its_cloud_an_image_makes_no_observation(around):
    wires = Wires(around).hears_clouds()
    stamp = time.time_ns()
    wires.show(stamp)
    around.wait(lambda: wires.node.diagnose()["waiting for"] == "no point cloud from 'scene'")
    wires.clouds.publish(cloud_message(stamp - 300 * MS))
    around.wait(lambda: "s apart" in wires.node.diagnose()["waiting for"])
    assert not wires.observations


@pytest.mark.parametrize("make, says", [
    (lambda stamp: cloud_message(stamp, names="xyw"), ": it has no field z; its fields are x, y, w"),
    (lambda stamp: cloud_message(stamp, np.full((4, 3), np.nan)), ": none of its points has three numbers"),
    (lambda stamp: cloud_message(stamp, np.zeros((0, 3))), ": none of its points has three numbers"),
    (lambda stamp: cloud_message(0), ": its stamp is 0"),
    (lambda stamp: cloud_message(stamp, np.zeros((2_000_001, 3), "f4")), ": a cloud of 2000001 points is too large"),
    (lambda stamp: cloud_message(stamp, np.zeros((2_000_001, 10), "f4"), "xyzabcdefg"), " has more than 80000000 bytes: downsample it"),
], ids=["no z", "NaN", "empty", "no stamp", "too many", "too large"])
def test_a_bad_cloud_costs_a_sentence_and_the_next_passes(around, make, says, capfd):
    wires = Wires(around).hears_clouds()
    stamp = time.time_ns()
    wires.clouds.publish(make(stamp))
    around.wait(lambda: wires.node.stats.drops["bad cloud"] == 1)
    said = []

    def told():  # it is counted first
        said.append(capfd.readouterr().err)
        return "cloud 'scene' on /points" + says in "".join(said)

    around.wait(told)
    assert not wires.observations
    later = time.time_ns()
    wires.clouds.publish(cloud_message(later))
    wires.show(later)
    assert list(wires.seen().clouds) == ["scene"]


def test_a_cloud_that_the_policy_does_not_look_at_is_neither_read_nor_waited_for(around):
    wires = Wires(around, clouds=[""])
    wires.show(time.time_ns())
    assert not wires.seen().clouds and not wires.clouds.get_subscription_count()


def test_the_policy_gets_as_many_points_as_it_asked_for_and_is_warmed_up_on_them(around, tmp_path):
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    speaker = around.speaker(Observation, "observation", IMAGES)
    path = write_policy_file(tmp_path / "policy.yaml", "cloudy", images={"scene": {"camera": "table"}})
    around.start(Inference, policy_file=path, robot_file=robot_file(clouds={"table": {"topic": "/points"}}))
    assert Cloudy.seen[0].shape == (6, 3)
    around.wait(speaker.get_subscription_count)
    speaker.publish(convert.observation_message(CoreObservation(
        time.time_ns(), CoreInstruction(time.time_ns(), 1, "go"), {"camera": np.zeros((4, 4, 3), np.uint8)},
        clouds={"table": POINTS.astype(np.float32)})))
    around.wait(lambda: chunks)
    assert Cloudy.seen[-1][:4] == pytest.approx(POINTS) and np.isnan(Cloudy.seen[-1][4:]).all()


def test_a_policy_whose_cloud_is_not_in_the_robot_file_is_refused_with_both_lists(around):
    node = around.make(Inference, policy="cloudy", robot_file=robot_file())
    node.trigger_configure()
    assert node.state == "unconfigured"
    assert "the policy wants the point cloud 'scene' of 6 x 3, and the robot file's clouds are none" in node.problem
