"""A loop that sleeps and notes how late it wakes, without ROS: what the machine itself gives.

`python gate_witness.py FILE PERIOD_NS [CORE]`, until SIGTERM. With a core it stays there under
SCHED_FIFO, so that it is late only where the machine stood still (a virtual machine's cores do).
Without one it is an ordinary process: the floor for anything that is to happen in time. Standard
library only: it starts in 20 ms.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    file = Path(sys.argv[1])
    period = int(sys.argv[2])
    running = [True]
    signal.signal(signal.SIGTERM, lambda number, frame: running.clear())
    signal.signal(signal.SIGINT, lambda number, frame: running.clear())
    if len(sys.argv) > 3:
        os.sched_setaffinity(0, {int(sys.argv[3])})
        # before the gate's own 10 (--fifo), which would else keep it waiting
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    late = []
    due = time.monotonic_ns() + period
    while running:
        time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
        now = time.monotonic_ns()
        late.append((due, now - due))
        due += period * (1 + (now - due) // period)  # what was slept through is one wait, not many
    file.write_text(json.dumps(late))


if __name__ == "__main__":
    main()
