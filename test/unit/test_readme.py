"""README and the pages lead to every file, rule and verb, name none that is not there, and show code that is code."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from vla_ros.cli.main import VERBS
from vla_ros.core.robot import parse_robot
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros.safety.gate import TRANSITIONS
from vla_ros.safety.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GATE = (ROOT / "doc" / "gate.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "doc" / "reference" / "robot_file.md").read_text(encoding="utf-8")
PAGES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
         for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "doc").rglob("*.md")))}


def blocks(language: str) -> list[Any]:
    """The pages' blocks of that language, each with its page's name."""
    return [pytest.param(textwrap.dedent(block), id=f"{page} {number}")
            for page, text in PAGES.items()
            for number, (_, block) in enumerate(re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.M | re.S))]


def test_what_is_generated_is_as_the_code_says() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "doc" / "generate.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run python3 doc/generate.py"


def test_the_readme_is_read_in_one_go() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize(("number", "page"), [
    ("| ours | 6.1 | 9.6 |", "doc/measured.md"), ("| plain, ROS 2's defaults everywhere | 39.8 | 46.9 |", "doc/measured.md"),
    ("| plain, with our profile and our memory settings | 6.4 | 8.4 |", "doc/measured.md"),
    ("(0.00 to 0.04, n = 104)", "doc/evaluation.md"),
    ("(222 of 248, 0.85 to 0.93) | **0.012** (3 of 248)", "doc/words_encoders.md"),
    ("1.73 / 9.08 / 10.1 | 1.57 / 77.9 / 84.1 | 10.1 / 63.8 / 101", "doc/bench_gate.md"),
    ("| a step | 0.212 / 0.391 / 8.83 | - | 0.0056", "doc/bench_gate.md")])
def test_a_number_of_the_readme_stands_in_the_page_that_it_was_measured_for(number: str, page: str) -> None:
    assert number in PAGES[page], f"{page} was measured again: README.md's number, too"


def test_the_readme_counts_the_faults_and_their_times_as_the_page_does() -> None:
    table = PAGES["doc/standstill.md"].split("\n## ")[0]
    rows = [[cell.strip() for cell in row.split("|")] for row in table.splitlines() if row.startswith("| ")]
    stood = [row for row in rows if re.fullmatch(r"[\d.]+", row[4])]  # not the heading; not what has to go on
    worst = sorted(float(row[4]) for row in stood)
    late = [row for row in stood if float(row[4]) > float(row[5])]
    assert f"**{len(stood) - len(late)} of {len(stood)}** injected faults" in README
    assert f"half of them within {worst[(len(worst) - 1) // 2]:.2f} s" in README
    assert len(late) == 1 and late[0][1].split(",")[0] in README and f"took {late[0][4]} s" in README


def test_the_drawing_of_the_states_shows_every_transition_and_no_other() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+):", GATE, re.M))
    assert drawn == {(state.name, then.name) for (state, _), then in TRANSITIONS.items()}


def test_the_gate_s_page_has_every_rule_in_its_order_and_the_defaults_as_they_are() -> None:
    assert re.findall(r"^\| `([a-z_]+)` \|", GATE.split("## Rules")[1].split("## What stopping")[0], re.M) == [
        rule.name for rule in RULES]
    table = {parameter.name: parameter.default for parameter in NODE_PARAMETERS["safety_validator"]}
    said = {name: float(value) for name, value in re.findall(r"`(\w+)` ([\d.]+) s\b", GATE) if name in table}
    assert len(said) >= 9 and said == {name: table[name] for name in said}


def test_every_verb_is_shown_on_a_page_that_a_person_wrote() -> None:
    written = "".join(text for page, text in PAGES.items() if "/reference/" not in page)
    assert [verb for verb in VERBS if f"vla {verb}" not in written] == []


def test_every_image_and_link_is_there() -> None:
    for page, text in PAGES.items():
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
            path = (ROOT / page).parent.joinpath(target).resolve() if target else ROOT / page
            assert path.exists(), f"{page}: {target}"
            assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), f"{page}: {target}#{anchor}"


def anchors(text: str) -> set[str]:
    """Of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^( *)```.*?^\1```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_make_knows_what_the_readme_tells_to_make() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"[`\n]make ([a-z-]+)", README)) <= targets


