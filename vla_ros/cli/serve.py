"""`vla serve`: a policy for others to ask, by openpi's websocket protocol."""

from __future__ import annotations

import argparse
import os
import sys


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--policy", default="", help="which policy (default: color_servo)")
    parser.add_argument(
        "--policy-file",
        metavar="FILE",
        default="",
        help="which policy, with its options, like config/policies/*.yaml; not beside --policy",
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
    """130: it was interrupted; it ends in no other way. Raises ValueError for bad options."""
    from vla_ros.core.policy_file import chosen_policy
    from vla_ros.policies import make_policy, policy_spec
    from vla_ros.policies.remote.server import PolicyServer

    if options.key and not os.environ.get(options.key):
        raise ValueError(f"--key names {options.key}, an environment variable that is not set")
    chosen = chosen_policy(options.policy, options.policy_file)
    spec = policy_spec(chosen.policy, chosen.options)
    engine = {"engine": chosen.engine, "precision": chosen.precision}
    policy = make_policy(chosen.policy, chosen.options, engine, _say)
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


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
