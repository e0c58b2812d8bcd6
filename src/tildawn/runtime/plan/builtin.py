"""The kinds that ship with Tildawn: five of steps and seven of evidence.

What it is not: a border.  An application registers its own beside them in the same form.
"""

import re
from collections.abc import Mapping
from pathlib import PurePath

from tildawn.facts.plan import (
    Entry,
    Env,
    Expr,
    Fixed,
    ListOf,
    MapOf,
    Mode,
    Repeat,
    Template,
    Text,
    Value,
)
from tildawn.guard.ladder import TIERS
from tildawn.runtime.plan.form import ANY, ARTIFACT, NUMBER, TEXT, Form, form_of_schema, record
from tildawn.runtime.plan.kinds import EvidenceKind, Kind, Reach, Registry, written
from tildawn.runtime.plan.problem import Mark
from tildawn.runtime.plan.reading import Reading
from tildawn.runtime.plan.shape import (
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
    TextShape,
)
from tildawn.units import SECOND, Micros


_TEXT = TextShape(Mode.TEXT)
_PATH = TextShape(Mode.PATH)
_URL = TextShape(Mode.URL, secrets=True)
_SECRET_TEXTS = MapShape(TextShape(Mode.TEXT, secrets=True, empty=True))
_ARGV = ListShape(TextShape(Mode.CONTENT, empty=True), least=1)
_SIZE = TextShape(
    pattern=r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", form="width x height such as 1024x1024"
)
_SHA256 = TextShape(pattern=r"[0-9a-f]{64}", form="64 hexadecimal digits")

#: Default time limits. Source: the clamp of 45 to 90 s for pictures and the 30 min of a whole
#: task in the overnight policy; a program may well take ten minutes, a file no more than ten
#: seconds.
_SECONDS = {"chat": 60, "image": 90, "http": 30, "shell": 600, "file": 10}
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_FILE_VERBS = ("read", "write", "append", "delete")


def _timeout(kind: str) -> Micros:
    return Micros(_SECONDS[kind] * SECOND)


def _safe(_fields: MapOf) -> Repeat:
    return Repeat.SAFE


def _never(_fields: MapOf) -> Repeat:
    return Repeat.NEVER


# Models.


def _chat_output(fields: MapOf) -> Form:
    return TEXT if fields.get("schema") is None else form_of_schema(fields.get("schema"))


CHAT = Kind(
    name="chat",
    help="Ask a language model; with a schema the answer is data of that form.",
    fields=(
        FieldSpec("prompt", _TEXT, required=True, help="what to ask"),
        FieldSpec("system", _TEXT, help="how to answer"),
        FieldSpec("schema", SchemaShape(), help="the form of the answer: { title: str }"),
        FieldSpec("max_tokens", IntShape(1, 1_000_000), help="the longest answer paid for"),
    ),
    example="{ prompt: … }",
    timeout=_timeout("chat"),
    repeat=_safe,
    reach=lambda _: (Reach("ask", "a model"),),
    model=True,
    tiers=TIERS["chat"],
    output=_chat_output,
)

IMAGE = Kind(
    name="image",
    help="Have a picture drawn by a model.",
    fields=(
        FieldSpec("prompt", _TEXT, required=True, help="what to draw"),
        FieldSpec("size", _SIZE, required=True, help="width x height such as 1024x1024"),
    ),
    example="{ prompt: …, size: 1024x1024 }",
    timeout=_timeout("image"),
    repeat=_safe,
    reach=lambda _: (Reach("draw", "a model"),),
    model=True,
    tiers=TIERS["image"],
    output=lambda _: ARTIFACT,
)


# HTTP.


def host_of(url: Value | None) -> str:
    """The host of a URL as it is written: ``shop.example``, ``${SHOP_URL}`` or ``*``.

    Raises:
        Nothing.
    """
    if isinstance(url, Template) and isinstance(url.parts[0], Expr):
        return "*"
    text = written(url)
    if text.startswith("${"):
        return text[: text.index("}") + 1]
    match = re.match(r"https?://([^/?#]+)", text)
    return match.group(1) if match else "*"


def _http_method(fields: MapOf) -> str:
    return str(fields.plain("method") or "GET")


