"""The report as one HTML file: no script, no outside request, everything escaped.

What it is not: a page of the dashboard.  It opens from a mail, a disk or paper.
"""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from tildawn.watch import words
from tildawn.watch.lists import BOXES_MAX, listings_of, needs_shown
from tildawn.watch.report import Report
from tildawn.watch.slo import sentences
from tildawn.watch.strip import drawing_of
from tildawn.watch.words import Times


def render_html(report: Report) -> str:
    """The report as a whole document.

    Args:
        report: any; its texts are data, never markup.

    Returns:
        HTML that allows itself nothing but its own style sheet.

    Raises:
        Nothing.
    """
    times = times_of(report)
    css = template("report.css")
    policy = (
        f"default-src 'none'; style-src 'sha256-{_hash(css)}'; base-uri 'none'; form-action 'none'"
    )
    page = environment(autoescape=True).get_template("report.html.j2")
    return page.render(
        r=report,
        t=times,
        w=words,
        css=Markup(css),  # noqa: S704  # our own style sheet, which the policy names by its hash
        marks=Markup(template("marks.svg")),  # noqa: S704  # our own drawing
        policy=policy,
        drawing=drawing_of(report, times),
        listings=listings_of(report),
        needs=needs_shown(report),
        blank=report.night is None and not report.runs,
        boxes=len(report.needs) <= BOXES_MAX,
        levels=sentences,
        quoted=frozenset(entry.seq for entry in report.entries),
        decimals=max((words.decimals_of(line.micro_usd) for line in report.money.lines), default=2),
    )


def times_of(report: Report) -> Times:
    """The clock of a report: the zone of its night, over the span of its strip.

    Raises:
        Nothing.
    """
    return Times(report.zone, begins_at=report.strip.begins_at, ends_at=report.strip.ends_at)


def environment(*, autoescape: bool) -> Environment:
    """Templates of this package: an unknown name is an error, blocks leave no blank lines.

    Raises:
        Nothing.
    """
    return Environment(
        loader=FunctionLoader(template),
        autoescape=autoescape,  # noqa: S701  # Markdown has its own filter; HTML always says True
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )


def template(name: str) -> str:
    """The text of a file that is shipped beside this module.

    Raises:
        FileNotFoundError: no such file is shipped.
    """
    return files("tildawn.watch").joinpath("templates", name).read_text("utf-8")


def _hash(css: str) -> str:
    return b64encode(sha256(css.encode()).digest()).decode("ascii")
