"""One entry of ``work``: its node becomes a draft, every default filled in.

What it is not: a check against anything outside the entry; needs, rows and names that templates
use are looked at when all entries are read (``compile``).
"""

import re
from dataclasses import dataclass, field

from msgspec import UNSET

from tildawn.facts.plan import (
    Entry,
    Evidence,
    Fixed,
    Lane,
    ListOf,
    MapOf,
    Need,
    Once,
    Patience,
    Repeat,
    Step,
    TaskRef,
    Value,
    When,
)
from tildawn.runtime.plan.document import Mapping, Node, Scalar, Sequence
from tildawn.runtime.plan.form import ANY, Form
from tildawn.runtime.plan.kinds import EvidenceKind, Kind, Registry
from tildawn.runtime.plan.layout import GENERIC, NEED, STEP_NAME, item_shape
from tildawn.runtime.plan.problem import Mark
from tildawn.runtime.plan.reading import Reading, Use
from tildawn.runtime.plan.shape import Held, RecordShape
from tildawn.units import Micros, MicroUsd


#: A run records each step and knows each by name; more belongs into rows or a task.
STEPS_MAX = 500


@dataclass(frozen=True, slots=True)
class StepDraft:
    """A step with what it uses; ``step`` is None when it could not be read whole."""

    name: str
    mark: Mark
    step: Step | None
    output: Form
    uses: list[Use]


@dataclass(slots=True)
class ItemDraft:
    """An entry of ``work`` as far as it could be read, with the places of its parts."""

    id: str
    mark: Mark
    held: dict[str, Held]
    #: Uses outside the steps: of the key and the subject, and of the input.
    key_uses: list[Use] = field(default_factory=list[Use])
    input_uses: list[Use] = field(default_factory=list[Use])
    steps: list[StepDraft] = field(default_factory=list[StepDraft])
    evidence: list[Evidence] = field(default_factory=list[Evidence])
    evidence_uses: list[Use] = field(default_factory=list[Use])
    needs: list[tuple[Need, Mark]] = field(default_factory=list[tuple[Need, Mark]])
    task: TaskRef | None = None

    def value(self, name: str) -> Value | None:
        """The value of a key, or None.

        Raises:
            Nothing.
        """
        held = self.held.get(name)
        return None if held is None else held.value

    def text(self, name: str) -> str | None:
        """The text of a key that is no template, or None.

        Raises:
            Nothing.
        """
        value = self.value(name)
        return value.value if isinstance(value, Fixed) and isinstance(value.value, str) else None

    def number(self, name: str) -> int | None:
        """The whole number of a key, or None.

        Raises:
            Nothing.
        """
        value = self.value(name)
        return value.value if isinstance(value, Fixed) and isinstance(value.value, int) else None

    def money(self, name: str) -> MicroUsd | None:
        """The money of a key, or None.

        Raises:
            Nothing.
        """
        amount = self.number(name)
        return None if amount is None else MicroUsd(amount)

    @property
    def once(self) -> Once:
        """Within what its keys are unique."""
        return Once(self.text("once") or Once.NIGHT)

    @property
    def lane(self) -> Lane:
        """Whose work it is."""
        return Lane(self.text("lane") or Lane.OWNER)


def read_item(node: Node, reading: Reading, registry: Registry) -> ItemDraft | None:
    """Read one entry; problems are noted in the reading.

    Raises:
        Nothing.
    """
    outer = reading.part()
    held = item_shape(registry).held(node, outer, "a work item")
    reading.secrets += outer.secrets
    if held is None:
        return None
    draft = ItemDraft("", node.mark, held)
    draft.id = draft.text("id") or ""
    draft.key_uses = [
        use for name in ("key", "subject") for use in _uses_within(outer.uses, held.get(name))
    ]
    draft.input_uses = _uses_within(outer.uses, held.get("input"))
    _reserved(held, reading, registry)
    _either(draft, reading)
    if "steps" in held:
        _steps(draft, held["steps"].node, reading, registry)
    if "evidence" in held:
        _evidence(draft, held["evidence"].node, reading, registry)
    if "needs" in held:
        _needs(draft, held["needs"].node, reading)
    _task(draft, reading)
    return draft


