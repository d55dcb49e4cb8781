from setuptools import find_packages, setup

package_name = "robofume_robot"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="RoboFuME maintainers",
    maintainer_email="robofume@example.org",
    description="What touches the robot: camera ingestion, arm control, safety envelope, kinematics and backends.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "arm = robofume_robot.nodes.arm:main",
            "interbotix = robofume_robot.nodes.interbotix:main",
            "teleop = robofume_robot.nodes.teleop:main",
            "workspace = robofume_robot.nodes.workspace:main",
            "camera = robofume_robot.nodes.camera:main",
            "snapshot = robofume_robot.nodes.snapshot:main",
            "replay = robofume_robot.nodes.replay:main",
        ],
    },
)
