"""Scopes: whether each expression names something that will be there, of a sort that fits.

What it is not: evaluation.  Forms are known before anything ran; what only a run can show is
checked again by ``render``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tildawn.facts.plan import Mode
from tildawn.runtime.plan.filters import FILTERS
from tildawn.runtime.plan.form import ANY, TEXT, Form, Sort, record
from tildawn.runtime.plan.item import ItemDraft
from tildawn.runtime.plan.problem import Mark, Problems, one_of
from tildawn.runtime.plan.reading import Use


ROW = "item"

_WHOLE_ARTIFACT = frozenset({Mode.FILE, Mode.CONTENT})


@dataclass(frozen=True, slots=True)
class _Scope:
    """What may be named at one place."""

    names: Mapping[str, Form]
    #: Steps that come only later, with their line.
    later: Mapping[str, int]
    #: The CSV file whose columns are the fields of ``item``; None when there is no row.
    rows: str | None


def row_form(columns: tuple[str, ...] | None) -> Form:
    """The form of a row: its columns as texts; anything when the file could not be read.

    Raises:
        Nothing.
    """
    return ANY if columns is None else record(**dict.fromkeys(columns, TEXT))


def check_uses(draft: ItemDraft, row: Form | None, problems: Problems) -> None:
    """Check every expression of one item.

    Args:
        draft: the item.
        row: the form of its rows; None without ``for_each``.
        problems: takes what is wrong.

    Raises:
        Nothing.
    """
    rows = draft.text("for_each") if row is not None else None
    names: dict[str, Form] = {} if row is None else {ROW: row}
    lines = {step.name: step.mark.line for step in draft.steps}
    for use in (*draft.key_uses, *draft.input_uses):
        _check(use, _Scope(dict(names), lines, rows), problems)
    for index, step in enumerate(draft.steps):
        later = {s.name: s.mark.line for s in draft.steps[index:] if s.name not in names}
        for use in step.uses:
            _check(use, _Scope(dict(names), later, rows), problems)
        names[step.name] = step.output
    for use in draft.evidence_uses:
        _check(use, _Scope(names, {}, rows), problems)


def _check(use: Use, scope: _Scope, problems: Problems) -> None:
    expr, root = use.placed.expr, use.placed.root
    form = scope.names.get(expr.root)
    if form is None:
        _unknown(use.mark(root), expr.root, scope, problems)
        return
    for step, spot in zip(expr.path, use.placed.path, strict=True):
        inner = _step(form, step)
        if inner is None:
            _no_field(use.mark(spot), step, _Found(expr.root, form), scope, problems)
            return
        form = inner
    for applied in expr.filters:
        gives = FILTERS[applied.name].gives
        form = form if applied.name == "default" else gives
    _fits(use, form, problems)


def _unknown(mark: Mark, name: str, scope: _Scope, problems: Problems) -> None:
    if name in scope.later:
        found = f"{name!r} is not known yet"
        expected = f"a step before this one; {name!r} runs in line {scope.later[name]}"
        problems.add(mark, found, expected=expected)
    elif name == ROW:
        found = "'item' without for_each"
        problems.add(mark, found, expected="for_each: a CSV file, whose row it is")
    else:
        problems.unknown(mark, "unknown variable {}", name, scope.names)


def _step(form: Form, step: str | int) -> Form | None:
    """The form within a form; None when there cannot be such."""
    if form.sort is Sort.ANY:
        return ANY
    if form.sort is Sort.RECORD and isinstance(step, str):
        return (form.fields or {}).get(step)
    if form.sort is Sort.LIST and isinstance(step, int):
        return form.of or ANY
    return None


@dataclass(frozen=True, slots=True)
class _Found:
    """A form and the name it was reached from."""

    root: str
    form: Form


def _no_field(mark: Mark, step: str | int, at: _Found, scope: _Scope, problems: Problems) -> None:
    if at.form.sort is not Sort.RECORD or not isinstance(step, str):
        found = f"{step!r} of a {at.form.sort}"
        expected = "a name" if at.form.sort is Sort.RECORD else "the value itself"
        if at.form.sort is Sort.LIST:
            expected = "a number such as [0]"
        problems.add(mark, found, expected=expected)
        return
    fields = at.form.fields or {}
    missing = (
        f"missing column {{}} in {scope.rows}"
        if at.root == ROW
        else f"unknown field {{}} of {at.root}"
    )
    problems.unknown(mark, missing, step, fields)


def _fits(use: Use, form: Form, problems: Problems) -> None:
    mark = use.mark(use.placed.root)
    whole_value = use.whole and use.mode is Mode.VALUE
    if form.sort is Sort.ARTIFACT and not (use.whole and use.mode in _WHOLE_ARTIFACT):
        found = f"the artifact {use.placed.expr.root!r} within a text or JSON"
        problems.add(mark, found, expected="it alone in files, content or argv")
    elif form.sort in {Sort.LIST, Sort.RECORD} and not whole_value:
        found = f"a {form.sort} where a text has to be"
        fix = "| join(', ') or | json" if form.sort is Sort.LIST else "one of its fields, or | json"
        known = form.fields or {}
        problems.add(mark, found, expected=f"{fix}; fields: {one_of(known)}" if known else fix)
