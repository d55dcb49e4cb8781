"""A stand-in for a node: does what its first word after --params-file's `behaviour` says, without ROS."""

import os
import signal
import sys
import time
from pathlib import Path

import yaml

parameters = yaml.safe_load(Path(sys.argv[sys.argv.index("--params-file") + 1]).read_text())["/**"][
    "ros__parameters"
]
behaviour = parameters["behaviour"]
print("hello from", [word for word in sys.argv if word.startswith("__node:=")], flush=True)


def note(text):
    with open(parameters["journal"], "a") as journal:
        journal.write(f"{parameters['name']} {text}\n")


def end(number, frame):
    note(signal.Signals(number).name)
    if behaviour == "calm" or (behaviour == "slow" and number == signal.SIGTERM):
        sys.exit(0)


signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
if behaviour == "dies":
    print("something is missing", flush=True)
    sys.exit(3)
if behaviour == "with_child" and os.fork() == 0:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    behaviour = "stubborn"
note("up")
while True:
    time.sleep(0.05)
