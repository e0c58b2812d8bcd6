"""Commands: what they print, how they refuse, and which exit code says what.

What it is not: a test of two processes; those are beside the worker.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tildawn.faces.catalog import OPERATIONS
from tildawn.faces.cli.main import COMMANDS, cli


def test_init_makes_a_house_and_an_example_and_changes_nothing_twice(shell: Any) -> None:
    """Typing it again in a project of months must be harmless."""
    first = shell.ask("init")
    (shell.folder / "plan.yaml").write_text("mine")
    second = shell.ask("init")

    assert first["written"] == ["tildawn.toml", "plan.yaml", "products.csv"]
    assert second["written"] == []
    assert second["house"] == first["house"]
    assert (shell.folder / "plan.yaml").read_text() == "mine"


def test_the_example_of_init_is_a_plan_that_can_be_accepted(shell: Any) -> None:
    """The first plan that a newcomer sees must not be an error message."""
    shell("init")

    checked = shell.ask("plan", "check", "plan.yaml")
    shown = shell("plan", "show", "plan.yaml")

    assert checked["runs"] == 3
    assert "cards: Write a card for each product" in shown.out


def test_enqueue_reads_words_as_the_types_of_the_task(shell: Any, total: str) -> None:
    """`name=7` is text for a text and a number for a number."""
    run = shell.ask("enqueue", total, "shops=3", "name=7")["name"]

    assert shell.ask("show", run)["input"] == {"shops": 3, "name": "7"}


def test_enqueue_takes_an_object_and_words_win_over_it(shell: Any, total: str) -> None:
    """A script gives JSON, a person adds a word."""
    run = shell.ask("enqueue", total, "--input", '{"shops": 1, "name": "a"}', "shops=2")["run"]

    assert shell.ask("show", run)["input"] == {"shops": 2, "name": "a"}


def test_enqueue_with_a_known_key_names_the_first_run(shell: Any, total: str) -> None:
    """A script that is run twice enqueues once."""
    first = shell.ask("enqueue", total, "shops=1", "--key", "monday")
    second = shell.ask("enqueue", total, "shops=1", "--key", "monday")

    assert first["fresh"]
    assert second == first | {"fresh": False}
    assert shell.ask("runs")["total"] == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["{}", "--input", "[1]"], "bad-value"),
        (["shops=many"], "bad-value"),
        (["shop=1"], "bad-value"),
        (["shops=1", "--delay", "soon"], "bad-value"),
        (["--input", "{"], "bad-value"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_and_nothing_is_accepted(
    shell: Any, total: str, words: list[str], code: str
) -> None:
    """What cannot run must not wait in a queue until three in the morning."""
    words = [word for word in words if word != "{}"]

    said = shell("enqueue", total, *words, code=2)

    assert f"[{code}]" in said.err
    assert shell.ask("runs")["total"] == 0


@pytest.mark.parametrize(
    ("reference", "code"),
    [("nowhere:total", "bad-task"), ("{module}:nothing", "bad-task"),
     ("{module}:words", "bad-task"), ("total", "unknown-name")],
)  # fmt: skip
def test_a_task_that_is_not_there_is_refused(
    shell: Any, total: str, reference: str, code: str
) -> None:
    """The name is wrong now, not when the night reaches it."""
    module = total.partition(":")[0]

    said = shell("enqueue", reference.format(module=module), code=2)

    assert f"[{code}]" in said.err


def test_a_task_can_be_enqueued_by_its_name_once_its_place_is_known(shell: Any, total: str) -> None:
    """The ledger remembers where the code of an accepted run was found."""
    shell("enqueue", total, "shops=1")

    assert shell.ask("enqueue", "total", "shops=2")["fresh"]


def test_a_full_queue_refuses_with_try_again(shell: Any, total: str) -> None:
    """A limit that only a working engine keeps would be none."""
    shell("enqueue", total, "shops=1")

    said = shell("enqueue", total, "shops=1", "--set", "engine.backlog=1", code=75)

    assert "nothing was accepted" in said.err
    assert shell.ask("runs")["total"] == 1


def test_a_run_is_found_by_name_by_an_end_of_it_and_by_label(shell: Any, total: str) -> None:
    """Nobody types 32 digits."""
    accepted = shell.ask("enqueue", total, "shops=1", "--label", "Tea for two")
    run, name = accepted["run"], accepted["name"]

    for said in (name, run, run[:12], run[-6:], run[-6:].upper(), "Tea for two"):
        assert shell.ask("show", said)["run"]["run"] == run


def test_a_name_that_means_two_runs_is_refused_with_both(shell: Any, total: str) -> None:
    """The wrong run would be cancelled."""
    for _ in range(2):
        shell("enqueue", total, "shops=1", "--label", "same")

    said = shell("cancel", "same", code=2)

    assert "q-1" in said.err
    assert "q-2" in said.err


@pytest.mark.parametrize("said", ["q-9", "abc", "0000000000", "no:such"])
def test_a_name_that_means_no_run_is_refused(shell: Any, said: str) -> None:
    """And the way to the names is named."""
    assert "Next: tildawn runs" in shell("show", said, code=2).err


def test_runs_are_filtered_and_paged_newest_first(shell: Any, total: str) -> None:
    """A page never loads everything, and going on never shows a run twice."""
    for number in range(5):
        shell("enqueue", total, f"shops={number}")
    shell("cancel", "q-2")

    first = shell.ask("runs", "--limit", "2")
    rest = shell.ask("runs", "--before", str(first["next"]))

    assert [one["name"] for one in first["runs"]] == ["q-5", "q-4"]
    assert [one["name"] for one in rest["runs"]] == ["q-3", "q-2", "q-1"]
    assert rest["next"] is None
    only = shell.ask("runs", "--state", "cancelled")["runs"]
    assert [one["name"] for one in only] == ["q-2"]
    assert shell.ask("runs", "--night", "-")["total"] == 5
    assert shell.ask("runs", "--night", "7")["total"] == 0


def test_an_unknown_state_is_refused_with_those_that_there_are(shell: Any) -> None:
    """An empty list would be read as: there are none."""
    assert "held" in shell("runs", "--state", "hold", code=2).err


def test_a_run_is_paused_resumed_and_cancelled_without_a_worker(shell: Any, total: str) -> None:
    """The owner's verbs work whether anybody is awake or not, and say what they changed."""
    run = shell.ask("enqueue", total, "shops=1")["name"]

    assert shell.ask("pause", run) | {"run": ""} == {
        "run": "", "name": run, "changed": True, "state": "held",
    }  # fmt: skip
    assert not shell.ask("pause", run)["changed"]
    assert shell.ask("resume", run)["state"] == "queued"
    assert shell.ask("cancel", run, "--reason", "enough")["state"] == "cancelled"
    assert not shell.ask("retry", run)["changed"]


