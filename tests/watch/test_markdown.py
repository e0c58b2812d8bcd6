"""The report as Markdown and as the head at the end of a night."""

import os
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tildawn.watch.markdown import HEAD_LINES, escaped, quoted, render_head, render_markdown


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("night", ["good", "bad", "shop"])
def test_the_markdown_is_the_one_on_record(request, night):
    """Every sentence is read before it is shipped: change the file with the code.

    ``TILDAWN_GOLDEN=write`` writes it anew.
    """
    text = render_markdown(request.getfixturevalue(night).report(alive=night == "good"))
    masked = re.sub(r"[0-9a-f]{8}…[0-9a-f]{8}", "…", re.sub(r"[0-9a-f]{64}", "…", text))
    masked = re.sub(r"(?<=these twelve words: ).*", "…", masked)
    file = GOLDEN / f"{night}.md"
    if os.environ.get("TILDAWN_GOLDEN") == "write":
        file.write_text(masked, "utf-8")

    assert masked == file.read_text("utf-8")


@pytest.mark.parametrize("night", ["good", "bad", "shop"])
def test_the_head_fits_a_terminal(request, night):
    """It is the last thing somebody sees before closing the window."""
    report = request.getfixturevalue(night).report(alive=False)
    lines = render_head(report).splitlines()

    assert len(lines) <= HEAD_LINES
    assert all(len(line) <= 78 for line in lines)
    assert lines[0] == f"{report.headline.count} {report.headline.needs}"
    foot = " ".join(lines[-5:])
    assert report.ledger.root_short in foot
    assert foot.endswith(f"Keep these twelve words: {report.ledger.words}")
    assert len(report.ledger.words.split()) == 12


@pytest.mark.parametrize(
    "text",
    [
        "# no head",
        "a | b",
        "*x* _y_",
        "[a](b)",
        "<b>",
        "1. one",
        "- dash",
        "back\\slash",
        "~~x~~",
        "a\\.b",
    ],
)
def test_an_escaped_text_reads_as_it_was_written(text):
    """Escaping that changes the words is as wrong as none."""
    [_, inline, _] = MarkdownIt().enable(["table", "strikethrough"]).parse(escaped(text))
    shown = "".join(child.content for child in inline.children or [])

    assert shown == text
    assert {child.type for child in inline.children or []} <= {"text", "text_special"}


@pytest.mark.parametrize("text", ["plain", "`tick`", "``two``", "a ` b"])
def test_a_quoted_text_reads_as_it_was_written(text):
    """A command that is shown wrong is typed wrong."""
    [_, inline, _] = MarkdownIt().parse(quoted(text))

    assert [child.content for child in inline.children or []] == [text]
