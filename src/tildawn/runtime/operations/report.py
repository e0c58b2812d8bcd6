"""The morning report of a night, in the form that is asked for.

What it is not: the judgement; `tildawn.watch` makes that from the ledger alone.
"""

from enum import StrEnum

import msgspec

from tildawn.ledger.layout import Layout
from tildawn.projections.house import EpochRow
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.house import holding
from tildawn.runtime.version import BUILD
from tildawn.watch.build import build_report
from tildawn.watch.report import Report, headline, render_json


class Form(StrEnum):
    """How a report is written."""

    HTML = "html"
    JSON = "json"
    MARKDOWN = "markdown"


class ReportInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A night's number or name, empty for the latest."""

    night: str = ""
    form: Form = Form.MARKDOWN


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """The report as text, and its headline."""

    headline: str
    form: Form
    text: str


async def _report(desk: Desk, given: ReportInput) -> Reported:
    house = desk.house
    with house.ledger.read() as reader:
        epoch = reader.get(EpochRow, reader.head().epoch)
        held = epoch is not None and epoch.laid < 0 and holding(Layout(house.folder)) != 0
        report = build_report(
            reader, night=given.night or None, now=desk.clock.wall(), alive=held, build=BUILD,
            zone=house.settings.house.zone,
        )  # fmt: skip
    return Reported(headline=headline(report), form=given.form, text=_text(report, given.form))


def _text(report: Report, form: Form) -> str:
    if form is Form.JSON:
        return render_json(report).decode()
    if form is Form.HTML:
        from tildawn.watch.html import render_html  # noqa: PLC0415 - loads the templates

        return render_html(report)
    from tildawn.watch.markdown import render_markdown  # noqa: PLC0415

    return render_markdown(report)


REPORT = Operation(
    name="report", input=ReportInput, output=Reported, effect=Effect.READ,
    permission=Permission.LOOK, run=_report,
    help="Write the morning report: verified, claimed, unknown, and what needs you.",
)  # fmt: skip
