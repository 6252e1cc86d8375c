"""The command line and the demo's surroundings: arguments, domains, signals, words that fit the room, the view."""
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from vla_ros.cli import main as command_line
from vla_ros.core.process_identity import PARENT, own
from vla_ros.demo.overlay import Moment
from vla_ros.demo.plots import PathPoint, Thing
from vla_ros.demo.suggestions import choose_instructions
from vla_ros.demo.view import LiveView, PlainView, Status, make_view, plain_line, table
from vla_ros.operator.session import Interrupt, alive, children, domain_is_free, own_domain

ORIGIN = PathPoint(0.0, 0.0, 0.0, 0.0, 0)


# The command line

def parse(*words: str):
    return command_line.make_parser().parse_args(words)


def test_the_demo_needs_no_arguments():
    arguments = parse("demo")
    assert (arguments.policy, arguments.out, arguments.instructions, arguments.no_view) == (None, "demo", [],
                                                                                            False)


def test_the_demo_takes_all_its_arguments():
    arguments = parse("demo", "--seed", "7", "--policy", "constant", "--out", "x", "--seconds-per-instruction", "5",
                      "--no-view", "go to the red block", "turn left")
    assert arguments.seed == 7 and arguments.seconds_per_instruction == 5.0 and arguments.no_view
    assert arguments.instructions == ["go to the red block", "turn left"]


@pytest.mark.parametrize("words", [  # as launch/vla.launch.py has them
    ("markers", "--namespace", "/left", "--wait", "900", "--robot-file", "r.yaml"),
    ("record", "--namespace", "/left", "--wait", "900", "--append", "--out", "episodes", "--robot", "sim")])
def test_what_the_launch_file_starts_beside_the_suite_is_understood(words):
    assert (parse(*words).namespace, parse(*words).wait) == ("/left", 900.0)


@pytest.mark.parametrize("words", [("demo", "--seed", "-1"), ("demo", "--seed", "one"), ("demo", "--seed", "1.5"),
                                   ("demo", "--seconds-per-instruction", "0"),
                                   ("demo", "--seconds-per-instruction", "nan"),
                                   ("demo", "--seconds-per-instruction", "soon"), ("say",),
                                   ("say", "--wait", "-1", "x")])
