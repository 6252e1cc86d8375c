"""Episodes, scenarios and images in the simulator, and the whole of `vla evaluate`."""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")
pytest.importorskip("cv2", reason="color_servo needs OpenCV")
pytest.importorskip("scipy", reason="the intervals are scipy's")
pytest.importorskip("sklearn", reason="what compares labels is scikit-learn's")
pytest.importorskip("jinja2", reason="the page is a Jinja2 template")

from vla_ros.cli import evaluate
from vla_ros.cli.main import main
from vla_ros.core.types import ActionChunk, Instruction, Observation
from vla_ros.evaluation import perception, runner
from vla_ros.evaluation import plan as plans
from vla_ros.evaluation.runner import EpisodeWorker, PolicyChoice, within
from vla_ros.evaluation.scenarios import PLAIN, SCENARIOS, Scenario, blurred, choose, noised
from vla_ros.evaluation.truth import Truth, cells, cut_off
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.sim.episode import run_episode
from vla_ros.sim.scene import RGB
from vla_ros.sim.world import World
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.objects import COLOURS, SHAPES

SMALL = PolicyChoice("color_servo", {"image_size": [120, 160]}, (160, 120))
SPEC = PolicySpec(("linear.x", "angular.z"), 1, 100_000_000, {"camera": (120, 160)})


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World(0, width=160, height=120)
    try:
        world.render()
    except RuntimeError as problem:
        pytest.skip(f"neither EGL nor OSMesa draws here: {problem}")
    yield world
    world.close()


class Recorder:
    """Drives slowly forward, keeps what it was shown, and says when."""

    def __init__(self, speed: float = 0.1) -> None:
        self.seen: list[Observation] = []
        self._speed = speed

    def predict(self, observation: Observation) -> Rows:
        self.seen.append(observation)
        return np.array([[self._speed, 0.0]], np.float32)


# -- the loop
def drive(world: World, speed: float = 0.1, **options: Any) -> tuple[Recorder, Any]:
    world.data.time = 0.0
    world.reset(5)
    policy = Recorder(speed)
    return policy, run_episode(policy, world, "", 0.8, spec=SPEC, intent=Intent("turn_left", amount=1.5), **options)  # type: ignore[arg-type]


def test_a_late_chunk_moves_the_robot_later(world: World) -> None:
    travelled = {}
    for delay in (0.0, 0.08, 0.24, 0.9):
        _, outcome = drive(world, 0.4, delay=delay)
        first, last = outcome.path[0], outcome.path[-1]
        travelled[delay] = float(np.hypot(last.x - first.x, last.y - first.y))
    assert travelled[0.0] > travelled[0.08] > travelled[0.24] > 0.1 and travelled[0.9] == pytest.approx(0.0, abs=1e-4)
    assert travelled[0.0] - travelled[0.24] == pytest.approx(0.4 * 0.24, abs=0.02)


def test_dropped_images_never_reach_the_policy(world: World) -> None:
    whole, _ = drive(world)
    lost = iter([True, False] * 20)
    half, _ = drive(world, drop=lambda: next(lost))
    assert len(whole.seen) == 10 and [one.stamp for one in half.seen] == [one.stamp for one in whole.seen[1::2]]


def test_the_lens_is_before_the_policy_and_the_intent_is_judged_and_not_the_words(world: World) -> None:
    policy, outcome = drive(world, lens=lambda image: np.full_like(image, 7))
    assert all((one.images["camera"] == 7).all() for one in policy.seen)
    assert "turned" in outcome.verdict.sentence and not outcome.done


# -- scenarios
def test_the_plain_scenario_changes_nothing(world: World) -> None:
    plain = SCENARIOS[PLAIN]
    world.reset(3)
    before = world.render().copy()
    plain.prepare(world, 3)
    assert (world.render() == before).all() and plain.lens(3) is None and plain.dropper(3) is None
    assert (plain.delay, plain.objects) == (0.08, None)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != PLAIN])
def test_a_scenario_changes_what_it_says_and_nothing_else(world: World, name: str) -> None:
    scenario, plain = SCENARIOS[name], SCENARIOS[PLAIN]
    world.reset(3)
    plain.prepare(world, 3)
    before, state = world.render().copy(), world.state()
    scenario.prepare(world, 3)
    after = world.render().copy()
    assert world.state() == state  # nothing in the room has moved
    looks = name in ("dim", "bright", "other_sun", "moved_camera", "new_scenes", "stranger_scenes")
    assert ((after != before).mean() > 0.1) == looks
    assert (scenario.lens(3) is not None) == (name in ("noise", "blur"))
    assert (scenario.dropper(3) is not None) == (name == "dropped_frames")
    assert (scenario.delay != plain.delay) == (name == "latency")
    assert (scenario.objects is not None) == (name == "distractors")
    plain.prepare(world, 3)
    assert (world.render() == before).all()  # and it can be undone


