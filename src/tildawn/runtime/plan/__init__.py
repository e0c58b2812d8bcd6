"""Plans: a file in, a checked value or every reason why not out; templates, rows, snapshots."""

from tildawn.runtime.plan.builtin import BUILTIN, RESERVED
from tildawn.runtime.plan.compile import Compiled, Copy, compile_body, compile_plan, read_plan
from tildawn.runtime.plan.form import ANY, ARTIFACT, BOOL, NUMBER, TEXT, Form, list_of, record
from tildawn.runtime.plan.kinds import EvidenceKind, Kind, Reach, Registry, written
from tildawn.runtime.plan.problem import Mark, Problem, Problems, problems_of
from tildawn.runtime.plan.published import plan_schema
from tildawn.runtime.plan.reading import Reading, SecretUse
from tildawn.runtime.plan.render import (
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
from tildawn.runtime.plan.show import Shown, ShownItem, ShownReach, ShownStep, show, show_text
from tildawn.runtime.plan.snapshot import Snapshot, snapshot_of, take_snapshot
from tildawn.runtime.plan.table import Table, TableFault, TableRow, open_table
from tildawn.runtime.plan.task import resolve_task


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
