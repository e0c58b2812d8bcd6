"""How far a night is: derived from the ledger, then kept up with what settles.

What it is not: memory that matters.  Thrown away at any moment, it is derived again and says the
same.  It holds runs that are open or did not end well; of those that did, only their number.
"""

from tildawn.apps.night.names import AFTER, ASK
from tildawn.apps.night.stopping import Tally
from tildawn.facts.plan import Item, Plan, Step, When
from tildawn.ledger.reader import Reader
from tildawn.projections.night import CoveredRow, EvidenceRow, ItemRow, NightRow
from tildawn.projections.run import RunRow


_MINE = "night = ? AND parent = '' AND evidence_for = ''"
"""The planned runs of a night: neither children nor looks."""

BAD = frozenset({"failed", "cancelled", "held"})
AT_REST = BAD | {"done"}


class ItemState:
    """One item of the night."""

    def __init__(self, item: Item, row: ItemRow) -> None:
        """Begin with what the projection says."""
        self.item = item
        self.planned = row.planned
        self.expanded = row.expanded
        self.skipped = row.skipped >= 0
        self.open: set[str] = set()
        #: Runs that did not end well, by why: a state, or ``refuted``.
        self.bad: dict[str, str] = {}
        #: Runs that are done and whose checks have not answered yet.
        self.unjudged: set[str] = set()
        #: Questions that wait for the owner, and those whose answer is being taken in.
        self.asked: set[str] = set()
        self.answering: set[str] = set()

    @property
    def ended(self) -> bool:
        """Whether every planned run has ended somehow; one that is held has."""
        return self.skipped or (
            self.expanded >= self.planned
            and not self.open and not self.unjudged and not self.answering
        )  # fmt: skip

    @property
    def well(self) -> bool:
        """Whether every planned run has ended well."""
        return self.ended and not self.skipped and not self.bad and not self.asked

    @property
    def waits(self) -> bool:
        """Whether only the owner can bring it on."""
        return self.ended and bool(self.asked or self._held)

    @property
    def hopeless(self) -> bool:
        """Whether it has ended in a way that no answer of the owner makes well."""
        return self.ended and (self.skipped or len(self.bad) > len(self._held))

    @property
    def _held(self) -> list[str]:
        return [run for run, why in self.bad.items() if why == "held"]


class Progress:
    """All items of a night, and what failed."""

    def __init__(self, night: NightRow, items: dict[str, ItemState]) -> None:
        """Begin with nothing settled."""
        self.night = night.night
        self.items = items
        self.tally = Tally(night.stopped)
        #: Runs whose checks are to be asked, or whose effects are not told yet.
        self.to_settle: list[RunRow] = []
        #: Looks and questions that ended and have not been told yet.
        self.to_judge: list[RunRow] = []

    @property
    def open(self) -> int:
        """How many accepted runs have not ended."""
        return sum(len(state.open) for state in self.items.values())

    def wants(self, state: ItemState) -> str:
        """Whether an item may begin: ``yes``, ``wait``, or why it never will.

        Raises:
            Nothing.
        """
        for need in state.item.needs:
            other = self.items[need.item]
            if need.when is When.FINISHED:
                if not other.ended:
                    return "wait"
            elif other.hopeless:
                return f"it needs {need.item}, which {_how(other)}"
            elif not other.well:
                return "wait"
        return "yes"

    def ran(self, row: RunRow, seq: int) -> None:
        """A planned run came to rest or goes on again.

        Args:
            row: as it is now.
            seq: the fact that says so.

        Raises:
            Nothing.
        """
        state = self.items.get(row.item)
        if state is None:
            return
        state.open.discard(row.run)
        state.bad.pop(row.run, None)
        if row.state == "done":
            if state.item.evidence:
                state.unjudged.add(row.run)
            else:
                self.tally.fine(row.run, seq)
            self.to_settle.append(row)
        elif row.state in BAD:
            state.bad[row.run] = row.state
            if row.state != "cancelled":
                self.tally.failed(row.run, seq, unknown=row.why == "unknown")
        else:
            self.tally.forget(row.run)
            state.open.add(row.run)

    def asked(self, row: RunRow) -> None:
        """A question was asked, answered, or its answer was taken in.

        Raises:
            Nothing.
        """
        state = self.items[row.item]
        state.asked.discard(row.run)
        state.answering.discard(row.run)
        if row.state == "held":
            state.asked.add(row.run)
        else:
            state.answering.add(row.run)
            if row.state in AT_REST:
                self.to_judge.append(row)

    def judged(self, item: str, run: str, seq: int, *, refuted: bool) -> None:
        """The checks of a run have answered, at a position.

        Raises:
            Nothing.
        """
        state = self.items[item]
        state.unjudged.discard(run)
        if refuted:
            state.bad[run] = "refuted"
            self.tally.failed(run, seq)
        else:
            self.tally.fine(run, seq)


def _how(state: ItemState) -> str:
    if state.skipped:
        return "did not begin"
    bad = len(state.bad)
    return f"has {bad} run{'s' if bad > 1 else ''} that did not end well"