def test_light_is_brighter_and_darker(world: World) -> None:
    world.reset(3)
    means = []
    for name in ("dim", PLAIN, "bright"):
        SCENARIOS[name].prepare(world, 3)
        means.append(world.render().mean())
    SCENARIOS[PLAIN].prepare(world, 3)
    assert means[0] < 0.7 * means[1] and means[2] > 1.05 * means[1]


def test_noise_and_blur_have_their_amounts() -> None:
    grey = np.full((120, 160, 3), 128, np.uint8)
    noisy = noised(grey, 20.0, np.random.default_rng(0))
    assert noisy.std() == pytest.approx(20.0, rel=0.05) and noisy.mean() == pytest.approx(128, abs=0.5)
    assert noised(grey, 0.0, np.random.default_rng(0)) is grey and blurred(grey, 0.0) is grey
    point = np.zeros((120, 160, 3), np.uint8)
    point[60, 80] = 255
    spread = blurred(point, 4.0)[..., 0].astype(float)  # 2 pixels in 160
    columns = np.arange(160) - 80.0
    assert np.sqrt((spread.sum(0) * columns**2).sum() / spread.sum()) == pytest.approx(2.0, rel=0.2)


def test_what_happens_to_the_images_is_the_same_for_the_same_seed() -> None:
    scenario = Scenario("both", noise=20.0, drop=0.5)
    grey = np.full((8, 8, 3), 128, np.uint8)
    first, again, other = (scenario.lens(seed) for seed in (1, 1, 2))
    assert first is not None and again is not None and other is not None
    assert (first(grey) == again(grey)).all() and (first(grey) != other(grey)).any()
    droppers = [scenario.dropper(seed) for seed in (1, 1)]
    drawn = [[drop() for _ in range(200)] for drop in droppers if drop is not None]
    assert drawn[0] == drawn[1] and 0.35 < np.mean(drawn[0]) < 0.65


@pytest.mark.parametrize("field, value", [("noise", -1.0), ("blur", float("nan")), ("delay", float("inf")), ("drop", 1.0)])
def test_a_scenario_that_cannot_be_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"a scenario's {field} is {value}"):
        Scenario("none", **{field: value})  # type: ignore[arg-type]


def test_names_of_scenarios() -> None:
    assert PLAIN not in choose(["all"]) and choose(["none"]) == [] and choose(["blur"]) == ["blur"]
    with pytest.raises(ValueError, match="unknown scenario 'fog'; known are: dim"):
        choose(["fog"])


# -- truth, and what a policy says it sees
def test_the_truth_s_masks_have_the_objects_colours_and_what_hides_hides(world: World) -> None:
    world.reset(3)
    SCENARIOS[PLAIN].prepare(world, 3)
    near = world.scene.objects[0]
    world.place_robot(near.x - 0.6, near.y, 0.0)
    truth = Truth(world)
    masks = truth.masks()
    image = world.render().astype(float) / 255
    truth.close()
    assert near.name in masks and masks[near.name].sum() > 30
    for name, mask in masks.items():
        wanted = np.array(RGB[name.split(" ")[0]])
        shown = image[mask].mean(0)
        assert float(shown @ wanted / np.linalg.norm(shown) / np.linalg.norm(wanted)) > 0.93, name
    assert sum(mask.astype(int) for mask in masks.values()).max() == 1  # type: ignore[union-attr]
    found = cells({near.name: masks[near.name]}, (15, 20), (120, 160), "pad")[near.name]
    rows, columns = np.nonzero(masks[near.name])
    assert found[int(rows.mean()) // 8, int(columns.mean()) // 8] and found.sum() <= 16


def test_cut_off_is_at_the_edge() -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:5] = True
    assert not cut_off(mask)
    for edge in ((0, 2), (3, 2), (1, 0), (1, 5)):
        touching = mask.copy()
        touching[edge] = True
        assert cut_off(touching)