def _http_reach(fields: MapOf) -> tuple[Reach, ...]:
    return (Reach(_http_method(fields), host_of(fields.get("url"))),)


def _http_check(fields: Mapping[str, Held], reading: Reading, _mark: Mark) -> None:
    body = fields.get("body")
    if body is not None and ("json" in fields or "files" in fields):
        reading.problems.add(body.key, "body beside json or files", expected="one of them")
    sent = next((fields[name] for name in ("json", "body", "files") if name in fields), None)
    method = fields["method"].value if "method" in fields else Fixed("GET")
    if sent is not None and method in {Fixed("GET"), Fixed("HEAD")}:
        reading.problems.add(
            sent.key, "a body without a method that sends one", expected="method: POST"
        )
    url = fields.get("url")
    if url is not None and url.value is not None:
        _url_check(url, reading)


def _url_check(held: Held, reading: Reading) -> None:
    parts = held.value.parts if isinstance(held.value, Template) else (Text(written(held.value)),)
    first = parts[0]
    if isinstance(first, Env) or (isinstance(first, Expr) and len(parts) == 1):
        return
    text = first.text if isinstance(first, Text) else ""
    match = re.match(r"https?://([^/?#\s]*)([/?#]?)", text)
    if match is None:
        expected = "it to begin with http://, https:// or ${NAME}"
        reading.problems.add(
            held.node.mark, f"the URL {written(held.value)!r:.80}", expected=expected
        )
    elif "@" in match[1]:
        found = "a name or password within the URL"
        reading.problems.add(held.node.mark, found, expected="a header with ${NAME}")
    elif not match[2] and len(parts) > 1 and isinstance(parts[1], Expr):
        found = "a template in the host of the URL"
        reading.problems.add(held.node.mark, found, expected="the host written out, or ${NAME}")
    elif not match[1] and len(parts) == 1:
        reading.problems.add(held.node.mark, "a URL without a host", expected="https://host/path")


def _http_repeat(fields: MapOf) -> Repeat:
    return Repeat.SAFE if _http_method(fields) in _SAFE_METHODS else Repeat.NEVER


