"""`robofume data`: what is in bags, and whether they are whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def info(bags: Sequence[Path]) -> int:
    raise NotImplementedError


def check(bags: Sequence[Path]) -> int:
    raise NotImplementedError
