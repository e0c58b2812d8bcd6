"""Preflight: what would keep a night from working is said before it begins, with the fix."""

import asyncio
import json
import os
import socket
import threading
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import pytest

from tildawn.apps.night.preflight import PATIENCE, Surroundings, preflight, refuse
from tildawn.apps.night.pricing import pricing
from tildawn.clock import SystemClock
from tildawn.errors import Misused
from tildawn.facts.plan import Lane
from tildawn.providers.dialect import dialect
from tildawn.providers.openai_compatible import OpenAiCompatible
from tildawn.providers.prices import Prices
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.transport import SimTransport
from tildawn.providers.wire import Wires
from tildawn.runtime.outside.world import Models
from tildawn.runtime.plan import compile_plan
from tildawn.runtime.policies import Policies
from tildawn.runtime.setting import RouteSettings
from tildawn.testing.clock import ManualClock


ASKS = """
  - id: words
    steps:
      - say: { chat: { prompt: hello } }
"""
WRITES = """
  - id: one
    steps:
      - w: { file: { write: out.txt, content: x } }
"""
MODELS = Models(chat="sim-chat", image="sim-image")


def look(bedroom, work, *, env=None, night="{}", change=None, **more):
    compiled = compile_plan(bedroom.plan(work, night=night))
    if change is not None:
        plan = change(compiled.plan)
        compiled = type(compiled)(
            plan, compiled.folder, compiled.copies, compiled.secrets, compiled.file
        )
    around = Surroundings(house=bedroom.house, env=env or {}, clock=SystemClock(), **more)
    return asyncio.run(preflight(compiled, around))


def provider(key="sim", clock=None):
    clock = clock or ManualClock()
    wires = Wires(clock=clock, transport=SimTransport(SimModel(), clock=clock))
    return OpenAiCompatible(dialect("sim"), wires=wires, key=key)


def codes(findings):
    return [one.code for one in findings]


def test_a_plan_that_has_all_it_needs_may_begin(bedroom):
    """Preflight that always finds something is turned off."""
    assert look(bedroom, WRITES) == ()
    refuse(())


def test_a_missing_variable_is_named_with_its_place(bedroom):
    """A night that fails at its first call at 23:01 is a night lost."""
    work = """
  - id: one
    steps:
      - a: { http: { url: "${SHOP_URL}/a" } }
      - b: { http: { url: "${SHOP_URL}/b" } }
"""
    [found] = look(bedroom, work)
    assert found.code == "missing-variable"
    assert found.message.endswith("plan.yaml:7:28: the variable SHOP_URL is not set")
    assert found.fixes == ("export SHOP_URL=…",)
    assert look(bedroom, work, env={"SHOP_URL": "http://127.0.0.1:1"}) == ()


def test_a_plan_that_asks_models_without_a_provider_gets_three_fixes(bedroom):
    """Key, local model, simulator: one of them everybody has."""
    [found] = look(bedroom, ASKS)
    assert found.code == "no-provider"
    assert len(found.fixes) == 3
    assert "--simulate" in found.fixes[2]
    with pytest.raises(Misused) as raised:
        refuse((found,))
    assert raised.value.exit_code == 2


def test_a_plan_without_model_steps_needs_no_provider(bedroom):
    """Whoever only moves files has no key to give."""
    assert look(bedroom, WRITES, provider=None) == ()


def test_a_provider_that_answers_is_enough(bedroom):
    """The list of models is free, and says that address and key are right."""
    assert look(bedroom, ASKS, provider=provider(), models=MODELS, env={"SIM_API_KEY": "sim"},
                key_variable="SIM_API_KEY") == ()  # fmt: skip


@pytest.mark.parametrize(
    ("env", "code"), [({}, "missing-key"), ({"SIM_API_KEY": "wrong"}, "wrong-key")]
)
def test_a_missing_key_and_a_wrong_one_are_told_apart(bedroom, env, code):
    """One is exported, the other is replaced."""
    [found] = look(bedroom, ASKS, provider=provider(key=env.get("SIM_API_KEY")), models=MODELS,
                   env=env, key_variable="SIM_API_KEY")  # fmt: skip
    assert found.code == code
    assert found.fixes[0] == "export SIM_API_KEY=…"