def test_bad_arguments_are_refused_with_their_value(words, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(*words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert words[-1] in said or "required" in said or "-1" in said


def test_an_unknown_verb_lists_the_known_ones(capsys):
    assert command_line.main(["fly"]) == 2
    said = capsys.readouterr().err
    assert "'fly'" in said and all(verb in said for verb in command_line.VERBS)


def test_no_verb_and_bench_alone_tell_what_there_is(capsys):
    assert command_line.main([]) == 2
    assert "demo" in capsys.readouterr().out
    assert command_line.main(["bench"]) == 0
    assert "pipeline" in capsys.readouterr().out
    assert command_line.main(["bench", "coffee"]) == 2
    assert "pipeline" in capsys.readouterr().err


def test_every_verb_has_its_help():
    modules = {path.stem for path in Path(command_line.__file__).parent.glob("*.py")}
    assert modules - {"__init__", "main", "argument_types", "policy_evidence"} == set(command_line.VERBS)
    for verb in command_line.VERBS:
        with pytest.raises(SystemExit) as ended:
            parse(verb, "--help")
        assert ended.value.code == 0


def test_an_unknown_policy_is_refused_before_anything_starts(tmp_path, capsys):
    pytest.importorskip("rclpy")
    assert command_line.main(["demo", "--policy", "wizard", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "wizard" in said and "color_servo" in said


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path, capsys):
    pytest.importorskip("rclpy")
    (tmp_path / "file").write_text("")
    assert command_line.main(["demo", "--out", str(tmp_path / "file" / "demo")]) == 2
    assert "--out" in capsys.readouterr().err


def test_the_summary_is_there_and_so_is_every_other_image_when_one_cannot_be_drawn(tmp_path, monkeypatch, capsys):
    pytest.importorskip("rclpy")
    pytest.importorskip("vla_ros_msgs")
    from vla_ros.demo import run
    from vla_ros.demo.plots import DriveRecord

    def fail(*_):
        raise ValueError("'outside right upper' is not a valid value for loc")

    result = {"text": "go", "done": True, "seconds": 1.0, "driven_m": 0.5, "why": "near"}
    said = SimpleNamespace(results=[result], track=DriveRecord(latencies=[5.0]), instructions=["go"], deaths=[], ok=lambda: True,
                           inference=dict, watch=SimpleNamespace(film=None),
                           arguments=SimpleNamespace(seed=1, policy="color_servo", robot="cart"))
    monkeypatch.setattr(run, "draw_path", fail)
    run._write(said, tmp_path, "", {})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ok"] is True and summary["instructions"] == [result]
    assert (tmp_path / "latency.png").exists() and not (tmp_path / "path.png").exists()
    assert "path.png could not be drawn" in capsys.readouterr().out


@pytest.mark.parametrize("missing, hint", [("rclpy", "source"), ("vla_ros_msgs", "source"), ("mujoco", "install")])
def test_a_missing_module_is_a_sentence(missing, hint, monkeypatch, capsys):
    def fail(*_):
        raise ModuleNotFoundError(name=missing)

    monkeypatch.setattr(command_line, "lookup", fail)
    assert command_line.main(["demo"]) == 2
    said = capsys.readouterr().err
    assert missing in said and hint in said and "'demo'" in said


def test_help_loads_neither_ros_nor_matplotlib():
    code = ("import sys; from vla_ros.cli.main import make_parser; make_parser().format_help(); "
            "print([name for name in ('rclpy', 'matplotlib', 'cv2', 'mujoco') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The domain

def test_a_domain_that_the_user_set_is_kept():
    environ = {"ROS_DOMAIN_ID": "12"}
    assert "12" in own_domain(environ)
    assert environ == {"ROS_DOMAIN_ID": "12"}


def test_a_domain_is_chosen_at_random():
    environ: dict[str, str] = {}
    sentence = own_domain(environ)
    assert environ["ROS_DOMAIN_ID"] in sentence and 1 <= int(environ["ROS_DOMAIN_ID"]) <= 100


def test_a_domain_in_use_is_not_free():
    domain = random.Random(os.getpid()).randrange(60, 100)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(("", 7400 + 250 * domain + 10))
        assert not domain_is_free(domain)
    assert domain_is_free(domain)


# Signals

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_until_it_is_asked_for(number):
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        interrupt.check()
        os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt, match=number.name):
            interrupt.check()
    assert signal.getsignal(number) is before


def test_what_a_launch_started_ends_with_it(monkeypatch):
    """`ros2 launch` that is killed tells nobody."""
    started = subprocess.run([sys.executable, "-c", "from vla_ros.core.process_identity import own; print(own())"],
                             capture_output=True, text=True, check=True)
    with Interrupt() as interrupt:
        monkeypatch.setenv(PARENT, own())
        interrupt.check()
        monkeypatch.setenv(PARENT, started.stdout.strip())
        with pytest.raises(KeyboardInterrupt, match="has ended"):
            interrupt.check()


def test_a_signal_at_once():
    with Interrupt() as interrupt:
        interrupt.at_once = True
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            interrupt.check()


def test_alive_counts_neither_the_dead_nor_zombies():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    found = [child for child in children() if child.pid == process.pid]
    assert alive(found) == found and len(found) == 1
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet waited for
    assert alive(found) == []
    process.wait()
    assert alive(found) == []


# The words

def things(*places: tuple[str, float, float]) -> dict[str, Thing]:
    return {name: Thing(name, x, y) for name, x, y in places}


def test_three_kinds_of_task_that_the_room_allows():
    words = choose_instructions(things(("red block", 1, 0), ("green ball", 0, 1), ("blue cylinder", -1, 0)), ORIGIN)
    assert words == ["go to the red block", "turn left", "grab the green ball"]


def test_a_colour_that_two_things_share_is_avoided():
    room = things(("red block", 1, 0), ("red ball", 0, 1), ("blue block", -1, 0), ("green cylinder", 0, -1))
    assert choose_instructions(room, ORIGIN) == ["go to the blue block", "turn left", "grab the green cylinder"]


def test_a_thing_behind_another_is_avoided():
    room = things(("red block", 1.2, 0), ("purple cylinder", 0.6, 0.05), ("blue block", -1, 0), ("green ball", 0, 1))
    assert choose_instructions(room, ORIGIN)[0] == "go to the blue block"


def test_a_longer_way_is_preferred():
    room = things(("red block", 0.8, 0), ("blue block", -1.3, 0), ("green ball", 0, 1))
    assert choose_instructions(room, ORIGIN)[0] == "go to the blue block"


def test_rooms_with_little_in_them():
    assert choose_instructions({}, ORIGIN) == ["turn left", "back up", "turn right"]
    assert choose_instructions(things(("red ball", 1, 0)), ORIGIN) == ["go to the red ball", "back up", "turn left"]
    assert len(set(choose_instructions(things(("red ball", 1, 0), ("red block", 0, 1)), ORIGIN))) == 3


# The view

STATUS = Status("instruction 1 of 3", Moment(1.0, "", "go to the red block", "ACTIVE", "LIMITED", "limits", "too fast",
                                             ("linear.x",), (0.8,), (0.5,)),
                {"camera": 30.0, "action": 29.6}, (5.25, 9.5), (0.5, -1.0, 90.0))


def test_one_line_tells_all_of_it():
    line = plain_line(STATUS)
    for part in ("instruction 1 of 3", "go to the red block", "ACTIVE LIMITED", "too fast", "camera 30", "p95 9.5 ms",
                 "x +0.50 m", "heading +90°"):
        assert part in line


def test_of_an_arm_it_says_that_the_place_is_the_tool_s():
    assert "| tool x +0.50 m" in plain_line(replace(STATUS, pose_of="tool"))


def test_the_plain_view_says_how_it_goes_now_and_then():
    stream, asked = io.StringIO(), []
    with PlainView(stream) as view:
        view.say("hello", "bold")
        for _ in range(100):
            view.show(lambda: asked.append(1) or Status("starting", nodes={"inference": "inactive"}))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and lines[0] == "hello" and "inference inactive" in lines[1]
    assert len(asked) == 1  # finding out costs time that the robot's nodes need


@pytest.mark.parametrize("status", [STATUS, Status("starting", nodes={"inference": "active", "supervisor": "starting"}),
                                    Status("empty")])
def test_the_live_table_fits_a_terminal(status):
    console = pytest.importorskip("rich.console").Console(width=90, record=True, file=io.StringIO())
    console.print(table(status))
    lines = console.export_text().splitlines()
    assert status.phase in lines[0] and max(map(len, lines)) <= 90


def test_no_live_view_where_stdout_is_no_terminal(monkeypatch):
    assert isinstance(make_view(live=True), PlainView)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert isinstance(make_view(live=False), PlainView)
    pytest.importorskip("rich")
    assert isinstance(make_view(live=True), LiveView)
