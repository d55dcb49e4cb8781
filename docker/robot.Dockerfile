# The robot's side on ROS 2 Humble: Gazebo Classic, and Interbotix's driver and Python modules for the WidowX 250s.
FROM ros:humble-ros-base-jammy
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      build-essential git libegl1 libgl1 libgl1-mesa-dri python3-dev python3-pip python3-rosdep python3-venv tini \
      ros-humble-gazebo-ros-pkgs ros-humble-gazebo-ros2-control ros-humble-joint-trajectory-controller \
      ros-humble-rviz2 ros-humble-robot-state-publisher ros-humble-xacro ros-humble-usb-cam \
      ros-humble-rosbag2 ros-humble-ros2launch ros-humble-joint-state-broadcaster ros-humble-joy \
 && rm -rf /var/lib/apt/lists/*

# The humble branches of January 2025.
ARG CORE=6da9a7c79508835cad17422059dbe70dc3965cc0
ARG MANIPULATORS=a4b7e51150d604e2f16451b703fa5f324dd52520
ARG TOOLBOXES=8ae347e163506c19e9df16c1fa868e426c08eea6
WORKDIR /opt/interbotix/src
RUN git clone https://github.com/Interbotix/interbotix_ros_core.git \
 && git clone https://github.com/Interbotix/interbotix_ros_manipulators.git \
 && git clone https://github.com/Interbotix/interbotix_ros_toolboxes.git \
 && git -C interbotix_ros_core checkout "$CORE" \
 && git -C interbotix_ros_core submodule update --init \
      interbotix_ros_xseries/dynamixel_workbench_toolbox interbotix_ros_xseries/interbotix_xs_driver \
 && git -C interbotix_ros_manipulators checkout "$MANIPULATORS" \
 && git -C interbotix_ros_toolboxes checkout "$TOOLBOXES" \
 && rm interbotix_ros_core/interbotix_ros_xseries/COLCON_IGNORE
WORKDIR /opt/interbotix
# hadolint ignore=SC1091
RUN . /opt/ros/humble/setup.bash \
 && pip3 install --no-cache-dir modern_robotics==1.1.1 transforms3d==0.4.2 \
 && apt-get update \
 && rosdep update --rosdistro humble \
 && rosdep install --rosdistro humble --from-paths src --ignore-src -y \
 && colcon build --merge-install \
      --packages-up-to interbotix_xs_sdk interbotix_xs_modules interbotix_xsarm_control interbotix_xsarm_sim \
 && rm -rf build log /var/lib/apt/lists/*

# The arm's serial device belongs to dialout, a camera to video.
RUN useradd --create-home --uid 1000 --groups dialout,video robofume
USER 1000
WORKDIR /home/robofume/workspace
COPY --chown=robofume Makefile colcon.meta pyproject.toml ./
COPY --chown=robofume requirements requirements
COPY --chown=robofume tools tools
COPY --chown=robofume src src
# hadolint ignore=SC1091
RUN . /opt/interbotix/install/setup.bash && make setup

ENV PATH=/home/robofume/workspace/.venv/bin:$PATH
VOLUME /home/robofume/workspace/runs
HEALTHCHECK --interval=5m --timeout=2m --start-period=2m CMD ["robofume", "doctor"]
# in_workspace sources the ROS installation that the workspace was built on.
ENTRYPOINT ["tini", "--", "tools/in_workspace"]
CMD ["bash"]
