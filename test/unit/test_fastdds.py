"""Which variable names the profile, from Fast DDS 2 and 3 as ROS 2 installs them."""
from __future__ import annotations

from pathlib import Path

import pytest

from vla_ros.core.fastdds import PROFILES, profile_variables


@pytest.mark.parametrize("installed, expected", [
    (["fastrtps", "fastrtps_cmake_module"], PROFILES[:1]),  # Humble, Jazzy: the new name is not read
    (["fastdds"], PROFILES[1:]),  # Kilted: the old name brings a warning
    (["rmw_cyclonedds_cpp", "fastrtps_cmake_module"], PROFILES),
])
def test_the_variable_is_the_one_that_the_installed_fast_dds_wants(tmp_path: Path, installed: list[str],
                                                                   expected: tuple[str, ...]) -> None:
    for name in installed:
        (tmp_path / "share" / name).mkdir(parents=True)
    assert profile_variables({"AMENT_PREFIX_PATH": f"{tmp_path / 'workspace'}:{tmp_path}"}) == expected


def test_both_without_ros() -> None:
    assert profile_variables({}) == profile_variables({"AMENT_PREFIX_PATH": ""}) == PROFILES
