#!/usr/bin/env python3
"""What is installed here, as a software bill of materials (CycloneDX 1.6, JSON) and a list of licences.

    python tools/bill_of_materials.py [--output sbom]

Reads the metadata of the installed distributions and fetches nothing. A licence that is not in a distribution's
metadata is looked for in its classifiers, in the package.xml of the ROS package, and in the text that it comes with; it
is otherwise named as unknown.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import uuid
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

LONGEST = 60
"""Characters of a licence's name; some distributions give the whole text."""
TEXTS = {
    "Apache License Version 2.0": "Apache-2.0",
    "Permission is hereby granted, free of charge, to any person obtaining a copy": "MIT",
    "Redistribution and use in source and binary forms": "BSD",
}
"""What a licence's text says, its white space made single -> its name."""


def licence_of(distribution: Distribution) -> str:
    """The licence as the distribution tells it, in few words."""
    about: Any = distribution.metadata
    expression = about.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [text for text in about.get_all("Classifier") or [] if text.startswith("License ::")]
    named = [last for text in classifiers if (last := text.split(" :: ")[-1]) != "OSI Approved"]
    if named:
        return " and ".join(named)
    text = str(about.get("License") or "").strip()
    first = text.splitlines()[0].strip() if text else ""
    if first and first.upper() != "UNKNOWN" and not first.startswith("%"):
        return first[:LONGEST]
    return ros_licence(about.get("Name") or "") or licence_in_text(distribution) or "unknown"


def licence_in_text(distribution: Distribution) -> str:
    """The licence whose text lies in the distribution's own folder; empty: none, or one that is not known here."""
    for file in distribution.files or ():
        if ".dist-info" in file.parts[0] and file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            text = " ".join(Path(str(file.locate())).read_text(errors="replace").split())
            for words, name in TEXTS.items():
                if words in text:
                    return name
    return ""


def ros_licence(name: str) -> str:
    """The licence in the package.xml of a ROS package, as a wheel (`ros-std-msgs`) or built here; empty: none found."""
    package = re.sub(r"^ros-(jazzy-|kilted-)?", "", name.lower()).replace("-", "_")
    workspace = Path(__file__).resolve().parent.parent
    for prefix in (Path(sys.prefix), workspace / "install"):
        for path in (prefix / "share" / package / "package.xml", prefix / package / "share" / package / "package.xml"):
            if path.is_file():
                found = re.findall(r"<license[^>]*>([^<]+)</license>", path.read_text(errors="replace"))
                return " and ".join(text.strip() for text in found)
    return ""


def components() -> list[dict[str, str]]:
    """Name, version and licence of every distribution, each once, by name."""
    found: dict[str, dict[str, str]] = {}
    for distribution in distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if name:
            found.setdefault(
                name, {"name": name, "version": distribution.version, "licence": licence_of(distribution)}
            )
    return [found[name] for name in sorted(found)]


def bill(parts: list[dict[str, str]]) -> dict[str, Any]:
    """The bill as CycloneDX wants it."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "component": {"type": "application", "name": "robofume", "bom-ref": "robofume"},
        },
        "components": [
            {
                "type": "library",
                "bom-ref": f"pkg:pypi/{part['name']}@{part['version']}",
                "name": part["name"],
                "version": part["version"],
                "purl": f"pkg:pypi/{part['name']}@{part['version']}",
                "licenses": [{"license": {"name": part["licence"]}}],
            }
            for part in parts
        ],
    }


def licence_list(parts: list[dict[str, str]]) -> str:
    """Markdown: every licence and who is under it."""
    by_licence: dict[str, list[str]] = {}
    for part in parts:
        by_licence.setdefault(part["licence"], []).append(f"{part['name']} {part['version']}")
    rows = [f"| {licence} | {', '.join(names)} |" for licence, names in sorted(by_licence.items())]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    head = f"# Licences\n\n{len(parts)} distributions, Python {python}, {time.strftime('%Y-%m-%d')}.\n"
    return "\n".join([head, "| licence | distributions |", "|---|---|", *rows, ""])


def main() -> int:
    """Write sbom.json and licences.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("sbom"))
    given = parser.parse_args()
    parts = components()
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "sbom.json").write_text(json.dumps(bill(parts), indent=1) + "\n", encoding="utf-8")
    (given.output / "licences.md").write_text(licence_list(parts), encoding="utf-8")
    unknown = [part["name"] for part in parts if part["licence"] == "unknown"]
    print(f"{len(parts)} distributions are listed in {given.output}/sbom.json and {given.output}/licences.md.")
    if unknown:
        print(f"{len(unknown)} do not tell their licence: {', '.join(unknown)}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
