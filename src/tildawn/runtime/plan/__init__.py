"""Plans: a file in, a checked value or every reason why not out; templates, rows, snapshots.

What it is not: loaded as a whole.  A name is loaded when it is used, because the compiler is not
needed to go on with an accepted night.
"""

from importlib import import_module
from typing import TYPE_CHECKING


__all__ = [
    "ANY",
    "ARTIFACT",
    "BOOL",
    "BUILTIN",
    "DURATION",
    "MONEY",
    "NUMBER",
    "RESERVED",
    "TEXT",
    "BoolShape",
    "ChoiceShape",
    "Compiled",
    "Copy",
    "EvidenceKind",
    "FieldSpec",
    "Form",
    "Held",
    "IntShape",
    "JsonShape",
    "Kind",
    "ListShape",
    "MapShape",
    "Mark",
    "PlanRow",
    "Problem",
    "Problems",
    "Reach",
    "Reading",
    "RecordShape",
    "Registry",
    "SchemaShape",
    "Scope",
    "Sealed",
    "SecretUse",
    "Shape",
    "Shown",
    "ShownItem",
    "ShownReach",
    "ShownStep",
    "Snapshot",
    "Table",
    "TableFault",
    "TableRow",
    "TextShape",
    "compile_body",
    "compile_plan",
    "compile_rows",
    "evaluate",
    "expanded",
    "list_of",
    "open_table",
    "plan_schema",
    "problems_of",
    "read_plan",
    "record",
    "render",
    "render_text",
    "resolve_task",
    "show",
    "show_text",
    "snapshot_of",
    "source_of",
    "take_snapshot",
    "unexpanded",
    "written",
]

if TYPE_CHECKING:  # what `_LAZY` loads, for those who read types and run nothing
    from tildawn.runtime.plan.builtin import BUILTIN, RESERVED
    from tildawn.runtime.plan.compile import Compiled, Copy, compile_body, compile_plan, read_plan
    from tildawn.runtime.plan.form import ANY, ARTIFACT, BOOL, NUMBER, TEXT, Form, list_of, record
    from tildawn.runtime.plan.kinds import EvidenceKind, Kind, Reach, Registry, written
    from tildawn.runtime.plan.problem import Mark, Problem, Problems, problems_of
    from tildawn.runtime.plan.published import plan_schema
    from tildawn.runtime.plan.reading import Reading, SecretUse
    from tildawn.runtime.plan.rendering import (
        Scope,
        Sealed,
        evaluate,
        expanded,
        render,
        render_text,
        source_of,
        unexpanded,
    )
    from tildawn.runtime.plan.rows import PlanRow, compile_rows
    from tildawn.runtime.plan.shape import (
        DURATION,
        MONEY,
        BoolShape,
        ChoiceShape,
        FieldSpec,
        Held,
        IntShape,
        JsonShape,
        ListShape,
        MapShape,
        RecordShape,
        SchemaShape,
        Shape,
        TextShape,
    )
    from tildawn.runtime.plan.showing import (
        Shown,
        ShownItem,
        ShownReach,
        ShownStep,
        show,
        show_text,
    )
    from tildawn.runtime.plan.snapshot import Snapshot, snapshot_of, take_snapshot
    from tildawn.runtime.plan.table import Table, TableFault, TableRow, open_table
    from tildawn.runtime.plan.task import resolve_task

#: The module of this package in which each name lives.
_LAZY = {
    "ANY": "form",
    "ARTIFACT": "form",
    "BOOL": "form",
    "BUILTIN": "builtin",
    "BoolShape": "shape",
    "ChoiceShape": "shape",
    "Compiled": "compile",
    "Copy": "compile",
    "DURATION": "shape",
    "EvidenceKind": "kinds",
    "FieldSpec": "shape",
    "Form": "form",
    "Held": "shape",
    "IntShape": "shape",
    "JsonShape": "shape",
    "Kind": "kinds",
    "ListShape": "shape",
    "MONEY": "shape",
    "MapShape": "shape",
    "Mark": "problem",
    "NUMBER": "form",
    "PlanRow": "rows",
    "Problem": "problem",
    "Problems": "problem",
    "RESERVED": "builtin",
    "Reach": "kinds",
    "Reading": "reading",
    "RecordShape": "shape",
    "Registry": "kinds",
    "SchemaShape": "shape",
    "Scope": "rendering",
    "Sealed": "rendering",
    "SecretUse": "reading",
    "Shape": "shape",
    "Shown": "showing",
    "ShownItem": "showing",
    "ShownReach": "showing",
    "ShownStep": "showing",
    "Snapshot": "snapshot",
    "TEXT": "form",
    "Table": "table",
    "TableFault": "table",
    "TableRow": "table",
    "TextShape": "shape",
    "compile_body": "compile",
    "compile_plan": "compile",
    "compile_rows": "rows",
    "evaluate": "rendering",
    "expanded": "rendering",
    "list_of": "form",
    "open_table": "table",
    "plan_schema": "published",
    "problems_of": "problem",
    "read_plan": "compile",
    "record": "form",
    "render": "rendering",
    "render_text": "rendering",
    "resolve_task": "task",
    "show": "showing",
    "show_text": "showing",
    "snapshot_of": "snapshot",
    "source_of": "rendering",
    "take_snapshot": "snapshot",
    "unexpanded": "rendering",
    "written": "kinds",
}


def __getattr__(name: str) -> object:
    home = _LAZY.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
