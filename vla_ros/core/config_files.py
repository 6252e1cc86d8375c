"""Where the files of config/ are."""

from __future__ import annotations

from pathlib import Path


def config_folder() -> Path:
    """share/vla_ros/config of the installed package, else the source tree's."""
    try:
        from ament_index_python.packages import get_package_share_directory

        installed = Path(get_package_share_directory("vla_ros")) / "config"
        if installed.is_dir():
            return installed
    except (ImportError, LookupError):
        pass  # no ROS, or not installed: the source tree is there
    return Path(__file__).resolve().parents[2] / "config"