class Seer:
    """Explains an image by the truth; `blind` attends nowhere and sees nothing, `fixed` always attends to one object."""

    def __init__(self, where: dict[str, np.ndarray], mode: str = "") -> None:
        self._where, self._mode = where, mode

    def explain(self, observation: Observation) -> dict[str, Any]:
        attention, colour, shape = np.zeros((15, 20)), np.full((15, 20), 6), np.full((15, 20), 3)
        if self._mode == "blind":
            return {"attention": attention, "nowhere": 1.0, "cell_colour": colour, "cell_shape": shape}
        for name, mask in self._where.items():
            colour[mask], shape[mask] = list(COLOURS).index(name.split()[0]), SHAPES.index(name.split()[1])
        name = next(iter(self._where)) if self._mode == "fixed" else observation.instruction.text.removeprefix("go to the ")
        mask = self._where.get(name, np.zeros((15, 20), bool))
        attention[mask] = 1.0 / max(mask.sum(), 1)
        return {"attention": attention, "nowhere": 0.0 if mask.any() else 1.0, "cell_colour": colour, "cell_shape": shape}


def looked(world: World, mode: str, target: str | None) -> dict[str, Any]:
    truth = Truth(world)
    where = {name: mask for name, mask in cells(truth.masks(), (15, 20), (120, 160), "pad").items() if mask.any()}
    name = target or next(iter(where))
    colour, shape = name.split()
    observation = Observation(0, Instruction(0, 1, f"go to the {name}"), {"front": world.render()})
    found = perception.look(Seer(where, mode), observation, truth, SPEC, Intent("go_to", colour, shape))
    truth.close()
    return found


def test_who_sees_all_is_right_and_who_sees_nothing_is_not(world: World) -> None:
    world.reset(8)
    SCENARIOS[PLAIN].prepare(world, 8)
    world.place_robot(-1.5, -1.5, 0.78)  # most of the room in view
    found = {mode: perception.summarise([looked(world, mode, None), looked(world, mode, "red robot")]) for mode in ("", "blind", "fixed")}
    best, blind, fixed = found[""], found["blind"], found["fixed"]
    assert best is not None and blind is not None and fixed is not None
    assert best["vision"]["objects"]["trials"] >= 4 and best["vision"]["object_accuracy"] == 1.0 and best["vision"]["iou"]["mean"] == 1.0
    assert best["vision"]["balanced_cell_accuracy"]["colour"] == 1.0
    assert blind["vision"]["object_accuracy"] == 0.0 and blind["vision"]["iou"]["mean"] == 0.0
    assert best["grounding"]["in_view"]["rate"] == 1.0 and best["grounding"]["out_of_view"]["rate"] == 1.0
    assert blind["grounding"]["in_view"]["rate"] == 0.0 and blind["grounding"]["out_of_view"]["rate"] == 1.0
    assert fixed["grounding"]["out_of_view"]["rate"] == 0.0
    pairs = best["alignment"]["text_to_object"]
    assert pairs["rate"] == 1.0 and best["alignment"]["object_to_text"]["rate"] == 1.0 and pairs["trials"] >= 4
    assert blind["alignment"]["text_to_object"]["rate"] == 0.0
    assert fixed["alignment"]["text_to_object"]["rate"] == pytest.approx(fixed["alignment"]["chance"])
    assert fixed["alignment"]["object_to_text"]["rate"] == 0.0  # a tie is a miss
    assert perception.summarise([]) is None


# -- episodes
@pytest.mark.parametrize("value, bounds, limits", [
    (0.3, True, True), (0.5, True, True), (0.51, True, False), (1.0, True, False), (1.01, False, False), (-1.01, False, False),
    (float("nan"), False, False), (float("inf"), False, False),
])
def test_a_chunk_is_valid_within_the_bounds(value: float, bounds: bool, limits: bool) -> None:
    chunk = ActionChunk(0, 1, ("linear.x", "gripper"), np.array([[0.0, 0.5], [value, 0.5]], np.float32), 1)
    assert (within(chunk, runner.bounds()), within(chunk, runner.limits())) == (bounds, limits)


@pytest.mark.parametrize("value, fine", [(1.0, True), (1.09, True), (1.11, False), (-0.09, True), (-0.11, False)])
def test_a_gripper_may_be_clamped_to_its_ends(value: float, fine: bool) -> None:
    chunk = ActionChunk(0, 1, ("gripper",), np.array([[value]], np.float32), 1)
    assert within(chunk, runner.bounds()) == within(chunk, runner.limits()) == fine


def test_results_depend_neither_on_the_number_of_workers_nor_on_the_order() -> None:
    plan = plans.success(4, ("known",), ("close", "go_to", "turn_left", "open"))
    plan = [one if one.meant.kind != "go_to" else replace(one, text=f"go to the {one.meant.target}") for one in plan]
    told: list[int] = []

    def essence(records: list[runner.Record]) -> list[Any]:
        return [(one.episode.number, one.done, one.distance, one.seconds, one.sentence, one.path, one.end) for one in records]

    one, two = (essence(runner.run(plan, SMALL, jobs, lambda record: told.append(record.episode.number))) for jobs in (1, 2))
    assert one == two and sorted(told) == [0, 0, 1, 1, 2, 2, 3, 3]
    turned = essence(runner.run(plan[::-1], SMALL, 1))
    assert turned[::-1] == one


