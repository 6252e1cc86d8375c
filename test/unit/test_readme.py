"""The README leads to every file, every topic and every verb, and names none that is not there."""
import re
import subprocess
import sys
from pathlib import Path

from vla_ros.cli.main import VERBS
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros.safety.gate import TRANSITIONS
from vla_ros.safety.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GATE = (ROOT / "doc" / "gate.md").read_text(encoding="utf-8")


def test_what_is_generated_is_as_the_code_says() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "doc" / "generate.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run python3 doc/generate.py"


def test_the_drawing_of_the_states_shows_every_transition_and_no_other() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+):", README, re.M))
    assert drawn == {(state.name, then.name) for (state, _), then in TRANSITIONS.items()}


def test_every_rule_is_in_the_table_in_its_order() -> None:
    rows = re.findall(r"^\| ([a-z_]+) \|", README.split("## The gate")[1].split("## Policies")[0], re.M)
    assert rows[1:] == [rule.name for rule in RULES]


def test_the_gate_s_page_has_every_rule_in_its_order_and_the_defaults_as_they_are() -> None:
    assert re.findall(r"^\| `([a-z_]+)` \|", GATE.split("## Rules")[1].split("## What stopping")[0], re.M) == [
        rule.name for rule in RULES]
    table = {parameter.name: parameter.default for parameter in NODE_PARAMETERS["safety_validator"]}
    said = {name: float(value) for name, value in re.findall(r"`(\w+)` ([\d.]+) s\b", GATE) if name in table}
    assert len(said) >= 9 and said == {name: table[name] for name in said}


def test_every_verb_is_named() -> None:
    for verb in VERBS:
        assert f"vla {verb}" in README or f"make {verb}" in README


def test_every_image_and_link_is_there() -> None:
    for page in (ROOT / "README.md", *(ROOT / "doc").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_knows_what_the_readme_tells_to_make() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"[`\n]make ([a-z-]+)", README)) <= targets
