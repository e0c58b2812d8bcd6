"""Nights from the command line, through real deaths: parent, worker, socket, report.

Those marked slow let a night park: what is under way then gets five seconds to end.

What it is not: a test of the night's rules; the application has those.
"""

import json
import os
import signal
import subprocess
from typing import Any

import apsw
import pytest


PLAN = """
version: 1
night: { zone: "UTC", budget: "$1.00" }
work:
  - id: notes
    title: Write notes
    for_each: rows.csv
    key: "{{ item.id }}"
    concurrency: 1
    steps:
      - text: { chat: { prompt: "A note on {{ item.id }}", schema: { line: str } } }
      - slow: { shell: { argv: [sh, slow.sh, "{{ item.id }}"] }, repeat: safe }
      - note: { file: { write: "notes/{{ item.id }}.txt", content: "{{ text.line }}" } }
    evidence:
      - file: { path: "notes/{{ item.id }}.txt", exists: true }
"""


def prepared(program: Any, rows: int = 3) -> None:
    """A plan, its rows, and the simulator; the shell steps wait as long as there is `wait`."""
    (program.folder / "plan.yaml").write_text(PLAN)
    (program.folder / "slow.sh").write_text(
        'echo "$1" >> began\nwhile [ -e wait ]; do sleep 0.05; done\n'
    )
    (program.folder / "rows.csv").write_text("id\n" + "".join(f"n{n}\n" for n in range(rows)))
    (program.folder / "tildawn.toml").write_text('[provider]\nname = "sim"\n')


def started(program: Any, *words: str) -> "subprocess.Popen[str]":
    """`tildawn night plan.yaml` with news as JSON lines."""
    return program.start("night", "plan.yaml", "--json", *words)


def news(night: "subprocess.Popen[str]", kind: str) -> dict[str, Any]:
    """Read what the night says until it says that."""
    assert night.stdout is not None
    for line in night.stdout:
        said = json.loads(line)
        if said["kind"] == kind:
            return said
    raise AssertionError(night.stderr.read() if night.stderr else kind)


def begun(program: Any, wanted: int = 1) -> None:
    """Wait until so many shell steps have begun; the timeout of the test is the limit."""
    while True:
        try:
            lines = (program.folder / "began").read_text().splitlines()
        except FileNotFoundError:
            lines = []
        if len(lines) >= wanted:
            return
        program.ask("status")


def test_a_night_whose_worker_is_killed_goes_on_by_itself(program: Any) -> None:
    """The promise of the first page: kill it in the middle, and read a whole report."""
    prepared(program)
    (program.folder / "wait").touch()
    night = started(program)
    begun(program)
    worker = program.ask("status")["holder"]
    assert worker not in {0, night.pid}

    os.kill(worker, signal.SIGKILL)
    (program.folder / "wait").unlink()

    assert news(night, "continued")["planned"] == 3
    finished = news(night, "finished")
    assert night.wait() == 0
    assert "3 of 3 verified, simulated" in finished["head"]
    report = json.loads(program.run("report", "--json").stdout)
    assert "simulated" in report["headline"]["count"]
    assert program.ask("verify")["state"] == "proven"


@pytest.mark.slow
def test_a_night_told_to_end_parks_and_is_taken_up_by_its_number(program: Any) -> None:
    """Ctrl-C costs nothing; the report says `tildawn resume 1`, which needs no plan file."""
    prepared(program)
    (program.folder / "wait").touch()
    night = started(program)
    begun(program)
    night.send_signal(signal.SIGINT)
    assert night.wait(timeout=12) == 75
    (program.folder / "wait").unlink()
    (program.folder / "plan.yaml").unlink()

    resumed = program.run("resume", "1")

    assert "3 of 3 verified" in resumed.stdout
    assert "has ended" in program.run("resume", "1", code=2).stderr


