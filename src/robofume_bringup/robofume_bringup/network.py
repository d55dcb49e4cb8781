"""Who can reach the graph over the network: nobody but this machine, unless the environment says otherwise."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
LOOPBACK, UNTOUCHED = "LOCALHOST", "SYSTEM_DEFAULT"
PROFILE = Path(__file__).parent / "templates" / "loopback.xml"
PROFILE_VARIABLES = {2: "FASTRTPS_DEFAULT_PROFILES_FILE", 3: "FASTDDS_DEFAULT_PROFILES_FILE"}
"""By the major version of Fast DDS. Version 3 reads both, warns of the first and parses the profile twice."""
FIRST_RCLPY_WITH_FAST_DDS_3 = 9  # Kilted


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
    if any(name in os.environ for name in PROFILE_VARIABLES.values()):
        return {RANGE: UNTOUCHED}
    return {RANGE: UNTOUCHED, PROFILE_VARIABLES[_fast_dds_version()]: str(PROFILE)}


def _fast_dds_version() -> int:
    """Major version of the Fast DDS that this ROS 2 brings."""
    rclpy = importlib.metadata.version("rclpy")
    return 3 if int(rclpy.partition(".")[0]) >= FIRST_RCLPY_WITH_FAST_DDS_3 else 2
