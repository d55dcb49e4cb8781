"""Helpers beside the tests, which pytest's importlib mode leaves out."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