@pytest.mark.parametrize("calls, refused, gave_up", [(0, True, False), (2, False, True)])
def test_words_refused_are_not_a_search_given_up(world: World, calls: int, refused: bool, gave_up: bool) -> None:
    class Quitter(Recorder):
        def predict(self, observation: Observation) -> Rows:
            if len(self.seen) == calls:
                raise NotUnderstood("enough")
            return super().predict(observation)

    world.reset(5)
    outcome = run_episode(Quitter(), world, "turn left", 0.8, spec=SPEC)  # type: ignore[arg-type]
    assert not outcome.done and (runner.refused(outcome), runner.gave_up(outcome)) == (refused, gave_up)


def test_open_and_stop_are_not_done_before_they_begin() -> None:
    worker = EpisodeWorker(SMALL)
    opened, stopped = (worker.run(replace(one, text=text)) for one, text in
                       zip(plans.success(2, ("known",), ("open", "stop")), ("open the gripper", "stop")))
    with pytest.raises(RuntimeError, match="done before it begins"):
        worker.run(replace(stopped.episode, meant=Intent("forward", amount=0.0)))
    worker.close()
    assert opened.start.opening < 0.02 and opened.end.opening > 0.08 and opened.done
    assert stopped.start.linear > 0.2 and stopped.done