def load_progress(reader: Reader, night: NightRow, plan: Plan) -> Progress:
    """Derive how far a night is.

    Args:
        reader: one read transaction.
        night: the night.
        plan: as it was accepted.

    Raises:
        Nothing.
    """
    rows = {row.item: row for row in reader.rows(ItemRow, "night = ?", (night.night,))}
    progress = Progress(night, {item.id: ItemState(item, rows[item.id]) for item in plan.items})
    _load_runs(reader, progress)
    _load_covered(reader, progress)
    for state in progress.items.values():
        if state.item.evidence:
            _load_checked(reader, progress, state)
        elif changes_the_world(state.item):
            _load_untold(reader, progress, state)
    _load_questions(reader, progress)
    return progress


def changes_the_world(item: Item) -> bool:
    """Whether the steps of an item have effects that are told apart from its checks.

    Raises:
        Nothing.
    """
    return any(_changes(step) for step in item.steps)


def _changes(step: Step) -> bool:
    if step.kind == "http":
        return str(step.fields.plain("method") or "GET") not in {"GET", "HEAD"}
    return step.kind == "file" and step.fields.get("read") is None


def _load_runs(reader: Reader, progress: Progress) -> None:
    """Runs that are open or did not end well, and the last one that was fine."""
    night = progress.night
    for row in reader.rows(RunRow, f"{_MINE} AND state <> 'done'", (night,)):
        progress.ran(row, row.state_at)
    plain = [item for item, state in progress.items.items() if not state.item.evidence]
    for item in plain:
        [(last,)] = reader.query(
            "SELECT max(state_at) FROM run WHERE night = ? AND item = ? AND parent = ''"
            " AND evidence_for = '' AND state = 'done'", (night, item),
        )  # fmt: skip
        if last is not None:
            progress.tally.fine("", int(last))


def _load_covered(reader: Reader, progress: Progress) -> None:
    """Rows whose work is that of an earlier run: well only if that ended well."""
    for row in reader.rows(CoveredRow, "night = ?", (progress.night,)):
        cover(reader, progress.items[row.item], row.by)


def cover(reader: Reader, state: ItemState, by: str) -> None:
    """Take the run that has a row's key for the row.

    Raises:
        Nothing.
    """
    run = reader.get(RunRow, by)
    if run is None or run.state != "done":
        state.bad[by] = run.state if run is not None else "failed"


_UNJUDGED = (
    "night = ? AND item = ? AND parent = '' AND evidence_for = '' AND state = 'done' AND NOT EXISTS"
    " (SELECT 1 FROM evidence AS e WHERE e.subject = run.night || '/' || run.item || '/'"
    " || run.row AND e.chosen = 0 AND e.ordinal = 0 AND e.judged_run = run.run)"
)

_UNTOLD = (
    "night = ? AND item = ? AND parent = '' AND evidence_for = '' AND state = 'done'"
    " AND run NOT IN (SELECT run FROM effect WHERE night = ? AND item = ?)"
)


def _load_checked(reader: Reader, progress: Progress, state: ItemState) -> None:
    """Runs that are done and not judged, and how far their looks are."""
    params = (progress.night, state.item.id)
    for row in reader.rows(RunRow, _UNJUDGED, params, order="state_at"):
        state.unjudged.add(row.run)
        looks = reader.rows(RunRow, "evidence_for = ? AND task = ?", (row.run, AFTER))
        if not looks:
            progress.to_settle.append(row)
        elif looks[-1].state in AT_REST:
            progress.to_judge.append(looks[-1])
    _load_verdicts(reader, progress, state)


def _load_verdicts(reader: Reader, progress: Progress, state: ItemState) -> None:
    about = f"{progress.night}/{state.item.id}/"
    where = "night = ? AND chosen = 0 AND judged >= 0 AND substr(subject, 1, ?) = ?"
    params = (progress.night, len(about), about)
    refuted = reader.rows(EvidenceRow, f"{where} AND verdict = 'refuted'", params)
    for row in refuted:
        progress.judged(state.item.id, row.judged_run, row.judged, refuted=True)
    bad = {row.judged_run for row in refuted}
    most = len(bad) * len(state.item.evidence) + 1
    for row in reader.rows(EvidenceRow, where, params, order="judged DESC", limit=most):
        if row.judged_run not in bad:
            progress.tally.fine("", row.judged)
            break


def _load_untold(reader: Reader, progress: Progress, state: ItemState) -> None:
    """Runs that are done and of which no effect is told: perhaps they had none."""
    params = (progress.night, state.item.id)
    progress.to_settle += reader.rows(RunRow, _UNTOLD, (*params, *params), order="state_at")


def _load_questions(reader: Reader, progress: Progress) -> None:
    """Questions to the owner: those that wait, and those whose answer is not told yet."""
    where = "night = ? AND evidence_for <> '' AND task = ?"
    for row in reader.rows(RunRow, where, (progress.night, ASK), order="state_at"):
        if row.state not in {"done", "failed", "cancelled"} or _unanswered(reader, row):
            progress.asked(row)


def _unanswered(reader: Reader, row: RunRow) -> bool:
    about = f"{row.night}/{row.item}/{row.row}"
    where = "subject = ? AND chosen = 0 AND verdict = 'unknown'"
    return reader.count(EvidenceRow, where, (about,)) > 0
