"""The switcher node, killed as soon as it has noted that so many episodes have ended, before it says anything.

python killed_switcher.py EPISODES --ros-args ...
"""

import os
import signal
import sys

from robofume_reset.nodes import switcher
from robofume_reset.state import save_state


def save_and_be_killed(path, state):
    save_state(path, state)
    if state.alternation.total.episodes == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    switcher.DISCOVERY_PATIENCE = switcher.SERVICE_PATIENCE = 200.0
    switcher.save_state = save_and_be_killed
    switcher.main()
