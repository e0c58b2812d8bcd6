"""Secrets that come by every public path: none of them is anywhere afterwards.

What it is not: the rules about what a secret is; those are in ``tests/ledger``.
"""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


CANARY = 'canary-/7f3a9c2e55d1"b804'
"""A value that somebody configured, with what JSON and shells escape."""

KEY = "sk-" + "proj-" + "cAnArY0" * 6
"""A well-known shape that nobody configured."""

JOBS = """
import os
import threading

from tildawn import Context, task

CANARY = os.environ.get("SHOP_TOKEN", "")
KEY = os.environ.get("CANARY_SHAPE", "")


def gives(what: str) -> dict[str, list[str]]:
    return {"token": [CANARY if what == "value" else KEY]}


def breaks() -> str:
    def inner() -> None:
        raise ValueError(f"inner {CANARY}")
    try:
        inner()
    except ValueError as error:
        raise RuntimeError(f"outer {KEY}") from error


@task
async def result(ctx: Context) -> str:
    return f"it is {CANARY}"


@task
async def step(ctx: Context, what: str) -> int:
    return len(await ctx.step(gives, what))


@task
async def trouble(ctx: Context) -> str:
    return await ctx.step(breaks)


@task
async def direct(ctx: Context) -> str:
    return breaks()


@task
async def takes(ctx: Context, word: str) -> int:
    return len(word)


@task
async def child(ctx: Context) -> int:
    return await ctx.child(takes, CANARY)


@task
async def artifact(ctx: Context) -> str:
    return (await ctx.artifact("notes.txt", f"it is {KEY} ".encode())).sha256


@task
async def logs(ctx: Context) -> str:
    ctx.log(f"the token is {CANARY}", header={"authorization": ["Bearer " + KEY]})
    return "logged"


@task
async def waits(ctx: Context) -> str:
    return await ctx.event("go")
"""

PLAN = """
version: 1
work:
  - id: echo
    for_each: rows.csv
    key: "{{ item.id }}"
    steps:
      - got: { http: { url: "${SHOP_URL}/{{ item.id }}", headers: { authorization: "${SHOP_TOKEN}" } } }
  - id: shell
    for_each: rows.csv
    key: "shell {{ item.id }}"
    steps:
      - said: { shell: { argv: [sh, -c, 'printf "%s" "$T"; printf "%s" "$T" >&2; exit 1'], env: { T: "${SHOP_TOKEN}" } } }
  - id: file
    for_each: rows.csv
    key: "file {{ item.id }}"
    steps:
      - read: { file: { read: notes.txt } }
"""


@pytest.fixture
def echo() -> Iterator[str]:
    """A service that tells whoever asks what it was asked with."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (self.headers["authorization"] or "").encode()
            self.send_response(401 if self.path == "/b" else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as its base has it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shop(program: Any) -> Any:
    """The program with secrets in its environment, one of them named by its settings."""
    (program.folder / "leaks.py").write_text(JOBS)
    (program.folder / "tildawn.toml").write_text('[ledger]\nsecrets = ["SHOP_TOKEN"]\n')
    program.environ |= {"SHOP_TOKEN": CANARY, "CANARY_SHAPE": KEY}
    return program


def leaks(house: Path) -> list[str]:
    """The files below a folder that hold a canary, in any form it may be written in."""
    forms = [form.encode() for form in (CANARY, KEY, CANARY.replace('"', '\\"'))]
    forms += [form.encode() for form in ("7f3a9c2e55d1", "cAnArY0cAnArY0")]
    return [
        f"{path} {form!r}"
        for path in house.rglob("*")
        if path.is_file()
        for form in forms
        if form in path.read_bytes()
    ]


def test_no_secret_of_a_task_reaches_the_disk_or_the_terminal(shop: Any) -> None:
    """Results, errors, arguments, events, artefacts, notes and lines are how one gets in."""
    shop.up()
    told = []
    ended: dict[str, str] = {}
    for name, words in {
        "result": (), "step": ("what=value",), "trouble": (), "direct": (), "child": (),
        "artifact": (), "logs": (),
    }.items():  # fmt: skip
        ended[name] = shop.ask("enqueue", f"leaks:{name}", *words)["run"]
    ended["shape"] = shop.ask("enqueue", "leaks:step", "what=shape")["run"]
    waiting = shop.ask("enqueue", "leaks:waits", "--key", f"key {CANARY}")["run"]
    for words in (
        ("enqueue", "leaks:takes", f"word={CANARY}"),
        ("enqueue", "leaks:takes", f"word={KEY}"),
        ("enqueue", "leaks:waits", "--label", f"for {CANARY}"),
        ("emit", waiting, "go", f'"{KEY}"'),
        ("cancel", waiting, "--reason", f"leaked {KEY}"),
    ):
        said = shop.run(*words, *(["--json"] if len(told) % 2 else []), code=3)
        assert "secret-found" in said.stderr
        told += [said.stdout, said.stderr]

    for name in ("result", "step", "shape", "child", "artifact"):
        shown = shop.until(ended[name], "failed")
        assert "SecretFound" in str(shown) or "secret-found" in str(shown), shown
    for name in ("trouble", "direct"):
        while "outer [secret]" not in shop.run("logs", ended[name], "--json").stdout:
            pass  # the timeout of the test is the limit
        shop.run("cancel", ended[name])
    shop.until(ended["logs"], "done")
    told += [shop.run("logs", "--limit", "500").stdout, shop.run("dead", "--json").stdout]
    for process in shop.started:
        process.terminate()
        told.append(process.communicate()[1])

    assert [] == leaks(shop.house)
    assert not [one for one in told if "7f3a9c2e55d1" in one or "cAnArY0cAnA" in one]
    assert "proven" in str(shop.run("verify", "--json").stdout)


def test_no_secret_of_a_plan_comes_back_with_an_answer(shop: Any, echo: str) -> None:
    """Services, programs and files tell what they were told; the report is sent around."""
    (shop.folder / "tildawn.toml").write_text("")
    (shop.folder / "rows.csv").write_text("id\na\nb\n")
    (shop.folder / "notes.txt").write_text(f"my key: {KEY}\n")
    (shop.folder / "plan.yaml").write_text(PLAN)
    shop.environ["SHOP_URL"] = echo

    night = shop.run("night", "plan.yaml", code=1)
    told = [night.stdout, night.stderr, shop.run("report", "--write").stdout]
    told += [shop.run("report", "--json").stdout]
    told += [str(shop.ask("show", run["run"])) for run in shop.ask("runs")["runs"]]

    assert [] == leaks(shop.house)
    assert "holds the value of SHOP_TOKEN" in str(told)
    assert "holds what looks like a key of OpenAI" in str(told)
    assert not [one for one in told if "7f3a9c2e55d1" in one or "cAnArY0cAnA" in one]
