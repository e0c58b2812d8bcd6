"""What a table objected to, as an error that names the rule.

What it is not: the refusal of an expectation, which is an answer.
"""

import re

import apsw

from tildawn.errors import InvariantViolated


_PLACE = re.compile(r"constraint failed: (\w+)\.\w")


def refusal_of(error: Exception) -> InvariantViolated:
    """What a table objected to; ``fields`` name the rule, and the table where SQLite says it.

    Raises:
        Nothing.
    """
    # The words of SQLite name what the schema says; those of Python could quote a value.
    rule = str(error) if isinstance(error, apsw.Error) else type(error).__name__
    place = _PLACE.search(rule)
    message = f"a table refuses these facts: {error}"
    return InvariantViolated(message, rule=rule, table=place[1] if place else "")
