"""The report as Markdown, and its head as plain text for the end of a night.

What it is not: HTML in disguise.  Whatever a user wrote is escaped, so that it stays a text.
"""

import re

from tildawn.watch import words
from tildawn.watch.html import environment, times_of
from tildawn.watch.lists import listings_of, needs_shown
from tildawn.watch.report import Report
from tildawn.watch.slo import sentences
from tildawn.watch.words import one_line


HEAD_LINES = 25
"""Lines of the head: they fit a terminal of the usual size."""
HEAD_NEEDS = 4

_SPECIAL = re.compile(r"([`*_{}\[\]<>()#+!|~&$-]|\\)")


def render_markdown(report: Report) -> str:
    """The report as CommonMark with tables.

    Args:
        report: any; its texts are data, never markup.

    Returns:
        Text that ends in one line feed.

    Raises:
        Nothing.
    """
    made = environment(autoescape=False)
    made.filters["md"] = escaped
    made.filters["code"] = quoted
    times = times_of(report)
    text = made.get_template("report.md.j2").render(
        r=report, t=times, w=words, listings=listings_of(report),
        levels=sentences,
        needs=needs_shown(report), blank=report.night is None and not report.runs,
    )  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escaped(text: str) -> str:
    """A text as Markdown that shows the same text, on one line.

    Raises:
        Nothing.
    """
    line = " ".join(text.split())
    if _risky(line):
        line = _SPECIAL.sub(r"\\\1", line)
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", line)


def _risky(line: str) -> bool:
    """Ordinary sentences stay as they are: a lone hyphen or bracket inside says nothing."""
    return bool(re.search(r"[\\`*_\[\]<>|~&$]|^[#+>-]|!\[", line))


def quoted(text: str) -> str:
    """A text as a code span that shows the same text, whatever ticks it holds.

    Raises:
        Nothing.
    """
    line = " ".join(text.split())
    longest = max((len(ticks) for ticks in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    gap = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{gap}{line}{gap}{fence}"


def render_head(report: Report, *, width: int = 78) -> str:
    """The head of the report as plain text, at most 25 lines.

    Args:
        report: any.
        width: characters of a line, 40 or more.

    Returns:
        Lines without colours or control characters, ending in a line feed.

    Raises:
        Nothing.
    """
    lines = [
        f"{report.headline.count} {report.headline.needs}",
        *_wrapped(report.headline.deck, width),
    ]
    lines = [*lines[:6], ""]
    lines += [
        f"  {one.runs:>6,}  {one.verdict.value.replace('-', ' ')}"
        for one in report.counts
        if one.runs
    ]
    lines.append(f"  {report.planned:>6,}  planned{'' if report.adds_up else ' (does not add up)'}")
    foot = ["", f"Ledger: {report.ledger.size:,} entries, root {report.ledger.root_short}"]
    if report.ledger.words:
        foot += _wrapped((f"Keep these twelve words: {report.ledger.words}",), width)
    room = HEAD_LINES - len(lines) - len(foot) - 1
    lines += _needs(report, width, room=room)
    lines += foot
    return "\n".join(line.replace(words.NBSP, " ").rstrip() for line in lines[:HEAD_LINES]) + "\n"


def _needs(report: Report, width: int, *, room: int) -> list[str]:
    shown = report.needs[: min(HEAD_NEEDS, max((room - 1) // 2, 0))]
    lines: list[str] = [""] if shown else []
    for need in shown:
        about = f" ({'erased' if need.about.erased else need.about.text})" if need.about else ""
        lines.append(_short(f"  {need.number}. {need.question}{about}", width))
        if need.choices:
            said = " | ".join(choice.command.rsplit(" ", 1)[-1] for choice in need.choices[1:])
            also = f" (or: {said})" if said else ""
            lines.append(_short(f"     $ {need.choices[0].command}{also}", width))
    if len(report.needs) > len(shown):
        lines.append(f"  and {len(report.needs) - len(shown):,} more: tildawn report")
    return lines


def _short(line: str, width: int) -> str:
    """The line without control characters, its indentation kept, cut at the width."""
    indent = " " * (len(line) - len(line.lstrip(" ")))
    return indent + one_line(line, longest=width - len(indent))


def _wrapped(sentences: tuple[str, ...], width: int) -> list[str]:
    lines: list[str] = []
    for word in " ".join(sentences).replace(words.NBSP, " ").split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(_short(word, width))
    return lines
