"""A person's word on the newest step, over DDS."""

import subprocess
import sys
import time

from robofume_common import qos
from robofume_interfaces.msg import Label, Step, Task

PATIENCE = 300.0
COMMAND = [sys.executable, "-m", "robofume_reset.nodes.verdict", "--ros-args"]


def test_said_once_it_labels_the_newest_step(bench):
    node, executor = bench
    labels: list[Label] = []
    heard = node.create_subscription(Label, "label", labels.append, qos.REWARD)
    tasks = node.create_publisher(Task, "task", qos.LATCHED)
    steps = node.create_publisher(Step, "step", qos.STEP)
    words = ["-p", "verdict:=success", "-p", f"deadline:={PATIENCE}"]
    process = subprocess.Popen([*COMMAND, *words], stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + PATIENCE
        while not heard.get_publisher_count():  # it labels at once what it hears of, and does not wait for us long
            assert time.monotonic() < end and process.poll() is None
            executor.spin_once(timeout_sec=0.1)
        tasks.publish(Task(phase=1, episode_id="demo-7"))
        while not labels and time.monotonic() < end:
            steps.publish(Step(episode_id="demo-7", index=12))
            executor.spin_once(timeout_sec=0.1)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
    assert (labels[0].episode_id, labels[0].verdict, labels[0].author) == ("demo-7", 1, "person")
    assert labels[0].index in (12, -1)  # -1: it heard of the episode before it heard a step


def test_without_a_terminal_it_says_what_it_needs(ros_domain):
    words = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": PATIENCE, "check": False}
    done = subprocess.run(COMMAND, **words)
    assert done.returncode == 1 and "Keys need a terminal" in done.stderr and "Traceback" not in done.stderr
