from glob import glob

from setuptools import find_packages, setup

package_name = "robofume_bringup"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["templates/*.j2", "templates/*.xml", "tasks/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
        ("share/" + package_name + "/launch", sorted(glob("launch/*.launch.py"))),
        ("share/" + package_name + "/rviz", sorted(glob("rviz/*.rviz"))),
        ("share/" + package_name + "/worlds", sorted(glob("worlds/*.world"))),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="RoboFuME maintainers",
    maintainer_email="robofume@example.org",
    description="The graph, launch files, parameters, reports and the robofume command of RoboFuME.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "robofume = robofume_bringup.cli:main",
            "markers = robofume_bringup.nodes.markers:main",
        ],
    },
)