def test_an_answer_that_is_not_offered_is_refused_with_those_that_are(
    shell: Any, total: str
) -> None:
    """One verb settles everything, so it must say what can be said."""
    run = shell.ask("enqueue", total, "shops=1")["name"]
    shell("pause", run)

    said = shell("answer", run, "maybe", code=2)

    assert "resume" in said.err
    assert shell.ask("answer", run, "resume")["state"] == "queued"


def test_what_may_be_typed_for_a_held_run_stands_in_show(shell: Any, total: str) -> None:
    """A sleepy person copies a line."""
    run = shell.ask("enqueue", total, "shops=1")["name"]
    shell("pause", run)

    assert f"tildawn answer {run} resume" in shell("show", run).out


def test_a_budget_that_does_not_exist_is_not_made_by_a_typing_error(shell: Any) -> None:
    """A limit of a misspelt scope limits nothing."""
    assert "no budget is called nigth/1" in shell("budget", "nigth/1", "6.00", code=2).err
    assert "no night yet" in shell("budget", "6.00", code=2).err
    assert shell.ask("budget") == {"budgets": []}


def test_a_route_can_be_given_a_limit_of_money_and_tokens_for_a_day(shell: Any) -> None:
    """Its scope has that name before the first call of the day is made."""
    shell("budget", "route:shop/2026-01-02", "6.00", "--tokens", "1000")
    [line] = shell.ask("budget", "route:shop/2026-01-02")["budgets"]
    assert (6_000_000, 1_000) == (line["limit_micro_usd"], line["limit_tokens"])
    shell("budget", "route:shop/2026-01-02", "--tokens", "5")
    [line] = shell.ask("budget")["budgets"]
    assert (6_000_000, 5, 0) == (line["limit_micro_usd"], line["limit_tokens"], line["used_tokens"])
    assert "0 of 5 tokens" in shell("budget").out


