"""The doctor's answers, from what was found on a machine."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

from robofume_bringup import doctor

EVERYTHING = doctor.Machine(
    python="3.10.12",
    system="Linux x86_64",
    ros_distribution="humble",
    ros_from="/opt/ros/humble",
    distributions=dict.fromkeys(doctor.DISTRIBUTIONS, "1.0"),
    modules=frozenset(doctor.MODULES),
    programs=frozenset(doctor.PROGRAMS),
    ros_packages=frozenset({"interbotix_xsarm_sim", "interbotix_xs_sdk"}),
    graphics_backend="egl",
    accelerator=None,
    stays_awake=True,
    bfloat16=True,
    graph_robots=frozenset({"mujoco", "gazebo", "widowx"}),
)


def usable(machine: doctor.Machine) -> set[str]:
    return {robot.name for robot in doctor.robots(machine) if robot.usable}


def test_every_robot_is_ready_where_everything_is_installed():
    assert usable(EVERYTHING) == {"mujoco", "gazebo", "widowx"}


def test_a_processor_without_bfloat16_is_told():
    assert "float32" not in doctor.describe(EVERYTHING)
    assert "in float32, twice as long" in doctor.describe(dataclasses.replace(EVERYTHING, bfloat16=False))


def test_the_wheels_alone_run_the_simulation_only():
    machine = dataclasses.replace(
        EVERYTHING,
        ros_distribution="jazzy",
        ros_from=doctor.WHEELS,
        modules=frozenset({"rclpy", "robofume_interfaces"}),
        programs=frozenset(),
        ros_packages=frozenset(),
    )
    assert usable(machine) == {"mujoco"}
    text = doctor.describe(machine)
    assert "missing: gazebo_msgs: `sudo apt-get install ros-humble-gazebo-msgs`" in text
    assert "robofume up" in text


def test_each_missing_thing_takes_its_robot_away():
    for change, lost in [
        ({"graphics_backend": None}, {"mujoco"}),
        ({"distributions": {}}, {"mujoco"}),
        ({"modules": EVERYTHING.modules - {"rclpy"}}, {"mujoco", "gazebo", "widowx"}),
        ({"modules": EVERYTHING.modules - {"gazebo_msgs"}}, {"gazebo"}),
        ({"modules": EVERYTHING.modules - {"interbotix_xs_modules"}}, {"widowx"}),
        ({"graph_robots": frozenset({"mujoco"})}, {"gazebo", "widowx"}),
        ({"programs": EVERYTHING.programs - {"gzserver"}}, {"gazebo"}),
        ({"ros_packages": frozenset()}, {"gazebo", "widowx"}),
    ]:
        machine = dataclasses.replace(EVERYTHING, **change)
        assert usable(EVERYTHING) - usable(machine) == lost, change


def test_nothing_found_is_said_with_what_to_do():
    nothing: frozenset[str] = frozenset()
    machine = doctor.Machine(
        "3.11.7", "Linux x86_64", None, None, {}, nothing, nothing, nothing, None, None, False, False, nothing
    )
    text = doctor.describe(machine)
    assert usable(machine) == set()
    assert "ROS 2          not found" in text
    assert "libegl1" in text
    assert "let this user write /dev/cpu_dma_latency" in text
    assert "torch          not installed" in text


def test_the_first_back_end_that_draws_is_chosen():
    assert doctor.first_graphics_backend(lambda name: name == "osmesa") == "osmesa"
    assert doctor.first_graphics_backend(lambda name: True) == "egl"
    assert doctor.first_graphics_backend(lambda name: False) is None


def test_a_back_end_that_cannot_draw_is_told_from_one_that_can():
    assert not doctor.draws("no_such_back_end")
    assert doctor.draws(os.environ.get("MUJOCO_GL", "egl"))


def test_a_sourced_installation_is_told_from_the_wheels(tmp_path):
    share = tmp_path / "share"
    (share / "rclpy").mkdir(parents=True)
    (share / "rclpy" / "package.xml").touch()
    index = share / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "interbotix_xs_sdk").touch()
    machine = doctor.examine({"AMENT_PREFIX_PATH": str(tmp_path), "ROS_DISTRO": "humble"})
    assert (machine.ros_distribution, machine.ros_from) == ("humble", str(tmp_path))
    assert "interbotix_xs_sdk" in machine.ros_packages


def test_the_command_ends_with_0_where_the_simulation_runs():
    command = [sys.executable, "-m", "robofume_bringup.doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mujoco         ready" in done.stdout
