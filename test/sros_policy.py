"""Reads an SROS 2 policy file with nothing but the standard library: who may do what, by full names."""
from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

SECURITY = Path(__file__).resolve().parents[1] / "config" / "security"
POLICY, SIMULATOR, COMPOSED = (SECURITY / f"{name}.xml" for name in ("policy", "simulator", "composed"))
# attribute -> the element that may carry it, and its children's tag
RIGHTS = {"publish": ("topics", "topic"), "subscribe": ("topics", "topic"),
          "reply": ("services", "service"), "request": ("services", "service")}
# An action is three services and two topics: who executes it answers and publishes, who calls it asks and hears.
ACTION_RIGHTS = {"execute": ("reply", "publish"), "call": ("request", "subscribe")}
ACTION_SERVICES, ACTION_TOPICS = ("cancel_goal", "get_result", "send_goal"), ("feedback", "status")
Enclave = dict[str, set[str]]  # right -> full names


def full_name(name: str, namespace: str, node: str) -> str:
    """As sros2's permissions.xsl makes it."""
    within = namespace.rstrip("/") + "/"
    if name.startswith("~"):
        return within + node + name[1:]
    return name if name.startswith("/") else within + name


def read_policy(*paths: Path) -> dict[str, Enclave]:
    """enclave's path -> what it may do. Anything that sros2 would read in another way fails an assertion."""
    enclaves: dict[str, Enclave] = {}
    for path in paths:
        for enclave in ET.parse(path).getroot().iterfind("enclaves/enclave"):
            rights: Enclave = {right: set() for right in RIGHTS}
            assert enclave.attrib["path"] not in enclaves, f"{enclave.attrib['path']} is there twice"
            enclaves[enclave.attrib["path"]] = rights
            for profile in enclave.iterfind("profiles/profile"):
                own: Enclave = {right: set() for right in RIGHTS}
                for group in profile:
                    _add(own, group, profile.attrib["ns"], profile.attrib["node"])
                for right, names in own.items():
                    rights[right] |= names
    return enclaves


def _add(rights: Enclave, group: ET.Element, namespace: str, node: str) -> None:
    if group.tag == "actions":
        _add_actions(rights, group, namespace, node)
        return
    assert group.attrib and set(group.attrib) <= set(RIGHTS), (group.tag, group.attrib)
    for right, value in group.attrib.items():
        tag, child = RIGHTS[right]
        assert group.tag == tag and value == "ALLOW", (group.tag, group.attrib)
        for element in group:
            assert element.tag == child, element.tag
            name = full_name((element.text or "").strip(), namespace, node)
            assert name not in rights[right], f"{node}: {right} {name} is there twice"
            rights[right].add(name)


def _add_actions(rights: Enclave, group: ET.Element, namespace: str, node: str) -> None:
    assert group.attrib and set(group.attrib) <= set(ACTION_RIGHTS), group.attrib
    for right, value in group.attrib.items():
        assert value == "ALLOW", group.attrib
        of_services, of_topics = ACTION_RIGHTS[right]
        for element in group:
            assert element.tag == "action", element.tag
            name = full_name((element.text or "").strip(), namespace, node)
            rights[of_services] |= {f"{name}/_action/{service}" for service in ACTION_SERVICES}
            rights[of_topics] |= {f"{name}/_action/{topic}" for topic in ACTION_TOPICS}


def who(enclaves: dict[str, Enclave], right: str, name: str) -> set[str]:
    """The enclaves that have `right` on `name`."""
    return {path for path, rights in enclaves.items() if name in rights[right]}
