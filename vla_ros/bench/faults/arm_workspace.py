"""The faulty arm's robot file with a workspace, and its URDF: a tip on its first link."""

from __future__ import annotations

import math
from pathlib import Path

from vla_ros.core.config_files import config_folder

TIP_M = 0.5  # from the first joint's axis
BACK_M = 0.05  # so far behind that axis the tip may come
# Where the first joint has taken the tip to the workspace's edge, rad.
EDGE_RAD = math.pi / 2.0 + math.asin(BACK_M / TIP_M)
JOINTS = tuple(map("joint_{}".format, range(1, 7)))
REVOLUTE = """  <joint name="{name}" type="revolute">
    <parent link="{parent}"/><child link="{child}"/><origin xyz="0 0 0.1"/><axis xyz="0 0 1"/>
    <limit lower="-2" upper="2" velocity="0.5" effort="10"/>
  </joint>
"""
END = """  <joint name="finger_joint" type="prismatic">
    <parent link="link_6"/><child link="finger"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="0.085" velocity="0.085" effort="10"/>
  </joint>
  <joint name="tip_joint" type="fixed">
    <parent link="link_1"/><child link="tip"/><origin xyz="{tip} 0 0"/>
  </joint>
</robot>
"""
WORKSPACE = """
urdf: arm.urdf
workspace:
  tool: tip
  inside:
    - {{name: front, min: [-{back}, -1.0, 0.0], max: [1.0, 1.0, 1.0]}}
"""


def write_robot_file(folder: Path) -> Path:
    """config/robots/arm.yaml with a workspace, in `folder`, beside its URDF; gives its path."""
    links = ["base_link", *map("link_{}".format, range(1, 7)), "finger", "tip"]
    lines = ['<robot name="arm">\n']
    for link in links:
        lines.append(f'  <link name="{link}"/>\n')
    for name, parent, child in zip(JOINTS, links, links[1:]):
        lines.append(REVOLUTE.format(name=name, parent=parent, child=child))
    lines.append(END.format(tip=TIP_M))
    (folder / "arm.urdf").write_text("".join(lines), encoding="utf-8")
    arm = (config_folder() / "robots" / "arm.yaml").read_text(encoding="utf-8")
    path = folder / "arm.yaml"
    path.write_text(arm + WORKSPACE.format(back=BACK_M), encoding="utf-8")
    return path
