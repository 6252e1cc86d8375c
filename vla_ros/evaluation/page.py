"""report.html: one file without scripts and without anything from elsewhere."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from vla_ros.evaluation import plots
from vla_ros.evaluation.advice import share
from vla_ros.evaluation.runner import Record

FAILURES = 12  # pictures of, spread over the kinds
NOT_DRAWN = "the picture could not be drawn"
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c1c1c; }
h1 { font-size: 1.6rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
img { max-width: 100%; }
table { border-collapse: collapse; margin: .6rem 0; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #eee; }
.yes { color: #00704a; } .no { color: #b3400a; }
code { background: #f3f3f1; padding: 0 .25rem; overflow-wrap: anywhere; }
.failures { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid #e2e2e0; padding: .6rem; }
figcaption { font-size: .85rem; }
.wide { overflow-x: auto; }
"""


def page(numbers: Mapping[str, Any], records: Sequence[Record]) -> str:
    """The whole page from the report's numbers and the episodes."""
    parts = {"Aims": _aims(numbers["aims"]), "What to do": _advice(numbers["recommendations"]),
             "Done or not": _success(numbers["task_completion"]), "Words": _words(numbers),
             "Other conditions": _robustness(numbers),
             "Beside another policy": _comparison(numbers["comparison"]) if "comparison" in numbers else "",
             "Through the ROS nodes": _nodes(numbers["nodes"]) if "nodes" in numbers else "",
             "What it sees and where it looks": _frames(numbers.get("frames")),
             "Actions and time": _actions(numbers, records), "Failures": _failures(records)}
    body = "\n".join(f"<h2>{title}</h2>\n{part}" for title, part in parts.items() if part)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Evaluation</title>'
    title = f"<h1>How good is {escape(str(numbers['policy']['name']))}?</h1>"
    return (f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n'
            f"<body>\n{title}\n{_facts(numbers)}\n{body}\n</body></html>\n")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Cells are escaped."""
    def line(cells: Sequence[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(text(cell))}</{tag}>" for cell in cells) + "</tr>"

    return f'<div class="wide"><table>{line(head, "th")}{"".join(line(row, "td") for row in rows)}</table></div>'


def text(cell: Any) -> str:
    """A number with three digits, a share with its interval; – for what was not measured."""
    if cell is None:
        return "–"
    if isinstance(cell, Mapping):
        return share(cell)
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def image(what: str, draw: Callable[..., str], *data: Any) -> str:
    """What `draw` makes of the data, called `what`; a sentence where it cannot, and the page goes on."""
    try:
        return f'<img src="{draw(*data)}" alt="{escape(what)}">'
    except Exception as problem:  # plotting libraries differ between releases in more than can be listed
        return f"<p>{escape(what)}: {NOT_DRAWN} ({escape(f'{type(problem).__name__}: {problem}')}).</p>"


def _facts(numbers: Mapping[str, Any]) -> str:
    seeds, said = numbers["seeds"], numbers["versions"]
    return (f"<p>{numbers['episodes_run']} episodes in the simulator, seeds {seeds['first']} to {seeds['last']}, which "
            f"training never uses; {numbers['wall_seconds']:.0f} s. <code>{escape(numbers['command'])}</code><br>"
            + escape(", ".join(f"{name} {version}" for name, version in said.items())) + "</p>")


def _aims(aims: Sequence[Mapping[str, Any]]) -> str:
    marks = {True: '<span class="yes">yes</span>', False: '<span class="no">no</span>', None: "–"}
    rows = ""
    for one in aims:
        cells = "".join(f"<td>{escape(one[name])}</td>" for name in ("what", "wanted", "measured"))
        rows += f"<tr>{cells}<td>{marks[one['met']]}</td></tr>"
    return f"<table><tr><th></th><th>wanted</th><th>measured (95 % interval)</th><th>met</th></tr>{rows}</table>"


def _advice(advice: Sequence[str]) -> str:
    if not advice:
        return "<p>No measured number is below its threshold.</p>"
    return "<ul>" + "".join(f"<li>{escape(one)}</li>" for one in advice) + "</ul>"


def _success(found: Mapping[str, Any]) -> str:
    def rows(named: Mapping[str, Mapping[str, Any]]) -> Iterable[Sequence[Any]]:
        for name, one in named.items():
            away = one["distance"]
            near = away["near"]["rate"]
            yield name, one, away["mean"], away["median"], near, one["seconds"], one["refused"], one["gave_up"]

    if not found["all"]["trials"]:
        return "<p>Not measured.</p>"
    head = ("", "done", "distance, mean", "median", "below 0.1", "seconds when done", "words refused", "gave up")
    return (table(head, [*rows({"all": found["all"]}), *rows(found["by_split"]), *rows(found["by_kind"])])
            + "<p>Distance: metres or radians from done, 0 when done.</p>"
            + image("success by split", plots.shares, "Done, by phrasing", found["by_split"])
            + image("success by kind", plots.shares, "Done, by kind of instruction", found["by_kind"]))


def _words(numbers: Mapping[str, Any]) -> str:
    said, against = numbers["language"], numbers["counterfactuals"]
    groups, cover = said["paraphrases"], said["coverage"]
    followed = (f"{text(groups['accuracy'])} ({text(groups['low'])} to {text(groups['high'])}) of "
                f"{groups['paraphrases']} in {groups['groups']} scenes")
    covered = f"{cover['done']} of {cover['commands']} ({cover['given']} given, {cover['always']} always done)"
    lines = [("paraphrases followed", followed), ("scenes with every paraphrase followed", groups["all"]),
             ("distinct commands done", covered), ("the right object, where it acted on one", said["right_object"]),
             ("words refused", said["refused"])]
    swaps = [(f"{what}: what was meant first is still done", against[name])
             for name, what in (("swapped", "another colour said"), ("blank", "nothing said"))]
    pairs = {name: one for name, one in against.items() if one["trials"]}
    if not pairs:
        return table(("", ""), [*lines, *swaps])
    beside = {name: one["with_the_words"] for name, one in pairs.items()}
    labels = ("with other words", "with the right words")
    picture = image("counterfactuals", plots.shares, "What was meant first, done", pairs, beside, labels)
    return table(("", ""), [*lines, *swaps]) + picture


def _robustness(numbers: Mapping[str, Any]) -> str:
    found = numbers["robustness"]
    if not found["count"]:
        return "<p>Not measured.</p>"
    rows = [(name, numbers["scenarios"].get(name, ""), one, one["against_plain"]["difference"])
            for name, one in found["scenarios"].items()]
    return (table(("scenario", "what it is", "done", "against the plain room"), rows)
            + f"<p>Mean {text(found['mean'])}, spread {text(found['spread'])}; {text(found['passed'])} of the "
            "scenarios over 0.5.</p>"
            + image("success by scenario", plots.shares, "Done, by scenario", found["scenarios"]))


def _comparison(found: Mapping[str, Any]) -> str:
    out, other = "", str(found["policy"])
    for name, title in (("all_words", "All episodes"), ("understood", "Where neither refused the words")):
        tables = {"all": found[name]["all"], **found[name]["by_kind"]}
        rows = [(kind, one["ours"], one["theirs"],
                 f"{one['difference']:+.3f} ({one['low']:+.2f} to {one['high']:+.2f})")
                for kind, one in tables.items() if one["trials"]]
        out += f"<h3>{title}</h3>" + table(("", "this policy", other, "difference, paired"), rows)
    kinds = found["all_words"]["by_kind"]
    ours, theirs = ({name: one[who] for name, one in kinds.items()} for who in ("ours", "theirs"))
    return out + image("comparison", plots.shares, "Done, on the same episodes", ours, theirs, ("this policy", other))


def _nodes(found: Mapping[str, Any]) -> str:
    tables = {"all": (found["all"], found["gate"]),
              **{kind: (one, found["gate_by_kind"][kind]) for kind, one in found["by_kind"].items()}}
    rows = [(kind, one["nodes"], one["bare"], one["difference"],
             ", ".join(f"{name} {share:.2f}" for name, share in gate.items() if share >= 0.005))
            for kind, (one, gate) in tables.items() if one["trials"]]
    differ = [(f"“{one['instruction']}” ({one['kind']}, seed {one['seed']})", one["verdict"], one["bare"]["verdict"])
              for one in found["differ"]]
    spent, ended = found["latency"], f" Ended early: {found['problem']}." if found["problem"] else ""
    rates = ", ".join(f"{name} {value:.0f}" for name, value in found["rates_hz"].items())
    return (table(("", "through the nodes", "bare", "difference", "what the gate answered, shares"), rows)
            + f"<p>From the camera's stamp to the command: p50 {text(spent['p50_ms'])} ms, p99 {text(spent['p99_ms'])} "
              f"ms. Rates (Hz): {escape(rates)}. The gate stopped for good in {found['stopped']} episodes. "
              f"{found['run_again']} were run again because the machine stood still.{escape(ended)}</p>"
            + (table(("done one way only", "through the nodes", "bare"), differ) if differ else ""))


def _frames(found: Mapping[str, Any] | None) -> str:
    if not found:
        return "<p>Not measured: a policy is asked what it sees (<code>explain</code>) in the success episodes.</p>"
    seen, at, pairs = found["vision"], found["grounding"], found["alignment"]
    overlap = f"{text(seen['iou']['mean'])}, spread {text(seen['iou']['spread'])}, n = {seen['iou']['count']}"
    rows = [("objects recognised (colour and shape)", seen["objects"]), ("IoU of each object's cells", overlap),
            ("cells right, colour", seen["cell_accuracy"]["colour"]),
            ("cells right, shape", seen["cell_accuracy"]["shape"]),
            ("attention on the target in view", at["in_view"]), ("its mass there", at["in_view"]["mass"]["mean"]),
            ("attention nowhere with the target out of view", at["out_of_view"]),
            ("instruction to object", pairs["text_to_object"]), ("object to instruction", pairs["object_to_text"]),
            ("by chance", pairs["chance"])]
    counts = seen["confusion"]
    return (table((f"{found['pictures']} pictures", ""), rows)
            + image("colours", plots.confusion, "Colour of cells", counts["colour"], counts["colours"])
            + image("shapes", plots.confusion, "Shape of cells", counts["shape"], counts["shapes"]))


def _actions(numbers: Mapping[str, Any], records: Sequence[Record]) -> str:
    found, spent = numbers["actions"], numbers["timing"]
    rows = [("chunks that the gate would not refuse", found["valid"]),
            ("chunks that it would not clamp", found["within_limits"]),
            *((f"predict, {name} (ms)", spent[f"{name}_ms"]) for name in ("p50", "p95", "p99", "max"))]
    seconds = [value for one in records for value in one.predict[1:]]
    picture = image("times", plots.times, seconds) if seconds else ""
    return table((f"{found['chunks']} chunks", ""), rows) + picture


def _failures(records: Sequence[Record]) -> str:
    failed = [one for one in records if not one.done and one.episode.part == "success"]
    by_kind: dict[str, list[Record]] = {}
    for one in failed:
        by_kind.setdefault(one.episode.meant.kind, []).append(one)
    mixed = [ones[index] for index in range(len(failed)) for ones in by_kind.values() if index < len(ones)]
    if not mixed:
        return "<p>None.</p>"
    shown = "".join(_failure(one) for one in mixed[:FAILURES])
    return f"<p>{len(failed)} episodes; {min(len(failed), FAILURES)} of them:</p><div class=\"failures\">{shown}</div>"


def _failure(record: Record) -> str:
    episode = record.episode
    pictures = image("from above", plots.from_above, record)
    if record.picture is not None:
        pictures += image("the last picture", plots.last_picture, record.picture, record.explained)
    said = f"“{episode.text}” ({episode.split}, {episode.meant.kind}, seed {episode.seed})"
    return (f"<figure>{pictures}<figcaption>{escape(said)}: {escape(record.sentence)}, {record.seconds:.1f} s"
            "</figcaption></figure>")
