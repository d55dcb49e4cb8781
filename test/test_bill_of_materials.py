"""The bill of materials and the list of licences."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parent.parent / "tools" / "bill_of_materials.py"


@pytest.fixture(scope="module")
def tool():
    specification = importlib.util.spec_from_file_location("bill_of_materials", PATH)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_what_is_installed_is_on_the_bill_with_its_licence(tool):
    parts = {part["name"]: part for part in tool.components()}
    import numpy

    assert parts["numpy"]["version"] == numpy.__version__
    assert "BSD" in parts["numpy"]["licence"]
    assert parts["setuptools"]["licence"] == "MIT", "its text alone tells"
    bill = tool.bill(list(parts.values()))
    assert bill["bomFormat"] == "CycloneDX" and len(bill["components"]) == len(parts)
    assert len({component["bom-ref"] for component in bill["components"]}) == len(parts)
    text = tool.licence_list(list(parts.values()))
    assert all(f"{part['name']} {part['version']}" in text for part in parts.values())