@pytest.mark.slow
def test_an_edited_plan_is_asked_about_and_new_gives_the_old_night_up(program: Any) -> None:
    """Neither the old work nor the new wish is guessed away."""
    prepared(program)
    (program.folder / "wait").touch()
    night = started(program)
    begun(program)
    night.send_signal(signal.SIGTERM)
    night.wait(timeout=12)
    (program.folder / "wait").unlink()
    plan = program.folder / "plan.yaml"
    plan.write_text(plan.read_text().replace("Write notes", "Write other notes"))

    asked = program.run("night", "plan.yaml", code=2)

    assert "--continue" in asked.stderr
    assert "3 of 3" in program.run("night", "plan.yaml", "--new").stdout


def test_a_hang_up_of_the_terminal_does_not_end_a_night(program: Any) -> None:
    """One closes the laptop's lid, or the window, and goes to bed."""
    prepared(program, rows=1)
    (program.folder / "wait").touch()
    night = started(program)
    begun(program)

    night.send_signal(signal.SIGHUP)
    (program.folder / "wait").unlink()

    assert night.wait() == 0
    assert "1 of 1 verified" in program.run("report").stdout


def test_a_plan_with_models_and_no_provider_is_refused_with_three_fixes(program: Any) -> None:
    """Nothing is sent to anybody by default, and nothing is made up unasked."""
    prepared(program)
    (program.folder / "tildawn.toml").unlink()

    refused = program.run("night", "plan.yaml", code=2)

    for fix in ("OPENAI_API_KEY", "ollama", "--simulate"):
        assert fix in refused.stderr
    assert program.ask("runs")["total"] == 0
    assert "simulated" in program.run("night", "plan.yaml", "--simulate").stdout


def test_a_window_that_the_plan_does_not_name_is_refused(program: Any) -> None:
    """`--at window` without a window would begin now, or never."""
    prepared(program)

    assert "names no window" in program.run("night", "plan.yaml", "--at", "window", code=2).stderr


def test_a_report_is_written_without_the_pen(program: Any) -> None:
    """The parent of a dead worker asks for it while nobody, or somebody else, holds the house."""
    prepared(program, rows=1)
    (program.folder / "wait").touch()
    night = started(program)
    begun(program)

    written = program.run("report", "--write")

    assert "Report: " in written.stdout
    pages = sorted(path.suffix for path in (program.house / "reports").iterdir())
    assert pages == [".html", ".json", ".md"]
    (program.folder / "wait").unlink()
    assert night.wait() == 0


@pytest.mark.slow
def test_a_night_whose_parent_is_killed_is_handed_over_to_the_next_one(program: Any) -> None:
    """Who is rude to the first process it finds types the same command again, and it goes on."""
    prepared(program)
    (program.folder / "wait").touch()
    night = started(program)
    begun(program)
    worker = program.ask("status")["holder"]

    night.kill()
    night.wait()
    again = started(program)

    assert news(again, "continued")["planned"] == 3
    assert program.ask("status")["holder"] not in {0, worker}
    (program.folder / "wait").unlink()
    assert "3 of 3 verified" in news(again, "finished")["head"]
    assert again.wait() == 0


def test_a_night_goes_on_to_its_end_when_nobody_reads_what_it_says(program: Any) -> None:
    """The parent is gone, and the pipe with it; the work is not about the lines."""
    prepared(program)
    (program.folder / "wait").touch()
    night = started(program)
    begun(program)

    night.kill()
    night.wait()
    (program.folder / "wait").unlink()

    while program.ask("status")["night"]["state"] != "closed":
        assert program.ask("status")["holder"] != 0 or closed(program)
    assert "3 of 3 verified" in program.run("report").stdout


def closed(program: Any) -> bool:
    """Whether the night came to its end just now."""
    return program.ask("status")["night"]["state"] == "closed"


def killed_with_its_parent(program: Any, *words: str) -> None:
    """A night that two kills broke off in the middle of its first row."""
    prepared(program)
    (program.folder / "wait").touch()
    night = started(program, *words)
    begun(program)
    worker = program.ask("status")["holder"]
    night.kill()
    os.kill(worker, signal.SIGKILL)
    night.wait()
    while program.ask("status")["holder"]:
        pass  # a killed process takes a moment to be gone
    (program.folder / "wait").unlink()


