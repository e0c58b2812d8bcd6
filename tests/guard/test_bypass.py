"""A raw client in task code is refused at run time, and found without running it.

What it is not: a prison; who wants out gets out.
"""

import asyncio
import os
import socket
import subprocess
import sys
import threading

import pytest

from tildawn.errors import Bypassed
from tildawn.guard import bypass
from tildawn.guard.lint import lint_source


@pytest.fixture(autouse=True)
def installed() -> None:
    """The hook stays in the interpreter; outside task code it does nothing."""
    bypass.install()
    bypass.install()


def connect() -> None:
    with socket.socket() as one:
        one.settimeout(1)
        one.connect(("127.0.0.1", 9))


def send() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("127.0.0.1", 9))


WAYS_OUT = {
    "connect": connect,
    "datagram": send,
    "name": lambda: socket.getaddrinfo("localhost", 80),
    "process": lambda: subprocess.run([sys.executable, "--version"], check=True),
    "system": lambda: getattr(os, "system")("true"),  # noqa: B009  # deprecated, and that is why
    "fork": os.fork,
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "asyncio process": lambda: asyncio.run(asyncio.create_subprocess_exec("true")),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_way_out_of_task_code_is_refused_and_says_what_to_use(way) -> None:
    """What leaves beside the door has no key, no budget, no deadline and no record."""
    with bypass.task_code(), pytest.raises(Bypassed, match="task code") as caught:
        WAYS_OUT[way]()

    assert "ctx." in (caught.value.hint or "")


def test_outside_of_task_code_nothing_is_refused() -> None:
    """The hook belongs to the whole process, and most of it is not task code."""
    with pytest.raises(ConnectionRefusedError):
        connect()
    assert 0 == subprocess.run([sys.executable, "-c", ""], check=False).returncode

    with bypass.task_code(), bypass.outside(), pytest.raises(ConnectionRefusedError):
        connect()


def test_task_code_on_one_thread_does_not_bind_another() -> None:
    """The writer of the ledger and the host loop work on while a task is active."""
    caught: list[Exception] = []

    def other() -> None:
        try:
            connect()
        except (OSError, Bypassed) as error:
            caught.append(error)

    thread = threading.Thread(target=other)
    thread_start = thread.start
    with bypass.task_code():
        with bypass.outside():
            thread_start()
        thread.join()
    assert [True] == [isinstance(error, OSError) for error in caught]


def test_a_stretch_of_task_code_ends_with_its_context() -> None:
    """Also nested, and also when the task raises."""
    with pytest.raises(ZeroDivisionError), bypass.task_code(), bypass.task_code():
        _ = 1 / 0
    with pytest.raises(ConnectionRefusedError):
        connect()


def test_the_refusal_of_a_way_out_can_be_caught_and_work_goes_on() -> None:
    """The task fails with an error of ours; the process must not be poisoned by it."""
    with bypass.task_code():
        for _ in range(3):
            with pytest.raises(Bypassed):
                connect()
    with pytest.raises(ConnectionRefusedError):
        connect()


# -- the same mistakes, found without running them -------------------------------------------

HEAD = """\
import asyncio, random, socket, subprocess, time, uuid
import httpx2 as h
from datetime import datetime
from time import time as now
from urllib.request import urlopen
import tildawn
from tildawn import task, call

COUNT = 0
"""

PLANTED = {
    "h.get('http://x')": "httpx2",
    "urlopen('http://x')": "urllib.request",
    "socket.create_connection(('x', 1))": "socket",
    "subprocess.run(['x'])": "subprocess",
    "await asyncio.create_subprocess_exec('x')": "create_subprocess_exec",
    "await asyncio.wait_for(ctx.sleep(1), 2)": "asyncio.wait_for",
    "await asyncio.wait([])": "asyncio.wait",
    "await asyncio.shield(ctx.sleep(1))": "asyncio.shield",
    "asyncio.as_completed([])": "asyncio.as_completed",
    "await asyncio.to_thread(print)": "asyncio.to_thread",
    "time.sleep(1)": "time.sleep",
    "now()": "time.time",
    "datetime.now()": "datetime.datetime.now",
    "random.random()": "random",
    "uuid.uuid4()": "uuid.uuid4",
    "import requests": "requests",
    "from openai import OpenAI": "openai",
    "global COUNT": "COUNT",
    "[x for x in {1, 2}]": "order of a set",
    "seen = {1, 2}\n    for x in seen: pass": "order of a set",
    "list(set('ab') - {'a'})": "order of a set",
    "','.join({'a', 'b'})": "order of a set",
    "await asyncio.gather(*{ctx.sleep(1)})": "order of a set",
}


@pytest.mark.parametrize("line", PLANTED)
def test_a_planted_mistake_in_a_task_is_found_with_its_line(line) -> None:
    """The author hears of it while writing, not in the middle of the night."""
    source = f"{HEAD}\n@task(name='t')\nasync def t(ctx):\n    x = 1\n    {line}\n"
    found = lint_source(source, "tasks.py")

    assert found
    assert any(PLANTED[line] in one.message for one in found)
    assert found[0].line >= 13
    assert found[0].fix
    assert str(found[0]).startswith("tasks.py:")


@pytest.mark.parametrize(
    "body",
    [
        "await asyncio.gather(ctx.sleep(1), ctx.sleep(2))",
        "async with asyncio.TaskGroup() as group: pass",
        "for x in sorted({1, 2}): pass",
        "found = len({1, 2})",
        "if 1 in {1, 2}: pass",
        "names = {1}\n    names = [2]\n    for x in names: pass",
        "await ctx.step(read_clock)",
        "await ctx.call(post)",
    ],
)
def test_code_that_follows_the_rules_is_left_alone(body) -> None:
    """A lint that cries wolf is switched off."""
    rest = (
        "\ndef read_clock():\n    return time.time()\n"
        "\n@call(name='post')\nasync def post(out):\n    return h.get('http://x')\n"
        f"\n@task(name='t')\nasync def t(ctx):\n    {body}\n"
    )
    assert [] == lint_source(HEAD + rest)


def test_a_mistake_in_a_function_that_the_task_calls_is_found() -> None:
    """Moving the mistake into the next function does not mend it."""
    rest = (
        "\ndef stamp():\n    return inner()\n\ndef inner():\n    return time.time()\n"
        "\n@tildawn.task(name='t')\nasync def t(ctx):\n    return stamp()\n"
    )
    [found] = lint_source(HEAD + rest)
    assert "time.time" in found.message


def test_a_file_without_tasks_is_left_alone() -> None:
    """Ordinary code may do what it likes."""
    assert [] == lint_source("import requests\ndef f():\n    return requests.get('http://x')\n")
