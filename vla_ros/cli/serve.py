"""`vla serve`: a policy for others to ask, by openpi's websocket protocol."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla_ros.core.policy_file import PolicyFile


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--policy", default="", help="which policy (default: color_servo)")
    parser.add_argument(
        "--policy-file",
        metavar="FILE",
        default="",
        help="which policy, with its options, like config/policies/*.yaml; not beside --policy",
    )
    parser.add_argument(
        "--lerobot",
        metavar="DIR",
        default="",
        help="a checkpoint that LeRobot wrote, of any type, run by LeRobot itself in its own "
        "environment; names and rate come from --dataset, or from --policy-file",
    )
    parser.add_argument(
        "--dataset",
        metavar="DIR",
        default="",
        help="with --lerobot: the dataset that it learned from, or its meta/info.json",
    )
    parser.add_argument(
        "--env", metavar="DIR", default="", help="with --lerobot: its environment, as --make-env"
    )
    parser.add_argument(
        "--make-env",
        metavar="DIR",
        nargs="?",
        const="",
        help="make LeRobot's environment (some GB from the network), or add what it lacks, and end",
    )
    # Only this machine: who can reach it can use the policy, and fill its memory.
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen at (default %(default)s: this machine alone)",
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="where to listen (default %(default)s; 0: any free)"
    )
    parser.add_argument(
        "--key",
        metavar="VARIABLE",
        default="",
        help="the environment variable that holds the key which clients must send",
    )


def run(options: argparse.Namespace) -> int:
    """0: the environment is there. 130: it was interrupted; serving ends in no other way.

    Raises:
        ValueError: bad options, or pip failed.
    """
    if options.make_env is not None:
        from vla_ros.policies.lerobot.environment import make_environment

        place = make_environment(options.make_env, _say)
        print(f"LeRobot's environment is at {place}")
        return 0
    if options.key and not os.environ.get(options.key):
        raise ValueError(f"--key names {options.key}, an environment variable that is not set")
    if options.lerobot:
        return _serve_lerobot(options)
    for name in ("dataset", "env"):
        if getattr(options, name):
            raise ValueError(f"--{name} is for --lerobot DIR, which is not given")

    from vla_ros.core.policy_file import chosen_policy
    from vla_ros.policies import file_options, file_spec, make_policy
    from vla_ros.policies.remote.server import PolicyServer

    chosen = chosen_policy(options.policy, options.policy_file)
    _refuse_what_asks(chosen)
    spec = file_spec(chosen)
    engine = {"engine": chosen.engine, "precision": chosen.precision}
    policy = make_policy(chosen.policy, file_options(chosen), engine, _say)
    try:
        server = PolicyServer(
            policy, spec, options.host, options.port, os.environ.get(options.key, ""), _say
        )
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"cannot listen at {options.host}, port {options.port}: {error}; give another --port"
        ) from None
    print(f"{policy.name} at ws://{options.host}:{server.port}; a policy file that asks it:\n")
    print(server.policy_file(), flush=True)
    try:
        server.serve_forever()
    finally:
        server.close()
    return 0


def _serve_lerobot(options: argparse.Namespace) -> int:
    """Becomes LeRobot's Python. Raises ValueError for what can be said before."""
    from vla_ros.core.policy_file import load_policy_file
    from vla_ros.policies import file_options, policy_spec
    from vla_ros.policies.lerobot.checkpoint import read_checkpoint, refuse_code
    from vla_ros.policies.lerobot.environment import environment_python
    from vla_ros.policies.lerobot.sidecar import SCRIPT

    if options.policy:
        raise ValueError("--policy and --lerobot are both given; one of them is served")
    given: dict[str, Any] = {}
    if options.policy_file:
        file = load_policy_file(options.policy_file)
        if file.policy != "lerobot":
            raise ValueError(
                f"{options.policy_file} is of policy '{file.policy}'; beside --lerobot, one of "
                "policy 'lerobot' says names, units and rate"
            )
        _refuse_what_asks(file)
        given.update(file_options(file))
    given["checkpoint"] = options.lerobot
    if options.dataset:
        given["dataset"] = options.dataset
    policy_spec("lerobot", given)
    refuse_code(read_checkpoint(options.lerobot))
    python = environment_python(options.env or given.get("sidecar", {}).get("env", ""))
    request = {
        "options": given,
        "host": options.host,
        "port": options.port,
        "key": options.key,
        "parent": 0,
    }
    os.execv(python, [str(python), "-I", str(SCRIPT), json.dumps(request)])


def _refuse_what_asks(file: PolicyFile) -> None:
    """Raises ValueError for a policy file of one who asks a server."""
    if file.prompt or file.horizon:
        raise ValueError(
            "the policy file's prompt and horizon are for who asks this server; take them out of "
            "it, and put them into the policy file of the one who asks"
        )


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
