"""Every parameter of every node; those of a rule of the gate are declared by the rule.

config/vla.yaml repeats the defaults; a test holds it to this table. No ROS here.
"""

from __future__ import annotations

from dataclasses import replace

from vla_ros.core.blending import BLENDINGS
from vla_ros.core.faults import STRATEGIES
from vla_ros.core.instructions import HALTING_THRESHOLD, STOP_WORDS
from vla_ros.core.pairing import MODES
from vla_ros.core.parameters import Parameter as P
from vla_ros.core.policy_file import DEFAULT_POLICY
from vla_ros.core.stick import AUTO
from vla_ros.core.types import to_seconds
from vla_ros.safety.rules import PARAMETERS
from vla_ros.safety.rules.stuck_stick import STUCK_STICK_LIMIT

EXECUTORS = ("events", "single_threaded")
COMMON = (
    P("diagnostics_period", 1.0, "time between two reports on /diagnostics", "s", 0.1, 60.0),
    P(
        "executor",
        EXECUTORS[0],
        "what runs the node's callbacks, from its start on: rclpy's EventsExecutor, which costs "
        "less; or, also where rclpy has none (Humble), its SingleThreadedExecutor",
        choices=EXECUTORS,
    ),
    P(
        "cpus",
        "",
        "the processors that the node's process keeps to, like 0,2-3; of several nodes in one "
        "process the last that is configured says so; empty: as the system has it",
    ),
    P(
        "nice",
        0,
        "the niceness of the node's process, where the system allows it: the higher, the more "
        "others go first; 0: as it was started",
        "",
        -20,
        19,
    ),
    P(
        "realtime_priority",
        0,
        "SCHED_FIFO for the node's process, where the system allows it: before all ordinary ones "
        "(see doc/gate.md); 0: ordinary",
        "",
        0,
        99,
    ),
)
POLICY = (
    P(
        "policy",
        "",
        "the policy's name or module:Class, where it needs no options; empty, and "
        f"policy_file too: {DEFAULT_POLICY}",
    ),
    P(
        "policy_file",
        "",
        "the policy with its options, cameras, engine and fallback, a path to a file "
        "like config/policies/color_servo.yaml; not beside policy",
    ),
)
ROBOT = P(
    "robot_file",
    "",
    "the robot: its cameras, state, channels and limits, a path to a file like "
    "config/robots/sim.yaml",
)
ALL = "all"
CAMERAS = P(
    "cameras",
    [ALL],
    "those of the robot file's cameras that the policy looks through; all: each of them",
)
CLOUDS = P(
    "clouds",
    [ALL],
    "those of the robot file's point clouds that the policy looks at; all: each of them, an empty "
    "text: none",
)

