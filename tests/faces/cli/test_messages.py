"""What is said to people who are in the dark, and events from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tildawn.apps.night.news import News
from tildawn.errors import HouseLocked
from tildawn.faces.cli.progress import sentence
from tildawn.faces.local.disk import Room
from tildawn.units import Micros


WAITS = """
from tildawn import Context, task


@task
async def hears(ctx: Context) -> str:
    return f"heard {await ctx.event('go')}"
"""


def test_the_bare_program_prints_its_help(shell: Any) -> None:
    """Who types a name to see what it does has made no mistake."""
    said = shell()

    assert "Commands" in said.out
    assert "" == said.err


def test_an_event_wakes_a_run_that_waits_for_it(program: Any) -> None:
    """Another program has finished, and says so."""
    (program.folder / "hearing.py").write_text(WAITS)
    program.up()
    run = program.ask("enqueue", "hearing:hears")["run"]
    program.until(run, "waiting")

    sent = program.ask("emit", run, "go", '{"n": 7}')

    assert sent["changed"]
    assert "heard {'n': 7}" == program.until(run, "done")["result"]
    assert "has ended" in program.run("emit", run, "go").stdout


def test_an_event_that_is_no_json_is_refused(shell: Any) -> None:
    """A word without quotes could be a number, a word or a mistake."""
    assert "is no JSON" in shell("emit", "abcd", "go", "{n: 7}", code=2).err


def test_a_wait_is_told_in_the_zone_of_the_plan() -> None:
    """Who set 23:00 in Berlin must not read 22:00."""
    news = News(
        kind="waiting", night="n", zone="Europe/Berlin", until=Micros(1_795_212_000_000_000)
    )

    assert "Waits until 2026-11-20 23:00:00 Europe/Berlin." == sentence(news)


def test_a_row_is_told_by_its_key() -> None:
    """Eight digits of a name that nobody has seen before say nothing."""
    news = News(kind="settled", night="n", item="notes", run="01a1f9ed", label="SKU-1", what="done")

    assert "settled notes SKU-1: done" == sentence(news)


def test_a_held_house_says_by_whom_since_when_and_what_to_type(program: Any) -> None:
    """An orphan of an earlier night holds the pen, and nobody remembers it."""
    holder = program.hold()

    refused = program.run("night", plan(program.folder), code=HouseLocked.exit_code)

    assert f"held by process {holder.pid} since 20" in refused.stderr
    assert "UTC" in refused.stderr
    assert "tildawn takeover" in refused.stderr
    assert f"kill {holder.pid}" in refused.stderr


def plan(folder: Path) -> str:
    """A plan of one file."""
    (folder / "plan.yaml").write_text(
        "version: 1\nwork:\n  - id: one\n    steps:\n"
        "      - w: { file: { write: out.txt, content: x } }\n"
        "    evidence:\n      - file: { path: out.txt, exists: true }\n"
    )
    return "plan.yaml"


def test_status_counts_what_was_asked_for_and_no_looks(program: Any) -> None:
    """A plan of one run that says three has done something nobody asked for."""
    program.run("night", plan(program.folder))

    assert {"done": 1} == program.ask("status")["runs"]


def test_a_table_in_utf_32_is_named_as_what_it_is(shell: Any) -> None:
    """Its mark begins like that of UTF-16, and was read as that."""
    (shell.folder / "rows.csv").write_bytes("id\na\n".encode("utf-32"))
    (shell.folder / "plan.yaml").write_text(
        "version: 1\nwork:\n  - id: one\n    for_each: rows.csv\n    key: '{{ item.id }}'\n"
        "    steps:\n      - w: { file: { write: out.txt, content: x } }\n"
    )

    assert "UTF-32" in shell("plan", "check", "plan.yaml", code=2).err


LOGS = """
import json, logging, os, sys
from pathlib import Path
from tildawn.ledger.secret import Secrets, secrets_in
from tildawn.runtime.logbook import end_log, keep_log, write_line
from tildawn.runtime.setting import Settings

handler = keep_log(Path(sys.argv[1]), Settings().log, Secrets([*secrets_in(os.environ), os.environ["SHOP_URL"]]))
write_line("asked http://shop:8080/x with hunter2-hunter2", run="r", header={"a": ["sk-abcdefghijklmnop"]})
try:
    raise ValueError("refused: hunter2-hunter2")
except ValueError:
    logging.getLogger("x").exception("broke")