HTTP = Kind(
    name="http",
    help="Send an HTTP request.",
    fields=(
        FieldSpec(
            "method",
            ChoiceShape(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")),
            default=Fixed("GET"),
        ),
        FieldSpec("url", _URL, required=True, help="where to; substituted values are encoded"),
        FieldSpec("headers", _SECRET_TEXTS),
        FieldSpec("json", JsonShape(secrets=True), help="a JSON body, or the form's fields"),
        FieldSpec("body", TextShape(Mode.CONTENT, secrets=True), help="a body as it is"),
        FieldSpec("files", MapShape(TextShape(Mode.FILE)), help="artifacts or paths to upload"),
    ),
    example="{ method: POST, url: …, json: { … } }",
    timeout=_timeout("http"),
    repeat=_http_repeat,
    reach=_http_reach,
    route=lambda fields: f"http:{host_of(fields.get('url'))}",
    output=lambda _: record(status=NUMBER, headers=ANY, text=TEXT, json=ANY),
    check=_http_check,
)


# Programs.

#: Programs that read an argument as code, and the options that say so.
_INTERPRETERS = re.compile(
    r"((ba|da|z|k|fi)?sh|python[0-9.]*|perl[0-9.]*|ruby[0-9.]*|node|php[0-9.]*|osascript)"
)
_CODE_OPTION = re.compile(r"-[A-Za-z]*[cer]|--eval|--execute|--command|-p|--print")


def _argv_check(fields: Mapping[str, Held], reading: Reading, _mark: Mark) -> None:
    argv = fields.get("argv")
    if argv is None or not isinstance(argv.value, ListOf) or not argv.value.items:
        return
    values = argv.value.items
    marks = [node.mark for node in getattr(argv.node, "items", ())]
    if len(marks) != len(values):
        return
    words = [written(value) for value in values]
    for at, value in enumerate(values):
        if isinstance(value, Template) and _is_code(words[:at]):
            found = "a template inside the text of a program"
            expected = "it as an argument of its own behind the text, or in env"
            reading.problems.add(marks[at], found, expected=expected)
    if isinstance(values[0], Template):
        found, expected = "a template as the program", "the program written out"
        reading.problems.add(marks[0], found, expected=expected)


def _is_code(before: list[str]) -> bool:
    """Whether what follows these words is read as code: an interpreter, options, the option."""
    if not before or _CODE_OPTION.fullmatch(before[-1]) is None:
        return False
    at = len(before) - 1
    while at > 0 and before[at].startswith("-"):
        at -= 1
    return _INTERPRETERS.fullmatch(PurePath(before[at]).name) is not None


def _argv_reach(fields: MapOf) -> tuple[Reach, ...]:
    argv = fields.get("argv")
    name = written(argv.items[0]) if isinstance(argv, ListOf) and argv.items else "?"
    return (Reach("run", name),)


_PROGRAM = (
    FieldSpec(
        "argv", _ARGV, required=True, help="[program, argument, …]; there is no shell string"
    ),
    FieldSpec("env", _SECRET_TEXTS, help="more environment; may hold ${NAME}"),
    FieldSpec("cwd", _PATH, help="a folder below the plan's"),
)

SHELL = Kind(
    name="shell",
    help="Run a program.",
    fields=_PROGRAM,
    example="{ argv: [program, argument] }, for there is no shell string",
    timeout=_timeout("shell"),
    repeat=_never,
    reach=_argv_reach,
    route=lambda fields: f"shell:{PurePath(_argv_reach(fields)[0].target).name}",
    output=lambda _: record(stdout=TEXT, stderr=TEXT, exit_code=NUMBER),
    check=_argv_check,
)


# Files.


def _file_verb(fields: MapOf) -> tuple[str, Value | None]:
    return next(
        ((v, fields.get(v)) for v in _FILE_VERBS if fields.get(v) is not None), ("read", None)
    )


def _file_check(fields: Mapping[str, Held], reading: Reading, mark: Mark) -> None:
    verbs = [verb for verb in _FILE_VERBS if verb in fields]
    if len(verbs) != 1:
        found = f"{' and '.join(verbs) or 'nothing'} to do with a file"
        reading.problems.add(mark, found, expected=f"exactly one of {', '.join(_FILE_VERBS)}")
        return
    held = fields[verbs[0]]
    if ".tildawn" in PurePath(written(held.value)).parts:
        found = "a path into the house itself"
        reading.problems.add(held.node.mark, found, expected="a path outside of .tildawn")
    writes = verbs[0] in {"write", "append"}
    if writes and "content" not in fields:
        reading.problems.add(mark, f"{verbs[0]} without content", expected="content: …")
    if not writes and "content" in fields:
        found = f"content beside {verbs[0]}"
        reading.problems.add(fields["content"].key, found, expected="write or append")


def _file_repeat(fields: MapOf) -> Repeat:
    # Writing the same bytes or deleting twice changes nothing more; appending twice does.
    return Repeat.NEVER if _file_verb(fields)[0] == "append" else Repeat.SAFE


def _file_output(fields: MapOf) -> Form:
    known = {"path": TEXT, "size": NUMBER, "sha256": TEXT}
    return record(**known, text=TEXT) if _file_verb(fields)[0] == "read" else record(**known)


def _file_reach(fields: MapOf) -> tuple[Reach, ...]:
    verb, path = _file_verb(fields)
    return (Reach(verb, written(path)),)


FILE = Kind(
    name="file",
    help="Read, write, append to or delete one file below the plan's folder.",
    fields=(
        *(FieldSpec(verb, _PATH, help=f"the path to {verb}") for verb in _FILE_VERBS),
        FieldSpec("content", TextShape(Mode.CONTENT, empty=True), help="a text or an artifact"),
    ),
    example="{ write: path, content: … }",
    timeout=_timeout("file"),
    repeat=_file_repeat,
    reach=_file_reach,
    route=lambda _: "file",
    output=_file_output,
    check=_file_check,
)


# Evidence.


def _path_reach(fields: MapOf) -> tuple[Reach, ...]:
    for name in ("path", "database", "file"):
        if fields.get(name) is not None:
            return (Reach("read", written(fields.get(name))),)
    return ()


def _no_reach(_fields: MapOf) -> tuple[Reach, ...]:
    return ()


def _file_evidence_check(fields: Mapping[str, Held], reading: Reading, mark: Mark) -> None:
    if "path" in fields and len(fields) == 1:
        expected = "one of exists, changed, sha256, contains"
        reading.problems.add(mark, "a file check that checks nothing", expected=expected)
    exists = fields.get("exists")
    if (
        exists is not None
        and exists.value == Fixed(value=False)
        and len(fields) > len(("path", "exists"))
    ):
        reading.problems.add(
            exists.key, "exists: false beside what a file holds", expected="one of them"
        )


_DAY = Micros(24 * 3600 * SECOND)

_YES_NO = ListOf((Fixed("yes"), Fixed("no")))

EVIDENCE = (
    EvidenceKind(
        name="http",
        help="An HTTP answer is as expected.",
        fields=(
            FieldSpec("url", _URL, required=True),
            FieldSpec("method", ChoiceShape(("GET", "HEAD")), default=Fixed("GET")),
            FieldSpec("headers", _SECRET_TEXTS),
            FieldSpec(
                "expect",
                RecordShape(
                    (
                        FieldSpec("status", IntShape(100, 599)),
                        FieldSpec("json", JsonShape(), help="what the answer holds at least"),
                        FieldSpec("text", _TEXT, help="what the answer contains"),
                    )
                ),
                required=True,
                help="what has to be so: { status: 200 }",
            ),
        ),
        example="{ url: …, expect: { status: 200 } }",
        reach=_http_reach,
        check=_http_check,
    ),
    EvidenceKind(
        name="file",
        help="A file is there, has changed, or holds something.",
        fields=(
            FieldSpec("path", _PATH, required=True),
            FieldSpec("exists", BoolShape()),
            FieldSpec("changed", BoolShape(), help="differs from before the work"),
            FieldSpec("sha256", _SHA256),
            FieldSpec("contains", _TEXT),
        ),
        example="{ path: …, changed: true }",
        reach=_path_reach,
        check=_file_evidence_check,
    ),
    EvidenceKind(
        name="command",
        help="A program ends as expected.",
        fields=(
            *_PROGRAM,
            FieldSpec(
                "expect",
                RecordShape((FieldSpec("exit_code", IntShape(0, 255)), FieldSpec("stdout", _TEXT))),
                help="{ exit_code: 0 } unless said otherwise",
                default=MapOf((Entry("exit_code", Fixed(0)),)),
            ),
        ),
        example="{ argv: [program, argument] }",
        timeout=_timeout("shell"),
        reach=_argv_reach,
        check=_argv_check,
    ),
    EvidenceKind(
        name="sql",
        help="A query on an SQLite file gives the expected rows.",
        fields=(
            FieldSpec("database", _PATH, required=True),
            FieldSpec("query", TextShape(), required=True, help="plain SQL; values as parameters"),
            FieldSpec("parameters", ListShape(JsonShape())),
            FieldSpec("expect", JsonShape(), required=True, help="the rows: [[1]]"),
        ),
        example="{ database: …, query: …, expect: [[1]] }",
        reach=_path_reach,
    ),
    EvidenceKind(
        name="image",
        help="A file or artifact is a decodable picture.",
        fields=(
            FieldSpec("file", TextShape(Mode.FILE), required=True),
            FieldSpec("size", _SIZE),
        ),
        example='{ file: "{{ photo }}" }',
        reach=_path_reach,
    ),
    EvidenceKind(
        name="json",
        help="A JSON file holds what is expected.",
        fields=(
            FieldSpec("path", _PATH, required=True),
            FieldSpec("expect", JsonShape(), required=True, help="what it holds at least"),
        ),
        example="{ path: …, expect: { … } }",
        reach=_path_reach,
    ),
    EvidenceKind(
        name="human",
        help="A person says so.",
        fields=(
            FieldSpec("question", _TEXT, required=True),
            FieldSpec(
                "choices",
                ListShape(TextShape(), least=2),
                help="the first one verifies",
                default=_YES_NO,
            ),
        ),
        example="{ question: … }",
        reach=_no_reach,
        timeout=_DAY,
    ),
)

#: Approval, conditions, lanes and trials have shapes; nothing acts on them yet.
RESERVED = frozenset({"approve", "lane", "must", "trial", "when"})

BUILTIN = Registry(reserved=RESERVED).extended(
    kinds=(CHAT, IMAGE, HTTP, SHELL, FILE), evidence=EVIDENCE
)