# -- the whole
def test_four_episodes_end_to_end_write_the_three_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "report"
    code = main(["evaluate", "--policy", "color_servo", "--episodes", "4", "--splits", "known", "--kinds", "face", "turn_left",
                 "--parts", "success", "counterfactuals", "scenarios", "--scenarios", "blur", "--camera", "160x120", "--jobs", "1", "--out", str(out)])
    assert code == 0 and "report.html" in capsys.readouterr().out
    numbers = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert numbers["task_completion"]["all"]["trials"] == 4 and len(numbers["episodes"]) == numbers["episodes_run"]
    assert numbers["policy"]["name"].startswith("color_servo@") and numbers["seeds"]["first"] >= 1_000_000
    assert numbers["counterfactuals"]["blank"]["rate"] == 0.0 and numbers["robustness"]["count"] == 1
    assert numbers["actions"]["valid"] == 1.0 and numbers["frames"] is None
    done = [one["done"] for one in numbers["episodes"] if one["part"] == "success"]
    assert sum(done) == numbers["task_completion"]["all"]["successes"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") >= 4 and "http" not in page and "src=\"data:image/png;base64," in page
    assert "at least 0.97" in (out / "table.md").read_text(encoding="utf-8")


class DegreesPolicy:
    """Knows the robot by other names and units, and turns towards the brighter half of its image."""

    name = "degrees@1"

    @classmethod
    def spec(cls, options: Any) -> PolicySpec:
        return PolicySpec(("spin", "ahead"), 1, 100_000_000, {"eye": (24, 32)}, state=("heading",), units={"heading": "deg", "spin": "deg"})

    def __init__(self, options: Any) -> None:
        self.headings: list[float] = []

    def predict(self, observation: Observation) -> Rows:
        assert observation.images["eye"].shape == (24, 32, 3) and set(observation.images) == {"eye"}
        self.headings.append(observation.state["heading"])
        return np.array([[45.0, 0.0]])

    def reset(self) -> None:
        self.headings.clear()


FILE = """
policy: test_evaluation_run:DegreesPolicy
images: {eye: {camera: camera}}
state: [{name: heading, from: odom.yaw, unit: deg}]
actions: [{name: spin, to: angular.z, unit: deg, kind: velocity}, {name: ahead, to: linear.x}]
"""


def test_a_policy_file_says_what_feeds_the_policy_and_what_its_rows_are(world: World, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(FILE)
    player = PolicyChoice("unused", camera=(160, 120), file=str(tmp_path / "policy.yaml"))
    runner.check(player)
    spec, make = player.prepare()
    assert spec.channels == ("angular.z", "linear.x") and spec.images == {"camera": (24, 32)}
    policy: Any = make()
    world.reset(0)
    outcome = run_episode(policy, world, "turn left", 2.5, spec=spec)
    headings = policy._policy.headings
    turned = np.rad2deg(outcome.path[-1].yaw - outcome.path[0].yaw)
    assert policy.name == "degrees@1" and headings[0] == pytest.approx(np.rad2deg(outcome.path[0].yaw), abs=0.5)
    assert headings[-1] - headings[0] == pytest.approx(turned, abs=15) and turned > 45


@pytest.mark.parametrize(("text", "sentence"), [
    (FILE.replace("camera: camera", "camera: wrist"), "the policy looks through wrist of 24 x 32"),
    (FILE.replace("to: angular.z", "to: joint_9"), "commands 'joint_9', but robot 'sim' obeys"),
    (FILE.replace("images: {eye: {camera: camera}}", ""), "the policy looks through eye of 24 x 32")])
def test_a_policy_file_that_does_not_fit_the_simulated_robot_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        runner.check(PolicyChoice("unused", file=str(tmp_path / "policy.yaml")))


@pytest.mark.parametrize("words, sentence", [
    (["--policy", "tarot"], "unknown policy 'tarot'; known are: builtin"),
    (["--against", "tarot"], "unknown policy 'tarot'"),
    (["--episodes", "0"], "episodes is 0; run at least 1"),
    (["--splits", "new"], "unknown split 'new'"),
    (["--kinds", "fly"], "unknown kind 'fly'"),
    (["--scenarios", "fog"], "unknown scenario 'fog'"),
    (["--parts", "all"], "unknown part 'all'; known are: success"),
    (["--seed", "12"], "training uses the seeds below 1000000"),
    (["--camera", "big"], "camera is 'big'; give width x height"),
    (["--nodes", "0"], "nodes is 0; give at least 1, or no number for all"),
    (["--nodes", "--parts", "scenarios"], "and the plan has none; add success to --parts"),
    (["--nodes", "--camera", "32x32"], "camera is 32x32; the simulator's node takes 64x48"),
    (["--jobs", "0"], "jobs is 0; give at least 1"),
    (["--checkpoint", "/nowhere"], "has no option 'checkpoint'"),
    (["--say", "turn left", "--kinds", "face"], "say stands beside splits, kinds, parts or scenarios"),
    (["--say", "fly"], "'fly'"),
    (["--against", "nowhere.yaml"], "policy file 'nowhere.yaml' does not exist"),
    (["--policy", "builtin", "--policy-file", "nowhere.yaml"], "policy-file and policy are both given"),
    (["--splits", "pairs"], "and the plan has none; add it to --splits"),
    (["--out", __file__], "which is a file; name a folder"),
])
def test_bad_arguments_are_refused_with_a_sentence_before_anything_runs(
        words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(*rest: Any) -> list[runner.Record]:
        raise AssertionError("an episode was run")

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *(["--policy", "color_servo"] if "--policy" not in words else []), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())  # nothing is written either


@pytest.mark.parametrize("module", evaluate.NEEDED)
def test_a_missing_library_is_a_sentence_before_anything_runs(
        module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "find_spec", lambda name: None if name == module else find_spec(name))
    assert main(["evaluate", "--policy", "color_servo", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        f"vla: 'evaluate' needs the Python module {module}, which is not here; install it\n")
    assert not (tmp_path / "out").exists()


def test_quick_is_short_and_every_part_has_its_number() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    evaluate.arguments(parser)
    plan = evaluate.make_plan(parser.parse_args(["--quick"]))
    assert sum(one.part == "success" for one in plan) == evaluate.QUICK_EPISODES and len(plan) < 3 * evaluate.QUICK_EPISODES
    assert len({one.number for one in plan}) == len(plan)
    whole = evaluate.make_plan(parser.parse_args([]))
    assert sum(one.part == "success" for one in whole) == 600 and {one.scenario for one in whole} == set(SCENARIOS)
    assert sum(one.part == "swapped" for one in whole) == sum(one.part == "blank" for one in whole) == 120




def test_an_earlier_report_is_kept_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    evaluate.keep_earlier(out)  # there is none
    out.mkdir()
    (out / "film.mp4").write_text("no report, not ours to move")
    evaluate.keep_earlier(out)
    assert out.is_dir() and not capsys.readouterr().out
    (out / "report.json").write_text("{}")
    monkeypatch.chdir(out)
    with pytest.raises(ValueError, match="out is this folder, and holds an earlier report"):
        evaluate.keep_earlier(Path("."))
    monkeypatch.chdir(tmp_path)
    evaluate.keep_earlier(Path("out"))
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("out-20") and {path.name for path in kept.iterdir()} == {"film.mp4", "report.json"}
    assert str(kept) in capsys.readouterr().out
    out.mkdir()
    (kept / "report.json").rename(out / "report.json")  # of the same second
    with pytest.raises(ValueError, match="which exists"):
        evaluate.keep_earlier(out)
