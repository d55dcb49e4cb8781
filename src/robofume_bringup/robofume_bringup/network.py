"""Who can reach the graph over the network: nobody but this machine, unless the environment says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
LOOPBACK = "LOCALHOST"
PROFILE = Path(__file__).parent / "templates" / "loopback.xml"
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Of Fast DDS 2 and 3."""


def network_environment() -> dict[str, str]:
    """Environment that keeps a graph on this machine, or what the person's own environment asks for.

    `ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET` opens it to the network. The range alone decides who is looked for, and
    leaves the sockets open to everybody; the profile binds them to the loopback interface. A profile of the person's
    own stands.
    """
    chosen = os.environ.get(RANGE, LOOPBACK)
    environment = {RANGE: chosen}
    if chosen == LOOPBACK:
        environment |= {name: os.environ.get(name, str(PROFILE)) for name in PROFILE_VARIABLES}
        if os.environ.get("ROS_DISTRO") == "humble":  # which does not know the range
            environment["ROS_LOCALHOST_ONLY"] = os.environ.get("ROS_LOCALHOST_ONLY", "1")
    return environment
