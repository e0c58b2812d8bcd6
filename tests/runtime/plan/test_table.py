"""CSV files as shops export them, and the rows that become runs."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadPlan
from tildawn.facts.plan import Plan, Role
from tildawn.runtime.plan import PlanRow, TableFault, compile_rows, open_table, take_snapshot


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_exports_of_other_programs_are_read_alike(encoding, delimiter):
    """Excel writes semicolons and UTF-16, and nobody knows which it was."""
    text = (
        f"sku{delimiter} title \nA{delimiter}Größe, 5\n"
        if delimiter != ","
        else "sku, title \nA,Größe 5\n"
    )
    mark = "\ufeff" if encoding in {"utf-16-le", "utf-16-be"} else ""
    table = open_table((mark + text).encode(encoding))

    assert (delimiter, ("sku", "title")) == (table.delimiter, table.columns)
    assert ["Größe, 5" if delimiter != "," else "Größe 5"] == [r.cells[1] for r in table.rows()]


def test_commas_in_a_header_between_semicolons_are_text():
    """A column may be called `price, in EUR`; only the rows tell."""
    table = open_table(b"name;price, in EUR;stock, pieces\nA;1;2\n")

    assert ("name", "price, in EUR", "stock, pieces") == table.columns


def test_a_row_knows_the_line_it_begins_in():
    """Quoted cells hold line breaks; the line of a mistake has to be right all the same."""
    table = open_table(b'sku,text\n"A","two\nlines"\n\nB,x\n')

    assert [(0, 2, ("A", "two\nlines")), (1, 5, ("B", "x"))] == [
        (row.index, row.line, row.cells) for row in table.rows()
    ]


_CELLS = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]),
    max_size=8,
)


@given(
    st.lists(st.tuples(_CELLS, _CELLS), min_size=1, max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_csv_writer_writes_is_read_back(rows, delimiter, encoding):
    """Whatever stands in the cells, delimiters and quotes included."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    table = open_table(text.getvalue().encode(encoding))

    assert rows == [row.cells for row in table.rows()]


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_table_or_a_fault_with_its_line(body):
    """Somebody will name a picture in for_each."""
    try:
        assert list(open_table(body).rows()) is not None
    except TableFault as fault:
        assert fault.line >= 1  # noqa: PT017 - the other branch is as good


ROWS = 100_000


def _many() -> bytes:
    rows = (f'S{n:06d},"Candle, no. {n}",{n % 90}.50' for n in range(ROWS))
    return ("sku,title,price\n" + "\n".join(rows) + "\n").encode()


def test_a_hundred_thousand_rows_become_runs_in_chunks_and_resume_anywhere(folder, steps):
    """An expansion that is killed in the middle goes on where it was."""
    (folder / "products.csv").write_bytes(_many())
    (folder / "plan.yaml").write_text(steps("- s: { file: { read: x } }"))
    taken = take_snapshot("plan.yaml")
    plan = taken.accepted.plan
    body = next(copy.body for copy in taken.copies if copy.source.role is Role.ROWS)
    (folder / "products.csv").unlink()

    chunks = list(compile_rows(plan, body, "a", start=99_000, chunk=400))

    assert [400, 400, 200] == [len(chunk) for chunk in chunks]
    row = {"sku": "S099000", "title": "Candle, no. 99000", "price": "0.50"}
    assert PlanRow(99_000, "S099000", row) == chunks[0][0]
    assert ROWS == plan.items[0].runs


def test_rows_come_only_from_the_file_that_was_accepted(folder, steps):
    """An edited file must not change a night that is running."""
    (folder / "plan.yaml").write_text(steps("- s: { file: { read: x } }"))
    plan: Plan = take_snapshot("plan.yaml").accepted.plan

    with pytest.raises(BadPlan, match="not the file that was checked"):
        list(compile_rows(plan, b"sku;title\nA;x\nB;y\n", "a"))


def test_an_item_without_rows_is_one_run_named_after_it(compiled):
    """The engine treats both alike."""
    plan = compiled("version: 1\nwork: [ { id: one, steps: [ { s: { file: { read: x } } } ] } ]")

    assert [(PlanRow(0, "one", {}),)] == list(compile_rows(plan, None, "one"))


def test_an_unknown_item_has_no_rows(compiled):
    """A slip of the caller is not an empty night."""
    plan = compiled("version: 1\nwork: [ { id: one, steps: [ { s: { file: { read: x } } } ] } ]")

    with pytest.raises(BadPlan):
        list(compile_rows(plan, None, "two"))


def test_a_subject_is_checked_with_each_row(folder, said):
    """A misspelt column would leave everybody's runs without a name to erase them by."""
    head = "version: 1\nwork:\n  - id: a\n    for_each: products.csv\n    key: '{{ item.sku }}'\n"
    steps = "    steps:\n      - s: { file: { read: x } }\n"

    assert [] == said(head + "    subject: '{{ item.sku }}'\n" + steps)
    [missing] = said(head + "    subject: '{{ item.titel }}'\n" + steps)
    assert "missing column 'titel' in products.csv; did you mean 'title'?" in missing

    (folder / "products.csv").write_text(f"sku,title\nA,{'x' * 501}\n", encoding="utf-8")
    [long] = said(head + "    subject: '{{ item.title }}'\n" + steps)
    assert "the subject of the row: it has 501 characters" in long
