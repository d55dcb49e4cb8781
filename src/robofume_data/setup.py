from setuptools import find_packages, setup

package_name = "robofume_data"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["importing/conventions/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
    install_requires=["setuptools"],
    extras_require={"ray": ["ray"]},
    zip_safe=True,
    maintainer="RoboFuME maintainers",
    maintainer_email="robofume@example.org",
    description="Episodes, bags in and out, and the recorder node of RoboFuME.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["recorder = robofume_data.nodes.recorder:main"],
    },
)