def test_a_provider_that_is_not_there_is_said_to_be_unreachable(bedroom):
    """Port 9 of this machine answers nobody."""
    made = OpenAiCompatible(dialect("ollama"), wires=Wires(clock=SystemClock()), key=None,
                            base_url="http://127.0.0.1:9/v1")  # fmt: skip
    [found] = look(bedroom, ASKS, provider=made, models=MODELS)
    assert found.code == "unreachable-provider"


@contextmanager
def host(answer):
    """A server on loopback that says so to whoever connects; with nothing to say it hangs."""
    ended = threading.Event()

    def serve():
        while not ended.is_set():
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                if answer:
                    connection.recv(65_536)
                    connection.sendall(answer)
                else:
                    ended.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        ended.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()


def at(url, clock):
    return OpenAiCompatible(dialect("ollama"), wires=Wires(clock=clock), key=None, base_url=url)


def test_a_provider_that_does_not_answer_in_time_is_unreachable(bedroom):
    """A host that hangs now will hang at night."""

    async def scenario(url):
        clock = ManualClock()
        around = Surroundings(
            house=bedroom.house, env={}, clock=clock, provider=at(url, clock), models=MODELS
        )
        task = asyncio.ensure_future(preflight(compile_plan(bedroom.plan(ASKS)), around))
        await clock.sleepers()
        clock.advance(PATIENCE)
        return await task

    with host(b"") as url:
        [found] = asyncio.run(scenario(url))
    assert found.code == "unreachable-provider"
    assert "10 s" in found.message


def test_other_faults_of_the_provider_quote_it(bedroom):
    """A quota that is spent is no wrong key."""
    body = b'{"error": {"code": "insufficient_quota", "message": "your quota is spent"}}'
    head = b"HTTP/1.1 429 Too Many\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    with host(head % len(body) + body) as url:
        [found] = look(bedroom, ASKS, provider=at(url, SystemClock()), models=MODELS)
    assert "your quota is spent" in found.message


def test_a_step_without_a_model_is_refused_when_the_settings_name_none(bedroom):
    """An empty model name is answered by some hosts, with whatever they like."""
    [found] = look(bedroom, ASKS, provider=provider())
    assert found.code == "no-model"


def test_a_missing_program_is_named(bedroom):
    """It would be missing at three o'clock as well."""
    work = """
  - id: one
    steps:
      - a: { shell: { argv: [no-such-program-at-all, x] } }
      - b: { shell: { argv: [python, x] } }
      - c: { shell: { argv: [./tool] } }
"""
    assert [str(one.message) for one in look(bedroom, work)] == [
        "one.a: there is no program 'no-such-program-at-all'",
        "one.c: there is no program './tool'",
    ]
    tool = bedroom.write("tool", "#!/bin/sh\n")
    tool.chmod(0o755)
    assert len(look(bedroom, work)) == 1


def test_a_task_is_imported_and_tried_with_the_input_of_each_row(bedroom):
    """The fortieth row is as able to be wrong as the first."""
    module = bedroom.module("""
        @task(name="add")
        async def add(ctx: Context, n: int) -> int:
            return n

        def plain(n):
            return n
    """)
    bedroom.write("rows.csv", "n\n1\n2\n")

    def work(function, value):
        return f"""
  - id: one
    for_each: rows.csv
    key: "{{{{ item.n }}}}"
    task: "{module}:{function}"
    input: {{ n: {json.dumps(value)} }}
"""

    assert look(bedroom, work("add", "{{ item.n | int }}")) == ()
    [found] = look(bedroom, work("add", "{{ item.n }}"))
    assert (found.code, "argument n of task add" in found.message) == ("bad-task", True)
    [found] = look(bedroom, work("plain", "{{ item.n }}"))
    assert "is no task" in found.message


def test_a_window_is_asked_for_only_where_there_is_one(bedroom):
    """The flag without the hours has no meaning."""
    [found] = look(bedroom, WRITES, at_window=True)
    assert found.code == "no-window"
    hours = '{ window: "23:00-06:30", zone: Europe/Berlin }'
    assert look(bedroom, WRITES, at_window=True, night=hours) == ()