@pytest.mark.parametrize("gone", [["rows.csv"], ["rows.csv", "plan.yaml"]])
def test_an_accepted_night_goes_on_without_the_files_it_was_made_from(
    program: Any, gone: list[str]
) -> None:
    """Another program wrote the rows for the evening and has cleaned up since."""
    killed_with_its_parent(program)
    for name in gone:
        (program.folder / name).unlink()

    again = program.run("night", "plan.yaml")

    assert "rows.csv is not there any more" in again.stderr
    assert "3 of 3 verified" in again.stdout


def test_a_plan_that_was_edited_badly_is_refused_and_its_night_can_go_on(program: Any) -> None:
    """A typing error must not hide that the accepted night needs no plan file."""
    killed_with_its_parent(program)
    (program.folder / "plan.yaml").write_text("version: 1\nwrok: []\n")

    refused = program.run("night", "plan.yaml", code=2)

    assert "wrok" in refused.stderr
    assert "tildawn night plan.yaml --continue" in refused.stderr
    assert "3 of 3 verified" in program.run("night", "plan.yaml", "--continue").stdout


def test_the_same_plan_typed_again_after_its_night_begins_nothing(program: Any) -> None:
    """In a pipe nobody can be asked: a service manager would fill the shop all night long."""
    prepared(program, rows=1)
    program.run("night", "plan.yaml")

    again = program.run("night", "plan.yaml", code=2)

    assert "night 1 of plan.yaml ended 0 min ago (done)" in again.stderr
    assert "--new" in again.stderr
    assert program.ask("status")["night"]["number"] == 1
    assert "Accepted as night 2" in program.run("night", "plan.yaml", "--new").stdout


def dies_in(program: Any, where: str, *words: str) -> None:
    """Run a night whose first worker is killed at a place in our code; it ends well."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "mark = Path('died')\n"
        "if 'tildawn.faces.local' in ' '.join(sys.orig_argv) and not mark.exists():\n"
        "    def die(*args, **kwargs):\n"
        "        mark.touch()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    import tildawn.faces.local.nightly as nightly\n"
        f"    nightly.{where} = die\n"
    )
    (program.folder / "early").mkdir(exist_ok=True)
    (program.folder / "early" / "sitecustomize.py").write_text(code)
    path = f"{program.folder / 'early'}:{program.environ['PYTHONPATH']}"
    program.run("night", "plan.yaml", *words, env={"PYTHONPATH": path})
    assert (program.folder / "died").exists()


@pytest.mark.parametrize("where", ["choose_night", "conduct_night", "write_report"])
def test_a_new_night_is_begun_once_wherever_its_worker_dies(program: Any, where: str) -> None:
    """Neither the old night in place of it, nor a second new one."""
    killed_with_its_parent(program)
    plan = program.folder / "plan.yaml"
    plan.write_text(plan.read_text().replace("Write notes", "Write other notes"))

    dies_in(program, where, "--new")

    status = program.ask("status")
    assert (2, "closed") == (status["night"]["number"], status["night"]["state"])
    assert "3 of 3 verified" in program.run("report").stdout


@pytest.mark.parametrize(
    ("table", "starts"),
    [("fact", 1), ("payload", 1), ("run", 1), ("run_fact", 2)],
)
def test_a_damaged_page_ends_the_night_with_its_place(
    program: Any, table: str, starts: int
) -> None:
    """Started again and again over it, a worker would say the same all night long.

    What only a write touches is found by the second worker, which looks before it works.
    """
    killed_with_its_parent(program)
    database = program.house / "ledger.db"
    connection = apsw.Connection(str(database))
    [(root,)] = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
    ).fetchall()
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()
    assert not database.with_name("ledger.db-wal").exists()
    with database.open("r+b") as file:
        place = (int(str(root)) - 1) * 4_096
        file.seek(place)
        page = file.read(16)
        file.seek(place)
        file.write(bytes(byte ^ 0xFF for byte in page))

    ended = program.run("resume", "1", code=4)

    assert "is damaged" in ended.stderr
    assert table in ended.stderr
    assert "copy the house away" in ended.stderr
    assert starts - 1 == ended.stderr.count("The worker died")
