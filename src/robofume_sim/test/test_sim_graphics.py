"""Drawing beside other libraries in one process."""

import subprocess
import sys

import pytest


def test_what_is_loaded_after_the_renderer_does_not_end_the_process():
    pytest.importorskip("triton", reason="the package triton, which torch's builds for CUDA bring")
    program = (
        "import mujoco; from robofume_sim.graphics import make_renderer\n"
        "model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><geom size=\".1\"/></worldbody></mujoco>')\n"
        "make_renderer(model, 16, 16)\n"
        "import triton, transformers.activations\n"
        "print('alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "alive\n", f"exit code {done.returncode}: {done.stderr[-500:]}"
