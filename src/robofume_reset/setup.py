from setuptools import find_packages, setup

package_name = "robofume_reset"

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
    description="Forward/backward task switching, stuck handling and assisted resets of RoboFuME.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "switcher = robofume_reset.nodes.switcher:main",
            "verdict = robofume_reset.nodes.verdict:main",
        ],
    },
)
