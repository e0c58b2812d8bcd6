"""One reading of a plan: its problems, the expressions it uses, the secrets it names.

What it is not: a check of what the expressions mean; that needs the scope (``scope``).
"""

from dataclasses import dataclass, field

from tildawn.facts.plan import Fixed, Mode, Template, Text, Value
from tildawn.runtime.plan.document import Mapping, Node, Scalar
from tildawn.runtime.plan.problem import Mark, Problems
from tildawn.runtime.plan.template import Placed, Spot, parse_template


@dataclass(frozen=True, slots=True)
class Use:
    """One expression where it stands."""

    placed: Placed
    node: Scalar
    mode: Mode
    #: Whether it is the whole value, so that the value keeps its type.
    whole: bool

    def mark(self, spot: Spot) -> Mark:
        """The place of one of its tokens in the file.

        Raises:
            Nothing.
        """
        return self.node.place(spot.offset, spot.token)


@dataclass(frozen=True, slots=True)
class SecretUse:
    """One ``${NAME}`` where it stands."""

    name: str
    mark: Mark


@dataclass(slots=True)
class Reading:
    """What one part of the plan said; parts of a plan share their problems."""

    problems: Problems
    uses: list[Use] = field(default_factory=list[Use])
    secrets: list[SecretUse] = field(default_factory=list[SecretUse])

    def part(self) -> "Reading":
        """A reading of one part, whose uses and secrets stay apart.

        Raises:
            Nothing.
        """
        return Reading(self.problems)

    def template(self, node: Scalar, *, mode: Mode, what: str, secrets: bool) -> Value | None:
        """The text of a node as a value, its templates noted.

        Args:
            node: the scalar.
            mode: what a template may become here.
            what: how messages call the place, such as ``url in http``.
            secrets: whether ``${NAME}`` may stand here.

        Returns:
            `Fixed` text when nothing is to be filled in; None when it has faults.

        Raises:
            Nothing.
        """
        parsed = parse_template(node.text)
        for fault in parsed.faults:
            mark = node.place(fault.spot.offset, fault.spot.token)
            self.problems.add(mark, fault.found, expected=fault.expected, nearest=fault.nearest)
        for env, spot in parsed.names:
            mark = node.place(spot.offset, spot.token)
            self.secrets.append(SecretUse(env.name, mark))
            if not secrets:
                found = f"the secret ${{{env.name}}} in {what}"
                self.problems.add(mark, found, expected=_WHERE_SECRETS)
        whole = len(parsed.parts) == 1
        self.uses += [Use(placed, node, mode, whole) for placed in parsed.placed]
        if parsed.faults:
            return None
        if all(isinstance(part, Text) for part in parsed.parts):
            return Fixed("".join(part.text for part in parsed.parts if isinstance(part, Text)))
        return Template(tuple(parsed.parts), mode)

    def text(self, node: Node, what: str) -> Scalar | None:
        """The node as a scalar with something in it; a problem and None otherwise.

        Raises:
            Nothing.
        """
        if not isinstance(node, Scalar):
            sort = "a map" if isinstance(node, Mapping) else "a list"
            self.problems.add(node.mark, f"{what} is {sort}", expected="a text")
            return None
        if not node.text:
            self.problems.add(node.mark, f"{what} is empty", expected="a text")
            return None
        return node


_WHERE_SECRETS = "it only in url, headers, json, body or env, which go out through the door"