def _uses_within(uses: list[Use], held: Held | None) -> list[Use]:
    nodes = {id(node) for node in _scalars(held.node)} if held is not None else set[int]()
    return [use for use in uses if id(use.node) in nodes]


def _scalars(node: Node) -> list[Scalar]:
    match node:
        case Scalar():
            return [node]
        case Sequence():
            return [scalar for item in node.items for scalar in _scalars(item)]
        case Mapping():
            return [scalar for _, child in node.entries for scalar in _scalars(child)]


def _reserved(held: dict[str, Held], reading: Reading, registry: Registry) -> None:
    for name, place in held.items():
        if name in registry.reserved:
            found = f"the key {name!r} is reserved and does nothing yet"
            reading.problems.add(place.key, found, expected="the plan without it")


def _either(draft: ItemDraft, reading: Reading) -> None:
    held = draft.held
    what = f"the item {draft.id!r}" if draft.id else "a work item"
    if "steps" not in held and "task" not in held:
        reading.problems.add(draft.mark, f"{what} has nothing to do", expected="steps or task")
    if "steps" in held and "task" in held:
        reading.problems.add(held["task"].key, "task beside steps", expected="one of them")
    if "input" in held and "task" not in held:
        reading.problems.add(held["input"].key, "input without a task", expected="a task")
    if "for_each" in held and "key" not in held:
        found = f"{what} has for_each and no key"
        expected = 'what names a row, such as key: "{{ item.sku }}"'
        reading.problems.add(held["for_each"].key, found, expected=expected)
    total, each = draft.money("budget_total"), draft.money("budget")
    if total is not None and each is not None and each > total:
        found = "the budget of one run is above budget_total"
        reading.problems.add(held["budget"].node.mark, found, expected="at most budget_total")


# Steps.


def _steps(draft: ItemDraft, node: Node, reading: Reading, registry: Registry) -> None:
    if not isinstance(node, Sequence) or not node.items:
        found = f"steps of {draft.id!r} are no list" if draft.id else "steps are no list"
        reading.problems.add(node.mark, found, expected="- name: { kind: { … } }")
        return
    if len(node.items) > STEPS_MAX:
        found, expected = f"{len(node.items):,} steps in one item", f"at most {STEPS_MAX}"
        reading.problems.add(node.mark, found, expected=expected)
        return
    for entry in node.items:
        step = _step(draft, entry, reading, registry)
        if step is not None:
            draft.steps.append(step)


def _step(draft: ItemDraft, node: Node, reading: Reading, registry: Registry) -> StepDraft | None:
    expected = "one name with its kind: - copy: { chat: { … } }"
    if not isinstance(node, Mapping) or len(node.entries) != 1:
        found = "a step that is no map of one name"
        if isinstance(node, Mapping) and len(node.entries) > 1:
            names = ", ".join(key.text for key, _ in node.entries[:5])
            found = f"a step with several names ({names})"
        reading.problems.add(node.mark, found, expected=expected)
        return None
    key, body = node.entries[0]
    _step_name(draft, key, reading)
    if not isinstance(body, Mapping):
        found = f"the step {key.text!r} has no kind"
        if key.text in registry.kinds:
            found = f"a step without a name before its kind {key.text!r}"
        reading.problems.add(body.mark, found, expected=expected)
        return StepDraft(key.text, key.mark, None, ANY, [])
    return _StepReader(draft, key, reading, registry).read(body)


def _step_name(draft: ItemDraft, key: Scalar, reading: Reading) -> None:
    first = next((step for step in draft.steps if step.name == key.text), None)
    if re.fullmatch(STEP_NAME, key.text) is None:
        found = f"the step name {key.text!r:.80}"
        reading.problems.add(key.mark, found, expected="letters, digits and '_', a letter first")
    elif key.text == "item":
        reading.problems.add(
            key.mark, "a step named 'item'", expected="another name; it is the row"
        )
    elif first is not None:
        found = f"the step {key.text!r} a second time"
        expected = f"another name; the first is in line {first.mark.line}"
        reading.problems.add(key.mark, found, expected=expected)


