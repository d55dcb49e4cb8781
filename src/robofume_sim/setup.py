from setuptools import find_packages, setup

package_name = "robofume_sim"

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
    description="The embedded MuJoCo world of RoboFuME: tasks, demonstrator, Gymnasium environment, sim node.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "sim = robofume_sim.nodes.sim:main",
            "gazebo_arm = robofume_sim.nodes.gazebo_arm:main",
            "gazebo_scene = robofume_sim.nodes.gazebo_scene:main",
            "demonstrator = robofume_sim.nodes.demonstrator:main",
        ],
    },
)
