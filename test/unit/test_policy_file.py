"""A policy file says once what drives and through which cameras; a mistake in it gets a sentence
with its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_ros.core.check_finding import FITS
from vla_ros.core.policy_file import (
    ACTION_KEYS,
    DEFAULT_POLICY,
    HISTORY_KEYS,
    IMAGE_KEYS,
    KEYS,
    STATE_KEYS,
    History,
    ImageSource,
    PolicyFile,
    chosen_policy,
    load_policy_file,
    write_policy_file,
)
from vla_ros.core.robot import load_robot
from vla_ros.core.types import Instruction, Observation
from vla_ros.policies import file_spec, known
from vla_ros.policies.base import PolicySpec
from vla_ros.policies.check import check_policy
from vla_ros.policies.views import View, Views

CONFIG = Path(__file__).parents[2] / "config"
ALL = """
policy: my_package.wander:Wander
options: {speed: 0.2, words: [go, back]}
engine: onnxruntime
precision: fp16
fallback: careful/other.yaml
images:
  front: {camera: left, size: [224, 320], resize: crop}
  wrist: {}
rate: 30
horizon: 8
history: {observations: 2, spacing: 0.1, missing: refuse}
prompt: "{instruction}, please"
"""


def written(folder: Path, text: str, name: str = "policy.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# -- the file ------------------------------------------------------------------------------------------------
def test_every_key_is_read_and_the_fallback_is_seen_from_the_file(tmp_path: Path) -> None:
    written(tmp_path, "policy: constant", "careful/other.yaml")
    assert load_policy_file(written(tmp_path, ALL)) == PolicyFile(
        "my_package.wander:Wander",
        {"speed": 0.2, "words": ["go", "back"]},
        "onnxruntime",
        "fp16",
        PolicyFile("constant"),
        {"front": ImageSource("left", (224, 320), "crop"), "wrist": ImageSource("wrist")},
        rate=30.0,
        horizon=8,
        history=History(2, 0.1, "refuse"),
        prompt="{instruction}, please",
    )


@pytest.mark.parametrize(
    ("prompt", "words", "told"),
    [
        ("", "grab it", "grab it"),
        ("{instruction}, please", "grab it", "grab it, please"),
        ("pick up the cube", "whatever", "pick up the cube"),
        ("pick up the cube", "", ""),  # nobody said anything: the robot stands
        ("{instruction}, please", "  ", "  "),
        ("{instruction}", "{instruction} {x}", "{instruction} {x}"),
    ],
)
def test_a_prompt_stands_around_the_operators_words_or_for_them(prompt: str, words: str, told: str) -> None:
    assert PolicyFile("a", prompt=prompt).prompted(words) == told


# -- what the file says of chunks, and what the policy does --------------------------------------------------
SERVER = {"url": "ws://robot:1", "images": {"i": "i"}, "state": {"s": ["a"]}, "actions": ["a"]}


def test_every_kind_of_policy_has_its_rate_and_horizon_from_the_file() -> None:
    assert file_spec(PolicyFile("constant", rate=20.0)).step == 50_000_000
    remote = file_spec(PolicyFile("remote", {**SERVER, "rows": 10}, rate=25.0, horizon=4))
    assert (remote.step, remote.steps) == (40_000_000, 10)
    assert file_spec(PolicyFile("remote", SERVER, rate=25.0, horizon=4)).steps == 4


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (PolicyFile("remote", {**SERVER, "rows": 10}), "'remote' lacks rate of its policy file"),
        (PolicyFile("remote", {**SERVER, "rate": 5}), "rate stands in options; it belongs beside them .*rate: 5"),
        (PolicyFile("remote", {**SERVER, "horizon": 5}, rate=5.0), "horizon stands in options"),
        (PolicyFile("lerobot", {"rate": 5}), "policy 'lerobot': rate stands in options"),
        (PolicyFile("constant", horizon=2), "horizon is 2, and policy 'constant' gives 1 rows"),
        (PolicyFile("constant", history=History(2)), "observations is 2, and policy 'constant' takes 1"),
    ],
)
def test_a_file_that_contradicts_its_policy_is_refused(file: PolicyFile, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        file_spec(file)


def test_a_history_is_the_files_where_the_policy_leaves_it_open() -> None:
    spec = file_spec(PolicyFile("remote", {**SERVER, "rows": 4}, rate=10.0, history=History(3, 0.2)))
    assert (spec.history, spec.history_spacing) == (3, 200_000_000)
    blank = spec.blank()
    assert len(blank.history) == 2 and set(blank.history[0].images) == {"i"}


def test_a_policy_alone_is_enough(tmp_path: Path) -> None:
    assert load_policy_file(written(tmp_path, "policy: builtin")) == PolicyFile("builtin")


@pytest.mark.parametrize(
    "path", sorted((CONFIG / "policies").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_files_that_come_with_the_package_fit_a_simulated_robot(path: Path) -> None:
    chosen = load_policy_file(path)
    assert chosen.policy in known()
    robot = "sim_arm.yaml" if path.stem.endswith("_arm") else "sim.yaml"
    findings = check_policy(load_robot(CONFIG / "robots" / robot), chosen)
    assert [finding for finding in findings if finding.mark != FITS] == []


def test_the_page_s_example_is_one_and_its_table_has_every_key(tmp_path: Path) -> None:
    page = (CONFIG.parent / "doc" / "policy_file.md").read_text(encoding="utf-8")
    written(tmp_path, "policy: constant", "careful.yaml")
    example = load_policy_file(written(tmp_path, page.split("```yaml\n")[1].split("```")[0]))
    assert example.policy == "my_package.wander:Wander" and set(example.images) == {
        "front",
        "wrist",
    }
    table = page.split("| key | default | |")[1].split("\n\n")[0]
    keys = {*KEYS, *IMAGE_KEYS, *STATE_KEYS, *ACTION_KEYS, *HISTORY_KEYS}
    assert {key for key in keys if f"`{key}`" in table} == keys


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("options: {}", "policy is missing; give a policy's name, or module:Class"),
        ("policy: ''", "policy is missing"),
        ("policy: 7", "policy is 7; give a text"),
        (
            "policy: a\nfps: 30",
            "the file has the key 'fps'; known are policy, options, engine, precision, fallback, im",
        ),
        ("policy: a\nrate: 0", "rate is 0; it must be more than 0"),
        ("policy: a\nrate: 1001", "rate is 1001; give rows a second, 1000 at most"),
        ("policy: a\nrate: fast", "rate is 'fast'; give a finite number"),
        ("policy: a\nhorizon: 0", "horizon is 0; give the rows of a chunk that are executed, 1 to 1000"),
        ("policy: a\nhorizon: 1001", "horizon is 1001"),
        ("policy: a\nhorizon: true", "horizon is True"),
        ("policy: a\nhistory: 2", "history is 2; give a mapping"),
        ("policy: a\nhistory: {steps: 2}", "history has the key 'steps'; known are observations, sp"),
        ("policy: a\nhistory: {observations: 33}", "history: observations is 33; give the observations"),
        ("policy: a\nhistory: {spacing: 0}", "history: spacing is 0; it must be more than 0"),
        ("policy: a\nhistory: {missing: guess}", "history: missing is 'guess'; use one of repeat, refuse"),
        ("policy: a\nprompt: ''", "prompt is empty; give the policy's words"),
        ("policy: a\nprompt: 'do {task}'", "no other braces are known"),
        ("policy: a\nrate: 5\noptions: {rate: 5}", "rate stands beside options and in them"),
        ("policy: a\nhorizon: 5\noptions: {horizon: 5}", "horizon stands beside options and in them"),
        (
            "policy: a\noptions: [1]",
            r"options is [1]; give a mapping (name: value), or leave it out",
        ),
        ("policy: a\noptions:", "options is None; give a mapping"),
        ("policy: a\noptions: {7: 1}", "options has the name 7; give a text"),
        (
            "policy: a\nengine: warp",
            "engine is 'warp'; use one of auto, tensorrt_rtx, tensorrt, inductor, onnxruntime, eager",
        ),
        ("policy: a\nengine: true", "engine is True; give a text"),
        ("policy: a\nprecision: fp4", "precision is 'fp4'; use one of auto, fp32"),
        (
            "policy: a\nengine: eager\noptions: {engine: eager}",
            "engine stands beside options and in them; once is right",
        ),
        (
            "policy: a\nimages: {front: left}",
            "images.front is 'left'; give a mapping of camera, size, resize",
        ),
        (
            "policy: a\nimages: {front: {layout: chw}}",
            "images.front has the key 'layout'; known are camera, size, resize",
        ),
        ("policy: a\nimages: {7: {}}", "images has the name 7; give the policy's name of an image"),
        ("policy: a\nimages: {front: {camera: 3}}", "images.front.camera is 3; give a text"),
        (
            "policy: a\nimages: {front: {resize: zoom}}",
            "images.front.resize is 'zoom'; use one of pad, crop, stretch",
        ),
        *(
            (
                f"policy: a\nimages: {{front: {{size: {size}}}}}",
                "give [height, width] in pixels, each from 1 to 4096",
            )
            for size in (
                "224",
                "[224]",
                "[0, 224]",
                "[224, -1]",
                "[224.0, 224]",
                "[true, 224]",
                "[4097, 1]",
                "[a, b]",
            )
        ),
        (
            "policy: a\nfallback: policy.yaml",
            "this is a fallback and names one itself; one is used",
        ),
        (
            "policy: a\nfallback: nowhere.yaml",
            "nowhere.yaml' does not exist; set policy_file to one like config/policies/",
        ),
        ("policy: a\nfallback: 7", "fallback is 7; give a text"),
        ("policy: a\npolicy: b", "line 2: 'policy' is given twice"),
        ("- policy", "holds no mapping"),
        ("policy: [", "did not find expected node content"),
        ("policy: " + "x" * 300_000, "more than 262144 bytes"),
    ],
)
def test_a_mistake_gets_one_sentence_with_the_file_s_path(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError) as caught:
        load_policy_file(path)
    assert sentence in str(caught.value) and str(caught.value).startswith(
        f"policy file '{tmp_path}"
    )
    assert len(str(caught.value)) < 700 and "\n" not in str(caught.value)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write_policy_file(
        tmp_path / "policy.yaml", "a:B", options={"size": (1, 2), "name": "7", "rate": 1e-05}
    )
    assert load_policy_file(path) == PolicyFile("a:B", {"size": [1, 2], "name": "7", "rate": 1e-05})
    with pytest.raises(ValueError, match="has the key 'fps'"):
        write_policy_file(tmp_path / "policy.yaml", "a:B", fps=3)


def test_one_parameter_chooses_the_policy_or_neither_does_and_both_are_refused(
    tmp_path: Path,
) -> None:
    path = str(written(tmp_path, "policy: builtin"))
    assert chosen_policy("", "") == PolicyFile(DEFAULT_POLICY)
    assert chosen_policy("constant", "") == PolicyFile("constant") and chosen_policy(
        "", path
    ) == PolicyFile("builtin")
    with pytest.raises(
        ValueError,
        match="'policy' .'constant'. and 'policy_file' .* are both given; give one",
    ):
        chosen_policy("constant", path)
    assert DEFAULT_POLICY in known()


# -- and the policy that it names ----------------------------------------------------------------------------
def spec(images: dict[str, tuple[int, int]], **keys: Any) -> PolicySpec:
    return PolicySpec(("linear.x",), 1, 100_000_000, images, **keys)


ONE = spec({"front": (8, 12)})
TWO = spec({"front": (8, 12), "wrist": (4, 6)}, state=("joint1",))
ANY = spec({"camera": (224, 224)}, any_size=True)


def seen(state: dict[str, float] | None = None, **sizes: tuple[int, int]) -> Observation:
    images = {name: np.zeros((*size, 3), np.uint8) for name, size in sizes.items()}
    return Observation(7, Instruction(0, 1, "go"), images, {"joint1": 0.0} if state is None else state)


def test_an_image_that_the_file_does_not_name_comes_from_the_camera_of_its_name() -> None:
    views = Views(TWO, {})
    assert views.cameras == {"front": View((8, 12), "pad"), "wrist": View((4, 6), "pad")}
    assert views.of("wrist").size == (4, 6)
    assert str(views) == "front of 8 x 12 (pad), wrist of 4 x 6 (pad)"


def test_a_policy_gets_its_images_under_its_own_names_and_no_others() -> None:
    views = Views(
        TWO, {"front": ImageSource("left"), "wrist": ImageSource("front")}
    )  # no name is taken for another
    observation = seen(left=(8, 12), front=(4, 6), rear=(8, 12))
    fitted = views.fit(observation)
    assert (
        fitted.images["front"] is observation.images["left"]
        and fitted.images["wrist"] is observation.images["front"]
    )
    assert list(fitted.images) == ["front", "wrist"] and (fitted.stamp, fitted.state) == (
        7,
        {"joint1": 0.0},
    )


def test_a_camera_that_the_policy_does_not_look_through_is_refused_with_the_list() -> None:
    with pytest.raises(
        ValueError,
        match=r"looks through front of 8 x 12 \(pad\), wrist of 4 x 6 \(pad\), and this camera "
        "is 'camera'; name the camera as the policy does",
    ):
        Views(TWO, {}).of("camera")
    with pytest.raises(ValueError, match="looks through no camera, and this camera is 'camera'"):
        Views(spec({}), {}).of("camera")


def test_cameras_among_which_one_is_missing_are_refused_with_both_lists() -> None:
    Views(TWO, {}).check(["rear", "wrist", "front"])
    for cameras in ([], ["front"], ["front", "rear"]):
        with pytest.raises(
            ValueError,
            match=r"looks through front of 8 x 12 \(pad\), wrist of .*, and the cameras are "
            f"{', '.join(cameras) or 'none'}; name",
        ):
            Views(TWO, {}).check(cameras)


@pytest.mark.parametrize(
    ("sizes", "has"),
    [
        ({}, "no image"),
        ({"camera": (8, 12)}, "camera of 8 x 12"),
        ({"front": (8, 12)}, "front of 8 x 12;"),
        ({"front": (8, 12), "wrist": (8, 12)}, "front of 8 x 12, wrist of 8 x 12"),
        ({"front": (8, 12), "wrist": (6, 4)}, "front of 8 x 12, wrist of 6 x 4"),
    ],
    ids=["none", "another", "one", "size", "turned"],
)
def test_images_that_do_not_fit_are_refused_with_both_lists(
    sizes: dict[str, tuple[int, int]], has: str
) -> None:
    with pytest.raises(
        ValueError,
        match=f"looks through front of 8 x 12, wrist of 4 x 6, and the observation has {has}",
    ):
        Views(TWO, {}).fit(seen(**sizes))


def test_numbers_that_are_not_measured_are_refused_with_both_lists() -> None:
    with pytest.raises(
        ValueError, match="wants the robot's joint1, which is not measured; there are odom.x, wheel"
    ):
        Views(TWO, {}).fit(seen({"odom.x": 0.0, "wheel": 0.0}, front=(8, 12), wrist=(4, 6)))


def test_the_file_decides_the_size_where_the_policy_takes_any_and_nowhere_else() -> None:
    assert Views(ANY, {"camera": ImageSource("camera", (8, 12))}).spec.images == {"camera": (8, 12)}
    assert Views(ANY, {}).spec.images == {"camera": (224, 224)}
    assert Views(ONE, {"front": ImageSource("front", (8, 12))}).spec.images == {"front": (8, 12)}
    with pytest.raises(
        ValueError,
        match="images.front.size is 12 x 8, and the policy takes images of 8 x 12 alone; leave",
    ):
        Views(ONE, {"front": ImageSource("front", (12, 8))})


def test_a_name_that_the_policy_does_not_have_is_refused_with_its_own() -> None:
    with pytest.raises(
        ValueError,
        match="images name 'eye', and the policy looks at front of 8 x 12; give its names",
    ):
        Views(ONE, {"eye": ImageSource("front")})


def test_one_camera_serves_two_images_where_they_are_alike() -> None:
    both = {"front": ImageSource("eye"), "wrist": ImageSource("eye")}
    alike = spec({"front": (8, 12), "wrist": (8, 12)})
    assert Views(alike, both).cameras == {"eye": View((8, 12), "pad")}
    with pytest.raises(
        ValueError,
        match=r"camera 'eye' is to hand on images of 8 x 12 \(pad\) and of 4 x 6 \(pad\); start",
    ):
        Views(TWO, both)
    with pytest.raises(
        ValueError, match=r"'eye' is to hand on images of 8 x 12 \(pad\) and of 8 x 12 \(crop\)"
    ):
        Views(alike, {**both, "wrist": ImageSource("eye", resize="crop")})


DEEP = spec({"front": (8, 12)}, depths={"front": (4, 6)})


def test_depth_comes_from_the_camera_of_its_name_or_the_file_s() -> None:
    views = Views(DEEP, {"front": ImageSource("head")})
    assert views.cameras == {"head": View((8, 12), "pad")} and views.depths == {"head": View((4, 6), "pad")}
    assert str(views) == "head of 8 x 12 (pad), depth of head of 4 x 6 (pad)"
    metres = np.ones((4, 6), np.float32)
    seen_deep = replace(seen(head=(8, 12)), depths={"head": metres, "rear": metres})
    assert views.fit(seen_deep).depths["front"] is metres and list(views.fit(seen_deep).depths) == ["front"]


def test_a_camera_whose_depth_alone_is_wanted_hands_on_its_colour_of_that_size() -> None:
    views = Views(spec({}, depths={"front": (4, 6)}), {})
    assert views.cameras == views.depths == {"front": View((4, 6), "pad")}
    fitted = views.fit(replace(seen(front=(4, 6)), depths={"front": np.ones((4, 6), np.float32)}))
    assert not fitted.images and list(fitted.depths) == ["front"]


def test_depth_that_is_not_there_is_refused_with_both_lists() -> None:
    views = Views(DEEP, {})
    views.check(["front", "rear"], ["front"])
    for depths in ([], ["rear"]):
        with pytest.raises(
            ValueError,
            match="wants the depth of front, and the cameras with depth are "
            f"{', '.join(depths) or 'none'}; give the topic in the robot file",
        ):
            views.check(["front", "rear"], depths)
    colour = seen(front=(8, 12))
    for depth, has in ((None, "none"), (np.ones((8, 12), np.float32), "front of 8 x 12")):
        with pytest.raises(
            ValueError,
            match=f"wants the depth of front of 4 x 6, and the observation has the depth of {has};",
        ):
            views.fit(colour if depth is None else replace(colour, depths={"front": depth}))


def test_a_name_that_is_neither_an_image_nor_a_depth_is_refused_with_both() -> None:
    with pytest.raises(
        ValueError, match="looks at front of 8 x 12 and the depth of front of 4 x 6; give its names"
    ):
        Views(DEEP, {"eye": ImageSource("front")})


@pytest.mark.parametrize(
    ("fallback", "fits"),
    [
        (DEEP, True),
        (ONE, True),
        (spec({"front": (8, 12)}, depths={"front": (8, 12)}), False),
        (spec({"front": (8, 12)}, depths={"rear": (4, 6)}), False),
    ],
)
def test_a_fallback_gets_the_depth_that_is_handed_on(fallback: PolicySpec, fits: bool) -> None:
    policy = Views(DEEP, {})
    assert Views(fallback, {}, policy).within(policy) == fits
    assert not Views(DEEP, {}, Views(ONE, {})).within(Views(ONE, {}))


@pytest.mark.parametrize(
    ("fallback", "sources", "fits"),
    [
        (ONE, {}, True),
        (TWO, {}, True),
        (spec({"wrist": (4, 6)}), {}, True),
        (spec({}), {}, True),
        (spec({"eye": (8, 12)}), {}, False),
        (spec({"eye": (8, 12)}), {"eye": ImageSource("front")}, True),
        (spec({"front": (8, 8)}), {}, False),
        (spec({"front": (8, 12)}, resize="crop"), {}, False),
        (ANY, {}, False),
        (ANY, {"camera": ImageSource("wrist")}, True),
        (ANY, {"camera": ImageSource("wrist", (224, 224))}, False),
    ],
)
def test_a_fallback_takes_over_where_it_looks_at_what_the_cameras_hand_on(
    fallback: PolicySpec, sources: dict[str, ImageSource], fits: bool
) -> None:
    policy = Views(TWO, {})
    assert Views(fallback, sources, policy).within(policy) == fits