class _StepReader:
    """Reads the body of one step: a kind and the keys beside it."""

    def __init__(self, draft: ItemDraft, key: Scalar, reading: Reading, registry: Registry) -> None:
        self._draft = draft
        self._key = key
        self._name = key.text
        self._outer = reading
        self._problems = reading.problems
        self._registry = registry

    def read(self, body: Mapping) -> StepDraft:
        """The step, its problems noted."""
        kinds = [key for key, _ in body.entries if key.text in self._registry.kinds]
        generic = self._generic(body)
        if len(kinds) != 1:
            self._kindless(body, kinds)
            return StepDraft(self._name, self._key.mark, None, ANY, [])
        kind = self._registry.kinds[kinds[0].text]
        node = next(child for key, child in body.entries if key is kinds[0])
        inner = self._outer.part()
        fields = _fields_of(kind, node, inner)
        self._outer.secrets += inner.secrets
        if fields is None:
            return StepDraft(self._name, self._key.mark, None, ANY, inner.uses)
        step = self._step(kind, fields, generic)
        return StepDraft(self._name, self._key.mark, step, kind.output(fields), inner.uses)

    def _generic(self, body: Mapping) -> dict[str, Held]:
        known = {spec.name for spec in GENERIC}
        kinds = self._registry.kinds
        beside = Mapping(tuple(e for e in body.entries if e[0].text in known), body.mark)
        for key, _ in body.entries:
            if key.text not in known and key.text not in kinds:
                found = "unknown key {} in the step " + repr(self._name)
                live = (known | set(kinds)) - self._registry.reserved
                self._problems.unknown(key.mark, found, key.text, sorted(live))
        held = RecordShape(GENERIC).held(beside, self._outer, f"the step {self._name!r}") or {}
        _reserved(held, self._outer, self._registry)
        return held

    def _kindless(self, body: Mapping, kinds: list[Scalar]) -> None:
        if kinds:
            names = " and ".join(key.text for key in kinds)
            found = f"the step {self._name!r} has the kinds {names}"
            self._problems.add(kinds[1].mark, found, expected="one kind a step")
        elif self._name in self._registry.kinds:
            found = f"a step without a name before its kind {self._name!r}"
            expected = f"- name: {{ {self._name}: {{ … }} }}"
            self._problems.add(self._key.mark, found, expected=expected)
        elif all(key.text in {spec.name for spec in GENERIC} for key, _ in body.entries):
            found = f"the step {self._name!r} has no kind"
            expected = f"one of {', '.join(self._registry.kinds)}"
            self._problems.add(body.mark, found, expected=expected)

    def _step(self, kind: Kind, fields: MapOf, held: dict[str, Held]) -> Step:
        generic = ItemDraft(self._name, self._key.mark, held)
        model = (generic.text("model") or self._draft.text("model")) if kind.model else None
        self._ladder(kind, held, model)
        repeat, patience = generic.text("repeat"), generic.text("patience")
        return Step(
            name=self._name,
            kind=kind.name,
            fields=fields,
            route=generic.text("route") or kind.route(fields),
            repeat=Repeat(repeat) if repeat is not None else kind.repeat(fields),
            timeout=Micros(generic.number("timeout") or kind.timeout),
            max_cost=generic.money("max_cost"),
            model=model,
            accepts=_texts(generic.value("accepts")),
            tiers=_texts(generic.value("tiers")),
            patience=Patience(patience) if patience is not None else UNSET,
            retry=generic.number("retry"),
            approve=generic.value("approve") == Fixed(value=True),
        )

    def _ladder(self, kind: Kind, held: dict[str, Held], model: str | None) -> None:
        """Who else may answer, and what may stand in: only where the kind has such."""
        needs = {"model": kind.model, "accepts": kind.model, "tiers": kind.tiers}
        for name, there in {**needs, "patience": kind.tiers}.items():
            if name in held and not there:
                found = f"{name} in a step of the kind {kind.name}"
                expected = "it at steps that ask a model"
                self._problems.add(held[name].key, found, expected=expected)
        if kind.model and "accepts" in held:
            self._names(held["accepts"], known=None, taken=() if model is None else (model,))
        if kind.tiers and "tiers" in held:
            self._names(held["tiers"], known=kind.tiers, taken=())

    def _names(self, held: Held, *, known: tuple[str, ...] | None, taken: tuple[str, ...]) -> None:
        """Each name at most once, and one that the kind has."""
        seen = set(taken)
        for node in held.node.items if isinstance(held.node, Sequence) else ():
            name = node.text if isinstance(node, Scalar) else ""
            if name in seen:
                found = f"{name!r:.80} a second time in the step {self._name!r}"
                self._problems.add(node.mark, found, expected="each name once")
            elif name and known is not None and name not in known:
                what = "no {} stands in for an answer of the step " + repr(self._name)
                self._problems.unknown(node.mark, what, name, known)
            seen.add(name)