def test_logs_are_one_object_a_line_in_the_order_of_the_ledger(shell: Any, total: str) -> None:
    """A stream is read line by line, for ever."""
    run = shell.ask("enqueue", total, "shops=1")["run"]

    lines = [json.loads(line) for line in shell("logs", "--json").out.splitlines()]
    own = [json.loads(line) for line in shell("logs", run, "--json").out.splitlines()]

    assert [one["seq"] for one in lines] == list(range(len(lines)))
    assert lines[0]["kind"] == "HouseFounded"
    assert [one["kind"] for one in own] == ["RunAccepted"]
    assert '"shops":1' in own[0]["text"]


def test_text_of_a_user_cannot_steer_the_terminal(shell: Any, total: str) -> None:
    """A label with a control character could hide a line, or a whole report.

    Not only escape: whatever prints to a pipe loses ANSI sequences anyway, and the test with them.
    """
    label = "a\x1b[2Jb\rc\x9b2Jd\x07e\nf"
    run = shell.ask("enqueue", total, "shops=1", "--label", label)["name"]

    said = [shell(*words).out for words in (["runs"], ["show", run], ["logs"])]
    said.append(shell("show", label, "--house", "\x9b2J\r", code=2).err)

    for text in said:
        assert not set(text) & set("\x1b\r\x9b\x07"), text


def test_verify_says_what_is_proven_and_where_it_is_not(shell: Any) -> None:
    """The exit code is what a script asks for."""
    assert shell.ask("verify")["exit_code"] == 0
    database = shell.house / "ledger.db"
    raw = bytearray(database.read_bytes())
    place = raw.index(b'"kind":"HouseFounded"')
    raw[place + 9] ^= 1
    database.write_bytes(raw)

    said = shell("verify", code=4)

    assert "Broken at fact 0" in said.out
    assert "Nothing was changed" in said.out


def test_verify_without_a_ledger_is_not_provable(shell: Any, tmp_path: Path) -> None:
    """Nothing is not the same as nothing wrong."""
    assert "Not provable" in shell("verify", "--house", str(tmp_path / "other"), code=3).out


def test_doctor_names_every_check_with_a_verdict(shell: Any) -> None:
    """A check that could not be made says so; it is never a pass."""
    checks = {one["name"]: one for one in shell.ask("doctor")["checks"]}

    assert checks["sqlite"]["verdict"] == "ok"
    assert checks["provider"]["verdict"] == "not-run"
    assert {"house", "file system", "space", "sync", "clock", "pen", "keys"} <= set(checks)


def test_doctor_fails_when_the_ledger_is_gone(shell: Any) -> None:
    """The worst finding sets the exit code."""
    (shell.house / "ledger.db").unlink()

    assert "its ledger is gone" in shell("doctor", code=1).out


def test_config_explains_a_setting_with_its_source_and_range(shell: Any) -> None:
    """The question is always: why has this no effect?"""
    said = shell("config", "engine.resident", "--explain", "--set", "engine.resident=5").out

    assert "engine.resident = 5" in said
    assert "from flag --set; a whole number, 1 to 100000" in said


def test_a_bad_settings_file_stops_every_command_with_usage(shell: Any, total: str) -> None:
    """A night must not begin with half of its limits."""
    (shell.folder / "tildawn.toml").write_text("[engine]\nresidnet = 5\n")

    for words in (["runs"], ["enqueue", total], ["up"], ["night", "plan.yaml"], ["doctor"]):
        assert "tildawn.toml:2" in shell(*words, code=2).err


def test_a_refusal_as_json_stands_on_standard_error(shell: Any) -> None:
    """Data and messages never mix, so that a pipe gets data or nothing."""
    said = shell("show", "q-9", "--json", code=2)

    assert said.out == ""
    assert json.loads(said.err)["code"] == "unknown-name"
    assert json.loads(said.err)["hint"] == "tildawn runs"