def test_a_disk_without_room_is_refused(bedroom, monkeypatch):
    """A ledger that cannot grow stops the night in its middle."""
    said = list(os.statvfs("/"))
    said[1], said[4] = 1, 99_000_000  # the size of a block, and how many of them are ours
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(said))
    [found] = look(bedroom, WRITES)
    assert found.code == "no-space"


@pytest.mark.parametrize(
    ("name", "fields"),
    [("must", {"must": True}), ("trial", {"trial": True}), ("lane", {"lane": Lane.MAINTENANCE})],
)
def test_what_nothing_acts_on_yet_is_refused_by_name(bedroom, name, fields):
    """A key that is passed over in silence would be a promise that nobody keeps."""

    def change(plan):
        items = tuple(msgspec.structs.replace(item, **fields) for item in plan.items)
        return msgspec.structs.replace(plan, items=items)

    [found] = look(bedroom, WRITES, change=change)
    assert found.code == "not-supported"
    assert f"one: {name} is reserved" in found.message


def test_reserved_keys_of_steps_are_refused_too(bedroom):
    """Approval that is asked for and not waited for would be the worst of them."""

    def change(plan):
        [item] = plan.items
        steps = tuple(msgspec.structs.replace(step, approve=True) for step in item.steps)
        return msgspec.structs.replace(plan, items=(msgspec.structs.replace(item, steps=steps),))

    [found] = look(bedroom, WRITES, change=change)
    assert "approve" in found.message


def test_a_model_without_a_price_is_refused_whether_it_is_asked_first_or_accepted(bedroom):
    """The door refuses its calls when nobody watches: at eleven, and again at three."""
    work = """
  - id: one
    steps:
      - say: { chat: { prompt: hello }, accepts: [cheap, odd] }
"""
    asked = []

    def priced(step, model):
        asked.append((step.name, model))
        return model == "cheap"

    said: Any = {"provider": provider(), "models": MODELS}
    found = look(bedroom, work, priced=priced, **said)
    assert codes(found) == ["unknown-price", "unknown-price"]
    assert "sim-chat" in found[0].message
    assert "odd" in found[1].message
    assert asked == [("say", "sim-chat"), ("say", "cheap"), ("say", "odd")]
    assert look(bedroom, work, priced=lambda *_: True, **said) == ()


PRICES = Prices.parse(
    """
version = "1"
[[model]]
provider = "p"
name = "known"
input = "1.00"
output = "2.00"
[[model]]
provider = "p"
name = "drawn"
image = { "64x64" = "0.02" }
"""
)


@pytest.mark.parametrize(
    ("step", "model", "allowed"),
    [
        ("c: { chat: { prompt: x } }", "known", True),
        ("c: { chat: { prompt: x } }", "odd", False),
        ("c: { chat: { prompt: x }, max_cost: '$0.01' }", "odd", True),
        ("c: { chat: { prompt: x }, route: home }", "odd", True),
        ("c: { chat: { prompt: x }, route: home, accepts: [odd] }", "odd", False),
        ("c: { image: { prompt: x, size: 64x64 } }", "drawn", True),
        ("c: { image: { prompt: x, size: 8x8 } }", "drawn", False),
    ],
)
def test_a_step_may_ask_a_model_when_the_door_would_let_it(bedroom, step, model, allowed):
    """A route may say that an unknown price is free; an accepted model has a route of its own."""
    plan = compile_plan(bedroom.plan(f"\n  - id: one\n    steps:\n      - {step}\n")).plan
    policies = Policies({"home": RouteSettings(unknown_price="free")})
    assert pricing(PRICES, "p", policies)(plan.items[0].steps[0], model) is allowed


def test_a_question_may_not_offer_words_that_mean_something_else(bedroom):
    """The answer "cancel" would cancel the question."""
    [found] = look(
        bedroom,
        WRITES + "    evidence: [ { human: { question: Fine?, choices: [ok, cancel] } } ]\n",
    )
    assert found.code == "bad-choice"
