"""Writes .venv/local_setup.sh, for building, and .venv/ros.sh, for running what was built.

The first has the name under which colcon looks for a ROS prefix, so install/setup.sh finds it too.
"""

import shlex
import stat
import sys
from pathlib import Path

UNDERLAY = """\
# Source this in bash, zsh or sh: Python and ROS 2, without what this checkout built.
{ros}. {venv}/bin/activate
{paths}"""

WHEELS = """\
export AMENT_PREFIX_PATH={venv} CMAKE_PREFIX_PATH={venv}
# One machine's nodes talk to each other and to nobody else's, unless you said otherwise.
export ROS_AUTOMATIC_DISCOVERY_RANGE="${{ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}}"
"""

SOURCED = """\
if [ "${{ROS_DISTRO:-}}" != {mode} ]; then
    echo "this environment was made for ROS 2 {mode}:" \
        "source it first (. /opt/ros/{mode}/setup.sh)" >&2
fi
"""

ROS = """\
# Source this in bash, zsh or sh: Python, ROS 2 and what this checkout built.
. {venv}/local_setup.sh
if [ -n "${{ZSH_VERSION:-}}" ] && [ -f {root}/install/local_setup.zsh ]; then
    . {root}/install/local_setup.zsh
elif [ -n "${{BASH_VERSION:-}}" ] && [ -f {root}/install/local_setup.bash ]; then
    . {root}/install/local_setup.bash
elif [ -f {root}/install/local_setup.sh ]; then
    COLCON_CURRENT_PREFIX={root}/install
    . {root}/install/local_setup.sh
    unset COLCON_CURRENT_PREFIX
fi
"""

# colcon of the distribution starts with the distribution's Python, and so would every node that it
# installs.
COLCON = """\
#!{venv}/bin/python
import sys
from colcon_core.command import main
sys.exit(main())
"""


def main(root: Path, mode: str) -> None:
    """Write the files.

    Args:
        root: Of the checkout.
        mode: "wheels", ROS 2 from PyPI, or the name of the sourced distribution.
    """
    folder = root / ".venv"
    venv = shlex.quote(str(folder))
    wheels = mode == "wheels"
    underlay = UNDERLAY.format(
        venv=venv,
        ros="" if wheels else SOURCED.format(mode=shlex.quote(mode)),
        paths=WHEELS.format(venv=venv) if wheels else "",
    )
    # each shell's setup file of a workspace looks for the one of its own name
    for shell in ("sh", "bash", "zsh"):
        (folder / f"local_setup.{shell}").write_text(underlay, encoding="utf-8")
    (folder / "ros.sh").write_text(
        ROS.format(venv=venv, root=shlex.quote(str(root))), encoding="utf-8"
    )
    if not wheels:
        colcon = folder / "bin" / "colcon"
        colcon.write_text(COLCON.format(venv=folder), encoding="utf-8")
        executable = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
        colcon.chmod(colcon.stat().st_mode | executable)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
