"""What is done about a fault: the table of the four kinds, and who decides which step comes next.

No ROS and no clock: integer nanoseconds of one steady clock are passed in. One step at a time,
whatever arrives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from vla_ros.core.types import to_nanoseconds, to_seconds

# So many recovery times without a fault, and a strategy starts from its first step again.
QUIET_RECOVERY_TIMES = 6
# A step that helps only for a while is taken so often in a row, then the next one comes.
REPEATS = 3
SETTLE_NS = to_nanoseconds(0.5)  # reports from before a step ended may still be on their way
# A fault that lasts is reported once a second; one silent for longer is over.
LASTING_NS = to_nanoseconds(2.0)
FOREVER_NS = 1 << 62  # longer than any clock runs


@dataclass(frozen=True)
class Step:
    """What is done about a fault.

    Attributes:
        action: restart_node (deactivate, clean up, configure, activate), notify, reset_policy or
            switch_to_fallback (the policy). Where the node was lost, it begins with waiting until
            that is back.
        says: what reaches the operator.
    """

    action: str
    says: str


@dataclass(frozen=True)
class Strategy:
    """The steps for one kind of fault, in their order; then comes a halt.

    Attributes:
        recovery: how long a step has to work, ns; a fault that comes again within it calls for the
            next step.
        growth: over 1, the next step waits until that time is over (a back-off), and each time is
            so much longer than the one before.
    """

    recovery: int
    steps: tuple[Step, ...]
    growth: float = 1.0

    def recovery_of(self, step: int) -> int:
        """ns that this step has to work; before the first (-1), as long as the first."""
        return round(self.recovery * self.growth ** max(0, step))

    def restarts(self, count: int) -> Strategy:
        """This strategy with its one step `count` times."""
        return replace(self, steps=self.steps[:1] * count)


RESTART_CAMERA = Step(
    "restart_node", "{target} is taken down and brought up again; the robot holds"
)
ASK_AGAIN = Step("notify", "say the instruction again")
RESET_POLICY = Step("reset_policy", "the policy is reset")
FALL_BACK = Step("switch_to_fallback", "the fallback policy takes over, where one is configured")
RESTART = Step("restart_node", "{target} is taken down and brought up again")

STRATEGIES: dict[str, Strategy] = {
    "vision": Strategy(to_nanoseconds(5.0), (RESTART_CAMERA,) * 3, growth=2.0),
    "language": Strategy(to_nanoseconds(3.0), (ASK_AGAIN, RESTART)),
    "action": Strategy(to_nanoseconds(10.0), (RESET_POLICY, FALL_BACK)),
    "communication": Strategy(to_nanoseconds(2.0), (FALL_BACK, RESTART)),
}
# What helps where a policy's own server is gone: no node's restart brings that back.
SERVER_LOST = (FALL_BACK, RESET_POLICY)
# A node of no kind (the gate) has no strategy: it is walked back, and halts the robot only where
# that is given up.
NO_STRATEGY = Strategy(to_nanoseconds(2.0), ())


@dataclass(frozen=True)
class Order:
    """What to do now, and the words for the operator.

    The actions `halt` and `clear` are done as soon as they are said; any other is under way until
    `done` or `failed` is called.
    """

    action: str
    kind: str
    target: str
    says: str


@dataclass
class Case:
    """One kind of fault of one node. Times in steady ns."""

    kind: str
    target: str  # the node
    strategy: Strategy
    step: int = -1  # the last one carried out; -1: none
    repeats: int = 0  # how often in a row it was carried out again
    ended: int = -FOREVER_NS  # when the last step ended
    last: int = -FOREVER_NS  # when the fault was last reported
    fault: str = ""  # what was reported
    reason: str = ""  # that, and why the last step could not be carried out
    wanted: int | None = None  # the step that the pending fault calls for
    sure: bool = False  # the pending step is taken even where the fault is silent by now
    halted: bool = False

    def after(self, now: int) -> int:
        """The step that a fault at `now` calls for."""
        recovery = self.strategy.recovery_of(self.step)
        if now - max(self.ended, self.last) >= QUIET_RECOVERY_TIMES * recovery:
            self.step = -1
            self.repeats = 0
        again = self.step >= 0 and now - self.ended > recovery and self.repeats + 1 < REPEATS
        return self.step if again else self.step + 1

    def due(self) -> int:
        """When the pending step may be taken."""
        backs_off = self.strategy.growth > 1.0 and self.step >= 0
        return self.ended + self.strategy.recovery_of(self.step) if backs_off else -FOREVER_NS


@dataclass
class Faults:
    """`report` what happens, ask `next` what to do, and say `done` or `failed`.

    Attributes:
        nodes: name -> the kind of its faults; "": it has no strategy.
        counts: kind -> how many faults there were.
        under_way: the case whose step is being carried out.
    """

    nodes: Mapping[str, str]
    strategies: Mapping[str, Strategy] = field(default_factory=lambda: STRATEGIES)

    def __post_init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.under_way: Case | None = None
        self._cases: dict[tuple[str, str], Case] = {}  # by node and kind
        for name, kind in self.nodes.items():
            self._cases[name, kind] = Case(kind, name, self.strategies.get(kind, NO_STRATEGY))
            if kind == "action":
                strategy = replace(self.strategies["communication"], steps=SERVER_LOST)
                self._cases[name, "communication"] = Case("communication", name, strategy)

    @property
    def cases(self) -> Iterable[Case]:
        return self._cases.values()

    def target(self, kind: str, reporter: str) -> str:
        """The node that a fault is mended at: the reporter, or the first of that kind.

        Raises:
            ValueError: there is no such kind, or no node of it.
        """
        if kind not in self.strategies:
            raise ValueError(
                f"fault kind '{kind[:40]}' is not known; use one of {', '.join(self.strategies)}"
            )
        if (reporter, kind) in self._cases:
            return reporter
        for name, known in self.nodes.items():
            if known == kind:
                return name
        raise ValueError(
            f"'{reporter[:40]}' reports a fault of kind '{kind}', but no node here is of that kind"
        )

    def report(self, target: str, sentence: str, now: int, kind: str = "") -> None:
        """A fault of `kind` (default: `target`'s own), at `now` (steady ns), as often as it lasts.

        It changes nothing while something is done about it.
        """
        case = self._cases[target, kind or self.nodes[target]]
        attended = case is self.under_way or case.halted or case.wanted is not None
        if not attended and now >= case.ended + SETTLE_NS:
            case.wanted = case.after(now)
            case.sure = False
            case.fault = sentence
            case.reason = sentence
            self.counts[case.kind] += 1
        case.last = now

    def still(self, target: str, now: int) -> None:
        """The cause of a halt lasts, though nobody reports it: its node is not active."""
        for case in self.cases:
            if case.target == target and case.halted:
                case.last = now

    def give_up(self, target: str, sentence: str, now: int) -> None:
        """Straight to the halt, whatever is under way for this node."""
        case = self._cases[target, self.nodes[target]]
        if case.halted:
            case.last = now
            return
        if case is self.under_way:
            self.under_way = None
        case.wanted = len(case.strategy.steps)  # the step after the last one: the halt
        case.sure = True
        case.last = now
        case.fault = case.reason = sentence
        case.ended = -FOREVER_NS  # at once: no back-off

    def next(self, now: int) -> Order | None:
        """What to do now; None: nothing. Call it often."""
        # A halt ends, or begins, whatever else is under way; of steps there is one at a time.
        for case in self.cases:
            if case.halted and now - case.last >= case.strategy.recovery:
                return self._clear(case)
        for case in self.cases:
            last = len(case.strategy.steps)
            if case.wanted is not None and case.wanted >= last and self._ripe(case, now):
                return self._halt(case, now)
        if self.under_way:
            return None
        ripe = [case for case in self.cases if case.wanted is not None and self._ripe(case, now)]
        if not ripe:
            return None
        return self._begin(min(ripe, key=lambda case: case.ended))  # what has waited longest

    def done(self, now: int) -> None:
        """The step under way was carried out."""
        if self.under_way:
            self.under_way.ended = now
            self.under_way = None

    def failed(self, why: str, now: int) -> None:
        """The step under way could not be carried out: the next one, without another fault."""
        if self.under_way:
            case = self.under_way
            self.under_way = None
            case.ended = case.last = now
            case.wanted = case.step + 1
            case.sure = True
            case.reason = f"{case.fault}; {why}"

    @property
    def halt(self) -> str:
        """Why the robot is halted, in words; empty where it is not."""
        return "; ".join(self._words(case) for case in self.cases if case.halted)

    def _ripe(self, case: Case, now: int) -> bool:
        """Whether the step that the case wants may be taken now."""
        if now < case.due():
            return False
        if case.due() > -FOREVER_NS and not case.sure and now - case.last > LASTING_NS:
            case.wanted = None  # it went away while the back-off lasted
            return False
        return True

    def _begin(self, case: Case) -> Order:
        assert case.wanted is not None
        case.repeats = case.repeats + 1 if case.wanted == case.step else 0
        case.step = case.wanted
        case.wanted = None
        self.under_way = case
        step = case.strategy.steps[case.step]
        count = len(case.strategy.steps)
        does = step.says.format(target=case.target)
        words = f"{self._words(case)}. Step {case.step + 1} of {count}: {does}"
        return Order(step.action, case.kind, case.target, words)

    def _halt(self, case: Case, now: int) -> Order:
        if case is self.under_way:
            self.under_way = None
        case.halted = True
        case.wanted = None
        case.last = max(case.last, now)
        return Order("halt", case.kind, case.target, f"the robot is halted: {self._words(case)}")

    def _clear(self, case: Case) -> Order:
        case.halted = False
        case.step = -1
        case.repeats = 0
        case.wanted = None
        seconds = to_seconds(case.strategy.recovery)
        words = f"{case.target} has been well for {seconds:g} s; the gate may be reset, by a person"
        return Order("clear", case.kind, case.target, words)

    @staticmethod
    def _words(case: Case) -> str:
        return f"{case.kind} fault: {case.reason}" if case.kind else case.reason