end_log(handler)
"""


def test_no_line_of_the_log_shows_a_secret(tmp_path: Path) -> None:
    """A log is what people send around first."""
    env = {"MY_TOKEN": "hunter2-hunter2", "SHOP_URL": "http://shop:8080", "COLOUR": "x with"}
    subprocess.run([sys.executable, "-c", LOGS, str(tmp_path)], env=_with(env), check=True)

    text = (tmp_path / "logs" / "worker.jsonl").read_text()

    for secret in ("hunter2", "shop:8080", "abcdefghijklmnop"):
        assert secret not in text
    first, second = map(json.loads, text.splitlines())
    assert "asked [secret]/x with [secret]" == first["event"]
    assert ["[secret]"] == first["header"]["a"]
    assert "ValueError: refused: [secret]" in second["exception"]


def _with(more: dict[str, str]) -> dict[str, str]:

    return {**os.environ, **more}


@pytest.mark.parametrize("free", [0, 900_000])
def test_a_full_disk_is_told_once_and_so_is_its_end(free: int) -> None:
    """A night that stands still without a word is killed by its owner."""
    room = Room()
    told = [room.news(Path("house"), bytes_free) for bytes_free in (9_000_000, free, free, 10**9)]

    assert ["", True, "", True] == [bool(one) if one else "" for one in told]
    assert "is full" in told[1]
    assert "room again" in told[3]


def test_a_budget_is_named_by_the_number_of_its_night_and_a_wrong_one_by_the_nearest(
    program: Any,
) -> None:
    """A name of 32 digits is nothing that anybody types."""
    name = plan(program.folder)
    file = program.folder / name
    file.write_text(file.read_text().replace("work:", 'night: { budget: "$2.00" }\nwork:'))
    program.run("night", name)

    [line] = program.ask("budget", "night/1")["budgets"]
    assert 2_000_000 == line["limit_micro_usd"]
    [raised] = program.ask("budget", "night/1", "3.00")["budgets"]
    assert (line["scope"], 3_000_000) == (raised["scope"], raised["limit_micro_usd"])
    for words in (("nihgt/" + line["scope"][6:],), ("nihgt/" + line["scope"][6:], "3.00")):
        assert f"did you mean {line['scope']}" in program.run("budget", *words, code=2).stderr


COSTLY = """
version: 1
work:
  - id: one
    for_each: rows.csv
    key: "{{ item.id }}"
    steps:
      - text: { chat: { prompt: "PROMPT", max_tokens: 1000 } }
      - photo: { image: { prompt: "{{ text }}", size: 1024x1024 } }
"""


@pytest.mark.parametrize(
    ("prompt", "expected"),
    # Simulated prices: 0.50 and 1.50 USD for a million tokens, 0.02 USD for a picture.
    [("x" * 600, 600 * 0.5 + 1_000 * 1.5), ("{{ item.id }}", 4_000 * 0.5 + 1_000 * 1.5)],
)
def test_what_a_plan_may_cost_at_worst_is_known_before_it_runs(
    shell: Any, prompt: str, expected: float
) -> None:
    """Two rows, each a text and a picture, at the prices of the provider in the settings."""
    (shell.folder / "tildawn.toml").write_text('[provider]\nname = "sim"\n')
    (shell.folder / "rows.csv").write_text("id\na\nb\n")
    (shell.folder / "plan.yaml").write_text(COSTLY.replace("PROMPT", prompt))

    shown = shell.ask("plan", "show", "plan.yaml")

    text, photo = (step["worst_micro_usd"] for step in shown["items"][0]["steps"])
    assert (20_000, []) == (photo, shown["unpriced"])
    assert expected <= text <= expected + 100, "and some tokens around a message"
    assert 2 * (text + photo) == shown["worst_micro_usd"]


def test_a_model_without_a_price_is_named_and_not_guessed(shell: Any) -> None:
    """The owner's own prices are asked first, and unknown stays unknown."""
    (shell.folder / "tildawn.toml").write_text(
        '[provider]\nname = "openai"\nchat_model = "nobody-knows-it"\nimage_model = "nor-it"\n'
    )
    (shell.folder / "rows.csv").write_text("id\na\n")
    (shell.folder / "plan.yaml").write_text(COSTLY.replace("PROMPT", "x"))

    assert ["one.text", "one.photo"] == shell.ask("plan", "show", "plan.yaml")["unpriced"]
