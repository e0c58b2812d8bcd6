"""The report as one HTML file: it asks for nothing, and it shows texts as texts."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from tildawn.facts.night import EffectObserved, NightStopped
from tildawn.watch.html import render_html
from tildawn.watch.markdown import render_head, render_markdown


NASTY = {
    "a script": "<script>alert(1)</script>",
    "an attribute": '"><img src=x onerror=alert(1)>',
    "an entity": "&lt;b&gt; &amp; &#60;",
    "a template": "{{ 7 * 7 }}{% raw %}",
    "right to left": "\u202egnp.exe \u0645\u0631\u062d\u0628\u0627",
    "an emoji": "👩\u200d🍳 cups ☕",
    "markdown": "[x](javascript:alert(1)) `tick` ``two`` | cell\n# head\n- item",
    "ten kilobytes": "x" * 10_240,
    "control characters": "a\x00b\x1b[31mred\x07",
}
VOID = {"meta", "br", "wbr", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """What is in a document: tags with attributes, ids, links, texts, and what was left open."""

    def __init__(self, html: str) -> None:
        """Read it."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.wrong: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        """Remember it."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """A drawing's tag that closes itself."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        """Must close what is open."""
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        """Remember it."""
        self.texts.append(data)

    @property
    def ids(self):
        """Every id, in order."""
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]


def kinds(markdown: str) -> list[str]:
    """The kinds of everything in a Markdown text."""
    tokens = MarkdownIt().enable("table").parse(markdown)
    return [one.type for token in tokens for one in (token, *(token.children or []))]


@pytest.fixture(params=["good", "bad", "shop"])
def page(request):
    """The pages of a good night, a bad one and an empty house."""
    return Page(render_html(request.getfixturevalue(request.param).report()))


def test_the_file_asks_for_nothing_and_runs_nothing(page):
    """It is opened from mails and disks, where it must neither call home nor act."""
    names = {tag for tag, _ in page.tags}
    attributes = {name for _, attrs in page.tags for name in attrs}
    targets = [v for _, attrs in page.tags for k, v in attrs.items() if k in {"href", "src"}]

    assert not names & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not {name for name in attributes if name.startswith("on") or name == "style"}
    assert all(target.startswith("#") for target in targets)


def test_the_policy_names_the_style_sheet_by_its_hash_and_allows_nothing_else(good):
    """A policy that allows more than the file needs protects less than it could."""
    html = render_html(good.report())
    css = html.split("<style>")[1].split("</style>")[0]
    expected = b64encode(sha256(css.encode()).digest()).decode()
    [policy] = [
        attrs["content"] for tag, attrs in Page(html).tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip

    assert policy == (
        f"default-src 'none'; style-src 'sha256-{expected}'; base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in css
    assert "@import" not in css


def test_every_tag_is_closed_and_every_id_is_there_once(page):
    """A browser forgives; a screen reader does not."""
    assert page.wrong == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_every_link_leads_to_something_in_the_file(page):
    """Every line stands on an entry, and the entry is there, also on paper."""
    links = {attrs["href"][1:] for _, attrs in page.tags if attrs.get("href", "").startswith("#")}

    assert links <= set(page.ids)


def test_every_drawing_that_is_no_ornament_has_a_name(page):
    """A picture that a screen reader cannot tell is missing for some readers."""
    drawn = [attrs for tag, attrs in page.tags if tag == "svg" and attrs.get("role") == "img"]

    assert all("aria-labelledby" in attrs or "aria-label" in attrs for attrs in drawn)


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
def test_what_a_user_wrote_stays_a_text_in_every_form(shop, text):
    """Titles come from a CSV file, errors from the network: neither may write the page."""
    shop.plan({"listings": 2, "sitemap": 1}, titles={"sitemap": text})
    work = shop.accept("listings", 0, label=text)
    shop.start(work)
    shop.dispatch(work, "c", route=text[:200], name=text[:200], repeat="keyed")
    shop.settle(work, "c")
    shop.fail(work, text)
    held = shop.accept("listings", 1, label=text)
    shop.hold(held, text[:90], text[:90], detail=text)
    seen = {"kind": "file", "target": text, "note": text}
    shop.say(EffectObserved(night=shop.name, item="a", what="", kind="file"), texts=(seen,))
    shop.say(NightStopped(night=shop.name, rule=text[:90]), texts=(text,))
    report = shop.report(alive=False)

    page, markdown, head = Page(render_html(report)), render_markdown(report), render_head(report)

    assert page.wrong == []
    assert not {tag for tag, _ in page.tags} & {"script", "img", "b_"}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert {"html_block", "html_inline", "link_open", "image"}.isdisjoint(kinds(markdown))
    assert kinds(markdown).count("heading_open") == len(
        re.findall(r"^##? ", markdown, re.MULTILINE)
    )
    assert all(c.isprintable() or c in "\n\u200d" for c in head)
    assert len("".join(page.texts)) < 200_000


def test_long_lists_are_cut_with_a_count_and_say_where_the_rest_is(shop):
    """A page of ten thousand lines is read by nobody; a missing line is a lie."""
    shop.plan({"listings": 1_000})
    for row in range(1_000):
        work = shop.accept("listings", row)
        shop.start(work)
        shop.fail(work, "The shop was closed.")

    html = render_html(shop.report())

    assert "and 992 more" in html
    assert html.count("1,000") >= 3
    assert len(html) < 150_000


def test_the_zone_of_the_night_is_printed_and_used(good):
    """A time without a zone is a riddle at four in the morning."""
    html = render_html(good.report())

    assert "Europe/Berlin (UTC+1)" in html
    assert '<time datetime="2026-11-12T06:30:02+01:00">06:30:02</time>' in html
