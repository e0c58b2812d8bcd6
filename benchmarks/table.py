"""Medians, the JSON of a run, and the table of the README between its two marks.

What it is not: a choice of what is shown; the bars are.
"""

import json
import statistics
from dataclasses import asdict
from pathlib import Path

from benchmarks.bars import BARS, BREAKERS, EVERYBODY, Bar
from benchmarks.contenders.contender import TITLES
from benchmarks.machine import machine, versions
from benchmarks.rounds import Found
from benchmarks.sizes import Sizes
from benchmarks.workloads import behaviour


Marks = tuple[str, str]

TABLE: Marks = ("<!-- table: begin -->", "<!-- table: end -->")
BEHAVIOUR: Marks = ("<!-- behaviour: begin -->", "<!-- behaviour: end -->")

Number = dict[str, str | float | bool | int | None]


def numbers(found: Found) -> list[Number]:
    """Each figure of each contender: median, lowest, highest, of how many, and the command."""
    listed: list[Number] = []
    for (workload, contender), samples in sorted(found.samples.items()):
        for figure in samples[0]:
            values = [sample[figure] for sample in samples]
            middle = statistics.median(values)
            number: Number = {
                "workload": workload, "contender": contender, "figure": figure,
                "median": round(middle, 4), "lowest": round(min(values), 4),
                "highest": round(max(values), 4), "rounds": len(values),
                "command": f"python -m benchmarks --only {workload}",
            }  # fmt: skip
            bar = _bar(workload, figure)
            if contender == "tildawn" and bar is not None and bar.limit is not None:
                number |= {"bar": bar.limit, "met": bar.met(middle)}
            listed.append(number)
    return listed


def _bar(workload: str, figure: str) -> Bar | None:
    return next((bar for bar in BARS if (bar.workload, bar.figure) == (workload, figure)), None)


def result(found: Found, sizes: Sizes, when: str, before: dict[str, str | int | float]) -> str:
    """The whole run as JSON: when, on what, how large, every number and every sample."""
    samples = [
        {"workload": workload, "contender": contender, "samples": taken}
        for (workload, contender), taken in sorted(found.samples.items())
    ]
    whole = {
        "when": when, "machine": before | {"load_after": machine()["load_before"]},
        "versions": versions(), "sizes": asdict(sizes), "absent": found.absent,
        "failures": found.failures, "building": found.built, "numbers": numbers(found),
        "samples": samples,
    }  # fmt: skip
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def table(found: Found, when: str) -> str:
    """Two tables in Markdown: beside the others, and ours alone."""
    medians: dict[tuple[str, str, str], float] = {}
    for number in numbers(found):
        key = (str(number["workload"]), str(number["contender"]), str(number["figure"]))
        medians[key] = float(str(number["median"]))
    there = [one for one in EVERYBODY if any(key[1] == one for key in medians)]
    shared = {key[0] for key in medians if key[1] in EVERYBODY and key[1] != "tildawn"}
    together = [bar for bar in BARS if bar.workload in shared]
    alone = [bar for bar in BARS if bar.workload not in shared]
    versions_said = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [f"Measured {when}; {_machine()}; {versions_said}.", ""]
    lines += _rows(together, there, medians)
    lines += ["", *_rows(alone, ["tildawn"], medians)]
    lines += [f"\nNot installed, so not measured: {', '.join(found.absent)}."] * bool(found.absent)
    return "\n".join(lines)


def matrix(found: Found) -> str:
    """What breakers did when they were asked, as a table in Markdown; empty without the workload."""
    answers = {
        contender: samples[0]
        for (workload, contender), samples in found.samples.items()
        if workload == "behaviour"
    }
    there = [one for one in BREAKERS if one in answers]
    if not there:
        return ""
    head = ["what", *(TITLES[one] for one in there), "right is"]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, title in behaviour.TITLES.items():
        right = behaviour.RIGHT[name]
        cells = [
            f"**{_said(name, answers[one][name])}**"
            if answers[one][name] != right
            else _said(name, right)
            for one in there
        ]
        rows.append("| " + " | ".join([title, *cells, _said(name, right)]) + " |")
    return "\n".join(rows)


def _said(name: str, value: float) -> str:
    if name == "half":
        return f"{value:.0f}"
    return "yes" if value else "no"


def _rows(
    bars: list[Bar], contenders: list[str], medians: dict[tuple[str, str, str], float]
) -> list[str]:
    titles = [TITLES[one] for one in contenders]
    head = ["what", "bar", *titles, "met", "command"]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for bar in bars:
        values = [medians.get((bar.workload, one, bar.figure)) for one in contenders]
        if all(value is None for value in values):
            continue
        ours = medians.get((bar.workload, "tildawn", bar.figure))
        met = None if ours is None else bar.met(ours)
        cells = [
            bar.title, "" if bar.limit is None else f"{bar.sense} {_say(bar.limit)} {bar.unit}",
            *("–" if value is None else f"{_say(value)} {bar.unit}".strip() for value in values),
            {None: "", True: "yes", False: "**no**"}[met],
            f"`--only {bar.workload}`",
        ]  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _say(value: float) -> str:
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def _machine() -> str:
    one = machine()
    return f"{one['processor']}, {one['cores']} cores, {one['system']}"


def rewrite(readme: Path, text: str, marks: Marks = TABLE) -> None:
    """Put a table between its marks.

    Raises:
        ValueError: the marks are not there.
    """
    begin, end = marks
    whole = readme.read_text(encoding="utf-8")
    before, _, rest = whole.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        message = f"{readme} has no {begin} and {end}"
        raise ValueError(message)
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
