"""The JSON Schema of plans, generated from the registries, for editors and for `plan schema`.

What it is not: the check.  It knows shapes; what names mean together only the compiler knows.
"""

import json

from tildawn.runtime.plan.builtin import BUILTIN
from tildawn.runtime.plan.kinds import Registry
from tildawn.runtime.plan.layout import plan_shape


def plan_schema(registry: Registry = BUILTIN) -> str:
    """The schema as indented JSON text; the same registry gives the same text.

    Raises:
        Nothing.

    Source:
        JSON Schema draft 2020-12.
    """
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tildawn plan",
        **plan_shape(registry).schema(),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False)
