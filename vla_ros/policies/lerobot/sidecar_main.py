"""The sidecar's process: a checkpoint behind openpi's protocol, in LeRobot's own environment.

Run as a script by that environment's Python, isolated (-I): `python -I sidecar_main.py REQUEST`,
REQUEST a JSON map of `options` (the policy lerobot's), `host`, `port`, `key` (the name of the
variable that holds the clients' key) and `parent` (the process that it ends with; 0: nobody).
It prints one line: {"port": PORT}, or {"problem": SENTENCE}; without a parent, for people.
"""

import ctypes
import importlib.util
import json
import os
import signal
import sys
import threading
from pathlib import Path

PR_SET_PDEATHSIG = 1  # of prctl(2), as linux/prctl.h numbers it
PACKAGE = Path(__file__).resolve().parents[2]
BAD_REQUEST = 2  # exit code


def main() -> int:
    """The exit code; it serves until it is ended."""
    request = json.loads(sys.argv[1])
    # LeRobot prints what it loads: that goes to stderr, as only announcements belong here.
    announcements = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if request["parent"]:
        end_with(request["parent"])
    _keep_offline()
    _import_package()
    from vla_ros.policies.lerobot.hosted import offer

    def announce(port: int, text: str) -> None:
        print(json.dumps({"port": port}) if request["parent"] else text, file=announcements)

    try:
        offer(request, announce)
    except ValueError as problem:
        if request["parent"]:
            print(json.dumps({"problem": str(problem)}), file=announcements)
        else:
            print(f"vla: {problem}", file=sys.stderr)
        return BAD_REQUEST
    except KeyboardInterrupt:
        return 130
    return 0


def end_with(parent: int) -> None:
    """This process ends when its parent does, however that is."""
    if sys.platform == "linux":
        # Also where a library holds Python's lock. It counts from the thread that started us: the
        # policy keeps one for that.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    # A Ctrl-C in the terminal is for the parent, who ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        # Until the parent's end of the pipe is closed; not by sys.stdin, whose lock a thread must
        # not hold when Python ends.
        while os.read(0, 1):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _keep_offline() -> None:
    """A robot does not fetch weights while it drives, and runs nobody's pickle."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TORCH_FORCE_WEIGHTS_ONLY_LOAD"):
        os.environ[name] = "1"


def _import_package() -> None:
    """Makes vla_ros importable without its neighbours.

    The folder in which it is installed may hold another numpy and another torch, so that folder
    does not go on the path.
    """
    spec = importlib.util.spec_from_file_location(
        "vla_ros", PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["vla_ros"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    raise SystemExit(main())
