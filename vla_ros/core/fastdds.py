"""What differs between Fast DDS 2 (Humble, Jazzy) and 3 (Kilted): how its profile is named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# The environment's variable of version 2, and that of version 3.
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def profile_variables(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Those of PROFILES that the installed Fast DDS wants.

    2 does not read the new one, and 3 warns of the old one.

    Both where no Fast DDS is found among the prefixes of AMENT_PREFIX_PATH.
    """
    for prefix in filter(None, environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)):
        for folder, name in zip(("fastrtps", "fastdds"), PROFILES):
            if (Path(prefix) / "share" / folder).is_dir():
                return (name,)
    return PROFILES
