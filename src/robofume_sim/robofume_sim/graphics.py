"""MuJoCo with a renderer that needs no display, or one sentence that says what is missing."""

from __future__ import annotations

import contextlib
import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING

from robofume_common.errors import RobofumeError

if TYPE_CHECKING:
    import mujoco


def load_mujoco() -> ModuleType:
    """The module `mujoco`, drawing through EGL unless MUJOCO_GL says otherwise. Importing it loads the graphics."""
    os.environ.setdefault("MUJOCO_GL", "egl")
    # Mesa's software renderer: draw in this thread. Handing such small pictures to others costs more, above all
    # on a busy machine.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        import mujoco
    except Exception as error:  # the OpenGL loaders raise whatever they like
        raise _missing(error) from error
    return mujoco


def make_renderer(model: mujoco.MjModel, width: int, height: int) -> mujoco.Renderer:
    """A renderer of `width` by `height` pixels. RobofumeError where nothing can draw."""
    module = load_mujoco()
    _load_triton()
    try:
        return module.Renderer(model, height=height, width=width)
    except Exception as error:
        raise _missing(error) from error


def _load_triton() -> None:
    """Before Mesa's software renderer: both bring an LLVM, and Mesa makes the symbols of its own known to all that is
    loaded later. Triton, which torch's builds for CUDA bring and which transformers imports, would end this process
    with a segmentation fault (seen with Triton 3.7; the other way round both work)."""
    with contextlib.suppress(ImportError):  # torch's builds for the processor come without: it is no need of ours
        importlib.import_module("triton")


def _missing(error: Exception) -> RobofumeError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return RobofumeError(
        f"The simulated camera cannot draw with MUJOCO_GL={os.environ['MUJOCO_GL']}: install EGL (Debian, Ubuntu: "
        "apt-get install libegl1 libgl1 libgl1-mesa-dri), or OSMesa (apt-get install libosmesa6) and set "
        f"MUJOCO_GL=osmesa. ({reason})"
    )