def test_the_site_s_navigation_leads_to_every_page() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r": (\S+\.md)$", site.split("\nnav:\n")[1], re.M)
    assert sorted(named) == sorted(page.removeprefix("doc/") for page in PAGES if page.startswith("doc/"))


@pytest.mark.parametrize("block", blocks("python"))
def test_python_on_a_page_compiles(block: str) -> None:
    ast.parse(block)


@pytest.mark.parametrize("block", blocks("yaml"))
def test_yaml_on_a_page_is_what_its_reader_takes(block: str) -> None:
    data = yaml.safe_load(block)
    if not isinstance(data, dict):
        return  # an item of a list, which is read as a part of the whole
    if {"channels", "outputs"} <= set(data):
        parse_robot(data, ROOT / "config" / "robots")
    for node, section in data.items():
        if isinstance(section, dict) and "ros__parameters" in section:
            name = node.rpartition("/")[2]
            table = NODE_PARAMETERS["camera_ingest" if name.startswith("camera") else name]
            known = {parameter.name: parameter for parameter in table}
            for parameter, value in section["ros__parameters"].items():
                known[parameter].check(value)


def table_of(title: str) -> dict[str, str]:
    """Key -> default, of one part of the robot file's page."""
    part = REFERENCE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| .*? \| (.+?) \|", part, re.M))


@pytest.mark.parametrize(("title", "place"), [
    ("The file", lambda data: data), ("channels", lambda data: data["channels"]["gripper"]),
    ("outputs", lambda data: data["outputs"][0]), ("footprint", lambda data: data["footprint"]),
    ("obstacles", lambda data: data["obstacles"]), ("obstacles: sensors", lambda data: data["obstacles"]["sensors"][0])])
def test_the_robot_file_s_page_says_which_keys_are_needed(title: str, place: Any) -> None:
    listed = {key: default for key, default in table_of(title).items() if "its key in" not in default}
    assert listed
    for key, default in listed.items():
        data = yaml.safe_load((ROOT / "config" / "robots" / "sim.yaml").read_text(encoding="utf-8"))
        fields = data["channels"]["linear.x"] if "of a velocity" in default else place(data)
        fields.pop(key, None)
        if "**needed**" in default:
            with pytest.raises(ValueError, match=f"lacks {key}|needs a {key}"):
                parse_robot(data)
        else:
            parse_robot(data)
    unknown = yaml.safe_load((ROOT / "config" / "robots" / "sim.yaml").read_text(encoding="utf-8"))
    place(unknown)["nonsense"] = 1
    with pytest.raises(ValueError, match="known are") as problem:
        parse_robot(unknown)
    assert set(str(problem.value).split("known are ")[1].split(", ")) == set(listed)


def sentences(tree: ast.AST) -> list[str]:
    """Every text in a module; values that are filled in are an ellipsis."""
    return ["".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            if isinstance(node, ast.JoinedStr) else node.value
            for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
            or (isinstance(node, ast.Constant) and isinstance(node.value, str))]


def test_the_sentences_of_the_page_about_troubles_are_those_of_the_code() -> None:
    said = [text for path in (ROOT / "vla_ros").rglob("*.py") for text in sentences(ast.parse(path.read_text(encoding="utf-8")))]
    rows = [line.split(" | ")[0] for line in PAGES["doc/troubleshooting.md"].split("## Arming")[1].splitlines()
            if line.startswith("| `")]
    shown = [sentence for row in rows for sentence in re.findall(r"`([^`]+)`", row)]
    assert len(shown) >= 60
    for sentence in shown:
        parts = [re.escape(part.strip()) for part in sentence.split("…") if part.strip(" ;:,.")]
        assert any(re.search(".*".join(parts), text, re.S) for text in said), f"no code says: {sentence}"