def _texts(value: Value | None) -> tuple[str, ...]:
    items = value.items if isinstance(value, ListOf) else ()
    return tuple(str(item.value) for item in items if isinstance(item, Fixed))


def _fields_of(kind: Kind | EvidenceKind, node: Node, reading: Reading) -> MapOf | None:
    if not isinstance(node, Mapping):
        sort = "a list" if isinstance(node, Sequence) else "a text"
        reading.problems.add(node.mark, f"{kind.name} is {sort}", expected=kind.example)
        return None
    before = reading.problems.count
    shape = kind.shape
    held = shape.held(node, reading, kind.name)
    if held is None:
        return None
    kind.check(held, reading, node.mark)
    if reading.problems.count > before:
        return None
    # In the order of the kind, so that reordering the file gives the same plan.
    read = [
        (spec.name, held[spec.name].value if spec.name in held else spec.default)
        for spec in shape.fields
    ]
    return MapOf(tuple(Entry(name, value) for name, value in read if value is not None))


# Evidence and needs.


def _evidence(draft: ItemDraft, node: Node, reading: Reading, registry: Registry) -> None:
    if not isinstance(node, Sequence):
        expected = "- file: { path: … }"
        reading.problems.add(node.mark, "evidence is no list", expected=expected)
        return
    inner = reading.part()
    for entry in node.items:
        if not isinstance(entry, Mapping) or len(entry.entries) != 1:
            expected = "one kind: - file: { path: … }"
            reading.problems.add(
                entry.mark, "a check that is no map of one kind", expected=expected
            )
            continue
        key, body = entry.entries[0]
        kind = registry.evidence.get(key.text)
        if kind is None:
            found = "unknown kind of evidence {}"
            reading.problems.unknown(key.mark, found, key.text, registry.evidence)
            continue
        fields = _fields_of(kind, body, inner)
        if fields is not None:
            draft.evidence.append(Evidence(kind=kind.name, fields=fields, timeout=kind.timeout))
    draft.evidence_uses = inner.uses
    reading.secrets += inner.secrets


def _needs(draft: ItemDraft, node: Node, reading: Reading) -> None:
    if not isinstance(node, Sequence):
        reading.problems.add(node.mark, "needs is no list", expected="[other-item]")
        return
    for entry in node.items:
        need = _need(entry, reading)
        if need is not None:
            draft.needs.append((need, _need_mark(entry)))


def _need(node: Node, reading: Reading) -> Need | None:
    if isinstance(node, Mapping):
        held = NEED.held(node, reading, "an entry of needs") or {}
        named = ItemDraft("", node.mark, held)
        item = named.text("item")
        return None if item is None else Need(item, When(named.text("when") or When.ALL))
    scalar = reading.text(node, "an entry of needs")
    return None if scalar is None else Need(scalar.text)


def _need_mark(node: Node) -> Mark:
    if isinstance(node, Mapping):
        return next((child.mark for key, child in node.entries if key.text == "item"), node.mark)
    return node.mark


_TASK = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)


def _task(draft: ItemDraft, reading: Reading) -> None:
    text = draft.text("task")
    if text is None:
        return
    match = _TASK.fullmatch(text)
    if match is None:
        found = f"the task {text!r:.80}"
        reading.problems.add(draft.held["task"].node.mark, found, expected="module:function")
        return
    draft.task = TaskRef(match[1], match[2])