# The gate comes first: it is up before anything that could move the robot.
NODES = (
    "safety_validator",
    "camera_ingest",
    "command_ingest",
    "synchronizer",
    "inference",
    "supervisor",
)
# What looks on: started beside the suite, required by nobody.
ONLOOKER_NODES = ("blackbox",)
NODE_PARAMETERS: dict[str, tuple[P, ...]] = {
    "camera_ingest": (
        *COMMON,
        *POLICY,
        ROBOT,
        P("camera", "", "the camera's name in the robot file; empty: its only one"),
        P("max_bytes", 34_000_000, "a larger image message is refused", "byte", 1, 2**31),
        P(
            "max_future",
            0.1,
            "an image stamped further ahead of the clock is refused",
            "s",
            0.0,
            10.0,
            live=True,
        ),
        P("max_age", 1.0, "an older image is refused", "s", 0.01, 60.0, live=True),
        P(
            "frozen_after",
            5.0,
            "the same image for so long is a frozen camera, and not handed on; a simulated "
            "camera without noise needs more",
            "s",
            0.1,
            3600.0,
        ),
        P(
            "black_below",
            2.0,
            "a darker mean is black; where it lasts, not handed on",
            "of 255",
            0.0,
            255.0,
        ),
        P(
            "fault_after",
            3.0,
            "no image, only bad or only black ones for so long is a vision fault",
            "s",
            0.1,
            3600.0,
            live=True,
        ),
    ),
    "command_ingest": (
        *COMMON,
        P("max_length", 200, "a longer instruction is refused", "characters", 1, 10_000, live=True),
        P(
            "max_rate",
            5.0,
            "more instructions are refused; a stop word never is",
            "Hz",
            0.1,
            1000.0,
        ),
        P("stop_words", list(STOP_WORDS), "an instruction that holds one of these words cancels"),
        P(
            "read_halting",
            True,
            "words that the reader takes for halting (whoa, stay where you are) cancel, too; the "
            "stop words do so without it",
        ),
        P(
            "halting_threshold",
            HALTING_THRESHOLD,
            "the reader's probability from which on words halt: low, for a false stop is said "
            "again, and a missed one is not",
            "of 1",
            0.1,
            1.0,
        ),
    ),
    "synchronizer": (
        *COMMON,
        P(
            "mode",
            "latched",
            "latched: an instruction holds until replaced; strict: stamps within max_skew",
            choices=MODES,
        ),
        P(
            "max_skew",
            0.1,
            "the largest difference between stamps that are paired",
            "s",
            0.0,
            10.0,
            live=True,
        ),
        P(
            "instruction_ttl",
            120.0,
            "an instruction older than this no longer holds (latched)",
            "s",
            0.1,
            86400.0,
            live=True,
        ),
        ROBOT,
        CAMERAS,
        CLOUDS,
        P(
            "state_timeout",
            0.5,
            "a number of the robot file's state that was not heard of for longer is left out",
            "s",
            0.02,
            60.0,
            live=True,
        ),
        P(
            "max_future",
            0.5,
            "an image stamped further ahead of the clock is dropped",
            "s",
            0.0,
            10.0,
            live=True,
        ),
        P(
            "buffer_time",
            0.5,
            "how much later than another camera's the images of one may arrive",
            "s",
            0.01,
            10.0,
        ),
        P(
            "buffer",
            60,
            "images of a camera kept for that at most; the oldest is dropped",
            "",
            1,
            1000,
        ),
        P(
            "fault_after",
            1.0,
            "frames and an instruction, but no pair for so long is a communication fault; and so "
            "are frames that a camera_ingest hands on and that do not arrive",
            "s",
            0.1,
            3600.0,
            live=True,
        ),
    ),
    "inference": (
        *COMMON,
        *POLICY,
        ROBOT,
        P(
            "target",
            "",
            "other values for the policy `constant`, as joint_1=0.1, joint_2=-1.2; for trying a "
            "robot channel by channel",
            live=True,
        ),
        P("warm_up", 3, "predictions made before the node is ready", "", 0, 100),
        P(
            "engine_fallbacks",
            ["eager"],
            "the engines that take over, in this order, where the policy file's cannot be had",
        ),
        P(
            "engine_cache",
            "",
            "where built engines are kept; empty: ~/.cache/vla_ros/engines; none: nowhere",
        ),
        P(
            "predict_timeout",
            3.0,
            "a prediction that takes longer hangs: an action fault",
            "s",
            0.05,
            600.0,
            live=True,
        ),
        P(
            "chunk_blending",
            "latest",
            "how the robot passes to a newer chunk: latest: at once; linear: over blend_time; "
            "temporal_ensemble: to the mean of all that cover the moment (doc/chunk_blending.md)",
            choices=BLENDINGS,
        ),
        P(
            "blend_time",
            0.2,
            "how long `linear` takes; a stop by the policy is never delayed by more",
            "s",
            0.0,
            0.5,
        ),
    ),
    "safety_validator": (
        *COMMON,
        replace(ROBOT, live=True),
        P("rate", 50.0, "commands a second", "Hz", 5.0, 500.0),
        P(
            "required_nodes",
            list(NODES[1:]),
            "nodes whose heartbeat must be fresh for the robot to move; camera_ingest stands for "
            "the node of each camera",
        ),
        CAMERAS,
        *PARAMETERS,  # the rules'
        P(
            "teleop",
            False,
            "a person's stick may take the robot over, by the rows of the node teleop",
        ),
        P(
            "auto_arm",
            False,
            "arms once by itself, for simulation only: the robot file must say simulated: true",
        ),
    ),
    "teleop": (
        *COMMON,
        ROBOT,
        P(
            "joy_deadman",
            4,
            "the gamepad's button that takes the robot and is held while it is driven, counted "
            "from 0 (on most the left shoulder's)",
            "",
            0,
            63,
        ),
        P(
            "joy_axes",
            [AUTO],
            "what the gamepad's axes move, each as channel=axis or channel=axis:scale, as "
            "linear.x=1:0.2 or joint_1=3; without a scale as fast as the robot file allows; auto: "
            "the base, by the left stick",
        ),
        P(
            "joy_buttons",
            [""],
            "the same of its buttons, as gripper=0:-0.5 and gripper=1:0.5; an empty text: none",
        ),
        P(
            "joy_deadzone",
            0.1,
            "an axis nearer to its middle is at rest",
            "of 1",
            0.0,
            0.9,
        ),
        P(
            "stick_timeout",
            0.25,
            "a stick that is silent for longer is let go; the gate's teleop_timeout holds the "
            "robot in any case",
            "s",
            0.05,
            2.0,
        ),
        STUCK_STICK_LIMIT,
    ),
    "supervisor": (
        *COMMON,
        ROBOT,
        CAMERAS,
        P(
            "nodes",
            list(NODES[:-1]),
            "the nodes to bring up, in this order; camera_ingest stands for the node of each "
            "camera of the robot file, where there is one",
        ),
        P(
            "heartbeat_timeout",
            1.0,
            "a node silent for longer is lost; the gate holds long before",
            "s",
            0.15,
            60.0,
        ),
        P(
            "transition_timeout",
            30.0,
            "a transition that takes longer has failed",
            "s",
            0.5,
            3600.0,
        ),
        P("retry_period", 1.0, "wait after a failed transition; doubles each time", "s", 0.1, 60.0),
        P("retry_period_max", 30.0, "the longest such wait", "s", 0.1, 3600.0),
        P(
            "kinds",
            [
                "camera=vision",
                "command_ingest=language",
                "inference=action",
                "synchronizer=communication",
            ],
            "the kind of fault of a node: the first entry that the node's name begins with",
        ),
        P(
            "hung_after",
            3.0,
            "a node whose process lives, but is silent for longer, is ended (SIGKILL), to be "
            "started again; 0: never",
            "s",
            0.0,
            3600.0,
        ),
        P(
            "return_timeout",
            15.0,
            "a lost node that is not back by then has failed to come back",
            "s",
            0.5,
            3600.0,
        ),
        P(
            "respawns_a_minute",
            5,
            "a node whose process starts more often is left down, and halts the robot",
            "",
            1,
            1000,
        ),
        P(
            "vision_restarts",
            len(STRATEGIES["vision"].steps),
            "a camera node is restarted so often in a row, then the robot is halted",
            "",
            1,
            100,
        ),
        *(
            P(
                f"{kind}_recovery",
                to_seconds(strategy.recovery),
                f"a {kind} fault that comes again within this calls for the next step",
                "s",
                0.1,
                3600.0,
            )
            for kind, strategy in STRATEGIES.items()
        ),
    ),
    "blackbox": (
        *(replace(each, default=10) if each.name == "nice" else each for each in COMMON),
        ROBOT,
        CAMERAS,
        P("blackbox_seconds", 120.0, "how much is kept in memory", "s", 1.0, 3600.0),
        P(
            "blackbox_megabytes",
            256.0,
            "at most so much memory: half for what is kept, the oldest goes first, and half for "
            "what is being written",
            "MB",
            1.0,
            65536.0,
        ),
        P(
            "blackbox_settle",
            30.0,
            "between two files; what happens meanwhile goes into the next one",
            "s",
            0.0,
            3600.0,
        ),
        P(
            "blackbox_files",
            10,
            "so many files of stops, faults and halts stay, and as many others; the oldest is "
            "removed",
            "",
            1,
            10_000,
        ),
        P(
            "blackbox_folder",
            "",
            "where the files go; empty: vla_blackbox in ROS_HOME, or in ~/.ros",
        ),
    ),
    "console": (
        *COMMON,
        ROBOT,
        P(
            "console_host",
            "127.0.0.1",
            "where the page is served; another address than this machine's own loopback needs "
            "token_file",
        ),
        P("console_port", 8080, "its port; 0: any that is free", "", 0, 65535),
        P(
            "token_file",
            "",
            "a file whose first line opens the page to who knows it; empty: whoever reaches "
            "console_host",
        ),
        P("image_rate", 10.0, "a camera's images a second at most", "Hz", 0.1, 30.0),
        P("image_width", 480, "a camera's images are no wider", "pixels", 64, 1920),
        P("image_quality", 70, "of their JPEG", "", 10, 95),
        P("farewell", "", "what a page says once the console has ended; empty: that it has"),
        P("max_viewers", 20, "pages that are served at a time; STOP works from any", "", 1, 200),
    ),
}
