"""Write requirements/constraints.txt: the exact version of every package, for every Python named.

Run it after a change of a pin, with all supported interpreters at hand:

    python3 tools/lock_requirements.py python3.10 python3.11 python3.12 python3.13
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
SOURCES = ("base.txt", "build.txt", "dev.txt", "ros-jazzy.txt")
HEADER = """\
# Written by tools/lock_requirements.py from the other files of this folder: do not edit.
# What torch brings along for a GPU is not listed: torch itself names those versions exactly.
"""


def resolve(python: str) -> tuple[str, dict[str, str]]:
    """The Python version, as "3.12", and the packages that pip chooses under it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        report = Path(folder) / "report.json"
        files = [argument for name in SOURCES for argument in ("-r", str(REQUIREMENTS / name))]
        subprocess.run(
            [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run",
             "--ignore-installed", "--report", str(report), *files],
            check=True,
        )  # fmt: skip
        found = json.loads(report.read_text())
    packages = {}
    for item in found["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        packages[name] = item["metadata"]["version"].split("+")[0]
    return found["environment"]["python_version"], packages


def merge(resolved: dict[str, dict[str, str]]) -> str:
    """One line for a package that is the same everywhere, else one line for each Python."""
    lines = []
    for name in sorted(set().union(*resolved.values())):
        versions = {python: packages[name] for python, packages in resolved.items() if name in packages}
        if len(set(versions.values())) == 1:
            lines.append(f"{name}=={next(iter(versions.values()))}")
        else:
            lines += [f'{name}=={version}; python_version == "{python}"' for python, version in sorted(versions.items())]
    return HEADER + "\n".join(lines) + "\n"


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    resolved = dict(resolve(python) for python in sys.argv[1:])
    (REQUIREMENTS / "constraints.txt").write_text(merge(resolved))


if __name__ == "__main__":
    main()
