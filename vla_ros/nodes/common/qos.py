"""The kinds of connection in the suite. Both ends of a topic take theirs from here."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

# A camera or lidar: the newest, and never wait for a lost one.
SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# What the robot says of itself: matches drivers that publish reliably and those that do not.
STATE = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# Joint states: several publishers share the topic, and none may push out another's before it is
# read. Two drivers at 1 kHz fill 40 places in a period of the gate; a reader that is held up loses
# the oldest.
JOINTS = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
# Images between our own nodes: the newest wins as well, and no acknowledgement is worth waiting
# for.
IMAGES = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# Actions and robot commands: the newest wins, none is lost on the way.
LATEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
# What a late joiner must know as well: the instruction that holds.
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# Each halt latches, also one that is taken back before the gate looks: more are kept than the
# supervisor says at once.
HALTS = QoSProfile(
    depth=200, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# Heartbeats of all nodes on one topic: none may push out another's.
PULSE = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
# What arrives on one of the gate's own outputs, its own commands among it, read twice a second.
HEARD = QoSProfile(depth=500, reliability=ReliabilityPolicy.BEST_EFFORT)
# Each one counts: words, requests, reports.
EVENTS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
# An operator's words, from publishers that are reliable and from those that are not: the first are
# heard by both (core/instructions.py: Echoes).
WORDS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
WORDS_LOOSE = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
# What is said to the operator: who joins late and asks for it (transient local) hears the last ones
# too.
FEEDBACK = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# The stop button: what comes in while the gate is busy is read at once, a press among it. So many
# releases, 3000 a second, need 0.3 s to push it out; a gate that is held up for longer latches.
BUTTON = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
BUTTON_LOOSE = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
# What the gate does, read ten times a second while a goal of RunPolicy runs: the next report says
# it again, and no acknowledgement is to keep the gate busy.
WATCHED = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
# /diagnostics of a whole robot, read now and then.
REPORTS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
