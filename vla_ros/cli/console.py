"""`vla console`: the operator's page, beside a suite that runs."""

from __future__ import annotations

import argparse

from vla_ros.cli.argument_types import namespace


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--robot-file",
        metavar="FILE",
        default="",
        help="the robot, whose cameras are shown (default: the gate's)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen at (default %(default)s: this machine alone); another needs "
        "--token-file",
    )
    parser.add_argument(
        "--port", type=int, default=8080, help="where to listen (default %(default)s; 0: any free)"
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        default="",
        help="a file whose first line opens the page to who knows it",
    )
    parser.add_argument(
        "--params-file",
        metavar="FILE",
        default="",
        help="a ROS 2 parameter file, for what has no option here",
    )
    parser.add_argument(
        "--namespace",
        default="/vla",
        type=namespace,
        help="where the suite's nodes are (default %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C; raises ValueError where it cannot be served."""
    from vla_ros.operator.console.access import read_token
    from vla_ros.operator.console.server import listening_socket, missing_libraries

    # Said here, where a person reads it; the node would say it in its log and wait.
    if sentence := missing_libraries():
        raise ValueError(sentence)
    read_token(options.token_file, options.host)
    if not 0 <= options.port <= 65535:
        raise ValueError(f"--port is {options.port}; give 0 to 65535")
    listening_socket(options.host, options.port).close()

    from vla_ros.nodes.common.run_node import run as run_node
    from vla_ros.operator.console.node import Console
    from vla_ros.operator.processes import ros_arguments

    parameters: dict[str, object] = {
        "console_host": options.host,
        "console_port": options.port,
        "token_file": options.token_file,
    }
    if options.robot_file:
        parameters["robot_file"] = options.robot_file
    where = options.namespace.strip("/")
    words = ros_arguments(where, options.params_file or None, parameters)
    run_node(Console, start=True, argv=words)
    return 0