def test_a_folder_without_a_house_says_how_to_make_one(
    shell: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write must not found a house by accident."""
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.chdir(empty)

    for words in (["runs"], ["enqueue", "jobs:total"], ["up"], ["--house", str(empty), "status"]):
        assert "Next: tildawn init" in shell(*words, code=2).err
    assert list(empty.iterdir()) == []


def test_the_house_is_found_from_below_by_option_and_by_variable(
    shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One works in folders below, and scripts work from anywhere."""
    below, elsewhere = shell.folder / "a" / "b", tmp_path_factory.mktemp("elsewhere")
    below.mkdir(parents=True)
    house = str(shell.house)

    monkeypatch.chdir(below)
    assert shell.ask("status")["folder"] == house
    monkeypatch.chdir(elsewhere)
    assert shell.ask("status", "--house", str(shell.folder))["folder"] == house
    assert shell.ask("--house", house, "status")["folder"] == house
    monkeypatch.setenv("TILDAWN_HOME", str(shell.folder))
    assert shell.ask("status")["folder"] == house


def test_an_unknown_command_suggests_the_nearest(shell: Any) -> None:
    """A typing error costs one line."""
    said = shell("verfy", code=2)

    assert "there is no command 'verfy'" in said.err
    assert "Next: tildawn verify" in said.err


@pytest.mark.parametrize("words", [["show"], ["runs", "--limit", "x"], ["sim", "dance"]])
def test_wrong_usage_says_where_the_help_is(shell: Any, words: list[str]) -> None:
    """Every refusal names the next step."""
    said = shell(*words, code=2)

    assert "[usage]" in said.err
    assert "--help" in said.err


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: Any, shell_name: str) -> None:
    """The script asks the program, so it never goes stale."""
    assert "_TILDAWN_COMPLETE" in shell("completion", shell_name).out


def test_a_bad_plan_is_refused_with_every_place(shell: Any) -> None:
    """All mistakes at once, each where it is; nothing is accepted."""
    (shell.folder / "plan.yaml").write_text("version: 1\nwork:\n  - idd: a\n")

    said = shell("plan", "check", "plan.yaml", code=2)

    assert "plan.yaml:3:5" in said.err
    assert shell("night", "plan.yaml", code=2).err == said.err


def test_every_command_has_the_help_that_the_table_says(shell: Any) -> None:
    """The short list loads no command, so it could say something else."""
    context = cli.make_context("tildawn", [], resilient_parsing=True)

    for name, (_, line) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert command.help, name
        assert line.endswith("."), name


def test_every_command_speaks_json_where_it_answers(shell: Any) -> None:
    """`--json` everywhere, also where nobody has tried it yet."""
    context = cli.make_context("tildawn", [], resilient_parsing=True)

    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        options = {text for one in command.params for text in one.opts}
        assert {"--json", "--house", "--set"} <= options, name


def test_every_operation_has_a_name_of_its_own_and_one_line_of_help() -> None:
    """Faces, permissions and pages are made from the table."""
    names = [one.name for one in OPERATIONS]

    assert sorted(set(names)) == sorted(names)
    assert all(one.help.endswith(".") and "\n" not in one.help for one in OPERATIONS)


def test_every_command_has_its_place_on_the_reference_page() -> None:
    """A command that is not described is found by accident."""
    page = Path(__file__).parents[3] / "docs/reference/cli.md"
    described = set(re.findall(r"`tildawn ([a-z]+)", page.read_text(encoding="utf-8")))

    assert set(COMMANDS) <= described


def test_help_loads_nothing_heavy() -> None:
    """`tildawn --help` answers in a tenth of a second because it imports no more than click."""
    code = (
        "import json, sys\n"
        "from tildawn.faces.cli.main import run\n"
        "run(['--help'])\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30
    )
    loaded = set(json.loads(done.stderr))

    assert "click" in loaded
    assert set() == loaded & {"apsw", "asyncio", "httpx2", "msgspec", "rich", "structlog"}
