"""docs/reliability.md names tests that exist."""

import re
from pathlib import Path

WORKSPACE = Path(__file__).resolve().parent.parent


def test_every_promise_has_its_test():
    text = (WORKSPACE / "docs" / "reliability.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    places = [*WORKSPACE.glob("src/*/test/**/*.py"), *WORKSPACE.glob("test/*.py")]
    there = {name for path in places for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
    assert len(named) > 40 and not named - there
    for table in re.split(r"\n\n", text):
        if table.startswith("|"):
            assert all("`test_" in row for row in table.splitlines()[2:]), table
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (WORKSPACE / "docs" / target).exists(), target
