"""Who can reach the graph over the network: nobody but this machine, unless the environment says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
LOOPBACK, UNTOUCHED = "LOCALHOST", "SYSTEM_DEFAULT"
PROFILE = Path(__file__).parent / "templates" / "loopback.xml"
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Of Fast DDS 2 and 3."""


def network_environment() -> dict[str, str]:
    """Environment that keeps a graph on this machine, or what the person's own environment asks for.

    `ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET` opens it to the network. With the range LOCALHOST alone, rmw_fastrtps looks
    for nobody outside but leaves its sockets open to everybody, and adds shared memory that stays behind when a process
    is killed. A profile for Fast DDS has neither, where the range leaves it alone (SYSTEM_DEFAULT). A profile of the
    person's own stands, and so does the range with another middleware.
    """
    chosen = os.environ.get(RANGE, LOOPBACK)
    if chosen not in (LOOPBACK, UNTOUCHED):
        return {RANGE: chosen}
    if "fastrtps" not in os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"):
        return {RANGE: LOOPBACK, **({"ROS_LOCALHOST_ONLY": "1"} if os.environ.get("ROS_DISTRO") == "humble" else {})}
    profiles = {name: os.environ.get(name, str(PROFILE)) for name in PROFILE_VARIABLES}
    return {RANGE: UNTOUCHED, **profiles}
