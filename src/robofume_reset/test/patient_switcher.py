"""The switcher node with minutes of patience where a run gets seconds: how fast this machine is, is not what is tested.

python patient_switcher.py SECONDS --ros-args ...

It listens so many seconds to who is silent.
"""

import sys

from robofume_reset.nodes import probe, switcher

if __name__ == "__main__":
    switcher.DISCOVERY_PATIENCE = switcher.SERVICE_PATIENCE = switcher.GOODBYE = 200.0
    probe.PROBE_TIME = float(sys.argv[1])
    switcher.main()
