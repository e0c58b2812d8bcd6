"""Every row of bad input for plans, with the exact words a user reads."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tildawn.errors import BadPlan
from tildawn.runtime.plan import problems_of, read_plan


ONE = "    steps: [ { s: { file: { read: x } } } ]\n"

STEPS = {
    "a misspelt key": (
        "- copy: { chat: { prompts: x } }",
        ["plan.yaml:7:25: unknown key 'prompts' in chat; did you mean 'prompt'?"],
    ),
    "a misspelt kind": (
        "- copy: { chatt: { prompt: x } }",
        ["plan.yaml:7:17: unknown key 'chatt' in the step 'copy'; did you mean 'chat'?"],
    ),
    "a path into the house": (
        "- s: { file: { write: .tildawn/ledger.db, content: x } }",
        ["plan.yaml:7:29: a path into the house itself; expected a path outside of .tildawn"],
    ),
    "a missing field": (
        "- photo: { image: { size: 8x8 } }",
        ["plan.yaml:7:25: image has no 'prompt'; expected prompt: what to draw"],
    ),
    "two kinds in one step": (
        "- s: { file: { read: x }, chat: { prompt: x } }",
        ["plan.yaml:7:33: the step 's' has the kinds file and chat; expected one kind a step"],
    ),
    "a step named twice": (
        "- s: { file: { read: x } }\n- s: { file: { read: x } }",
        [
            (
                "plan.yaml:8:9: the step 's' a second time; expected another name; "
                "the first is in line 7"
            )
        ],
    ),
    "a shell string": (
        "- s: { shell: 'rm {{ item.sku }}' }",
        [
            (
                "plan.yaml:7:21: shell is a text; expected { argv: [program, argument] }, "
                "for there is no shell string"
            )
        ],
    ),
    "a template inside a shell text": (
        "- s: { shell: { argv: [bash, -ec, 'rm {{ item.sku }}'] } }",
        [
            (
                "plan.yaml:7:41: a template inside the text of a program; expected it as an "
                "argument of its own behind the text, or in env"
            )
        ],
    ),
    "a secret where it would be seen": (
        "- s: { shell: { argv: [rm, '${TOKEN}'] } }",
        [
            (
                "plan.yaml:7:35: the secret ${TOKEN} in an entry of argv in shell; expected it only "
                "in url, headers, json, body or env, which go out through the door"
            )
        ],
    ),
    "an unknown column": (
        '- s: { file: { read: "{{ item.titel }}" } }',
        ["plan.yaml:7:37: missing column 'titel' in products.csv; did you mean 'title'?"],
    ),
    "an unknown variable": (
        '- s: { file: { read: "{{ itm.sku }}" } }',
        ["plan.yaml:7:32: unknown variable 'itm'; did you mean 'item'?"],
    ),
    "an unknown field of an answer": (
        (
            "- c: { chat: { prompt: x, schema: { scene: str } } }\n"
            '- p: { image: { prompt: "{{ c.scenes }}", size: 8x8 } }'
        ),
        ["plan.yaml:8:37: unknown field 'scenes' of c; did you mean 'scene'?"],
    ),
    "a step that comes later": (
        '- a1: { chat: { prompt: "{{ b }}" } }\n- b: { chat: { prompt: x } }',
        [
            (
                "plan.yaml:7:35: 'b' is not known yet; expected a step before this one; "
                "'b' runs in line 8"
            )
        ],
    ),
    "a step that uses itself": (
        '- a1: { chat: { prompt: "{{ a1 }}" } }',
        [
            (
                "plan.yaml:7:35: 'a1' is not known yet; expected a step before this one; "
                "'a1' runs in line 7"
            )
        ],
    ),
    "a template that reaches into Python": (
        '- s: { file: { read: "{{ item.__class__ }}" } }',
        [
            (
                "plan.yaml:7:37: '__class__' reaches into Python; expected a name that begins "
                "with a letter"
            )
        ],
    ),
    "a call in a template": (
        '- s: { file: { read: "{{ item.sku.upper() }}" } }',
        ["plan.yaml:7:46: a call; expected look-ups and filters only"],
    ),
    "arithmetic in a template": (
        '- s: { file: { read: "{{ item.sku + 1 }}" } }',
        ["plan.yaml:7:41: '+' in an expression; expected look-ups and filters only"],
    ),
    "a template that is not closed": (
        '- s: { file: { read: "{{ item.sku" } }',
        ["plan.yaml:7:29: '{{' is never closed; expected '}}' behind the expression"],
    ),
    "an unknown filter": (
        '- s: { file: { read: "{{ item.sku | uper }}" } }',
        ["plan.yaml:7:43: unknown filter 'uper'; did you mean 'upper'?"],
    ),
    "a list in a text": (
        (
            "- c: { chat: { prompt: x, schema: { points: [str] } } }\n"
            '- d: { chat: { prompt: "so: {{ c.points }}" } }'
        ),
        ["plan.yaml:8:38: a list where a text has to be; expected | join(', ') or | json"],
    ),
    "an artifact in JSON": (
        (
            "- p: { image: { prompt: x, size: 8x8 } }\n"
            '- d: { http: { method: PUT, url: "https://a.example/", json: { p: "{{ p }}" } } }'
        ),
        [
            (
                "plan.yaml:8:77: the artifact 'p' within a text or JSON; expected it alone in "
                "files, content or argv"
            )
        ],
    ),
    "a host from data": (
        '- s: { http: { url: "https://{{ item.sku }}/x" } }',
        [
            (
                "plan.yaml:7:27: a template in the host of the URL; expected the host written out, "
                "or ${NAME}"
            )
        ],
    ),
    "a body that is not sent": (
        "- s: { http: { url: 'https://a.example/', json: { a: 1 } } }",
        ["plan.yaml:7:49: a body without a method that sends one; expected method: POST"],
    ),
    "a password in a URL": (
        '- s: { http: { url: "https://me:pw@a.example/" } }',
        ["plan.yaml:7:27: a name or password within the URL; expected a header with ${NAME}"],
    ),
    "values of the wrong sort": (
        "- s: { file: { read: x }, timeout: 10x, repeat: sometimes, max_cost: 5 euro }",
        [
            (
                "plan.yaml:7:42: timeout in the step 's' is '10x'; expected a duration such as 10m, "
                "90s, 1h30m or 250ms"
            ),
            (
                "plan.yaml:7:55: repeat in the step 's' is 'sometimes'; expected one of safe, keyed, "
                "never"
            ),
            (
                "plan.yaml:7:76: max_cost in the step 's' is '5 euro'; expected an amount of US "
                'dollars such as "$5.00"'
            ),
        ],
    ),
    "a tier that nobody has": (
        "- s: { image: { prompt: x, size: 8x8 }, tiers: [exakt, related] }",
        [
            (
                "plan.yaml:7:55: no 'exakt' stands in for an answer of the step 's'; did you mean 'exact'?"
            )
        ],
    ),
    "a tier of another kind": (
        "- s: { chat: { prompt: x }, tiers: [exact, related] }",
        [("plan.yaml:7:50: no 'related' stands in for an answer of the step 's'; expected exact")],
    ),
    "a misspelt patience": (
        "- s: { chat: { prompt: x }, patience: interactiv }",
        ["plan.yaml:7:45: patience in the step 's' is 'interactiv'; did you mean 'interactive'?"],
    ),
    "a ladder where nobody else can answer": (
        "- s: { file: { read: x }, accepts: [m], tiers: [exact], patience: batch }",
        [
            (
                "plan.yaml:7:33: accepts in a step of the kind file; expected it at steps that "
                "ask a model"
            ),
            (
                "plan.yaml:7:47: tiers in a step of the kind file; expected it at steps that ask "
                "a model"
            ),
            (
                "plan.yaml:7:63: patience in a step of the kind file; expected it at steps that "
                "ask a model"
            ),
        ],
    ),
    "a model that is accepted twice": (
        "- s: { chat: { prompt: x }, model: big, accepts: [small, small, big] }",
        [
            "plan.yaml:7:64: 'small' a second time in the step 's'; expected each name once",
            "plan.yaml:7:71: 'big' a second time in the step 's'; expected each name once",
        ],
    ),
    "a key that nothing acts on yet": (
        "- s: { file: { read: x }, approve: true }",
        [
            (
                "plan.yaml:7:33: the key 'approve' is reserved and does nothing yet; expected the "
                "plan without it"
            )
        ],
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_mistake_in_a_step_is_named_with_its_place_and_its_fix(name, said, steps):
    """A plan is written by hand at night; the message is all the help there is."""
    body, expected = STEPS[name]

    assert expected == said(steps(body))


PLANS = {
    "no YAML": ("a: b: c\n", ["plan.yaml:1:5: not YAML: mapping values are not allowed here"]),
    "nothing": (
        "",
        ["plan.yaml:1:1: the plan is empty; expected a map that begins with version: 1"],
    ),
    "no map": (
        "- 1\n",
        ["plan.yaml:1:1: the plan is no map; expected a map with version, night, work"],
    ),
    "a key twice": (
        f"version: 1\nwork:\n  - id: a\n    id: b\n{ONE}",
        ["plan.yaml:4:5: the key 'id' a second time; expected it once; the first is in line 3"],
    ),
    "an alias": (
        f"version: 1\nwork:\n  - id: &a x\n    title: *a\n{ONE}",
        [
            "plan.yaml:3:9: an anchor '&a'; expected the value without a name",
            "plan.yaml:4:12: an alias '*a'; expected the value written out",
        ],
    ),
    "a tag": (
        f"version: !!int 1\nwork:\n  - id: a\n{ONE}",
        [
            (
                "plan.yaml:1:10: a tag 'tag:yaml.org,2002:int'; expected the value alone; "
                "the schema knows its type"
            )
        ],
    ),
    "two documents": (
        f"version: 1\nwork:\n  - id: a\n{ONE}---\nversion: 1\n",
        ["plan.yaml:5:1: a second document; expected one plan a file"],
    ),
    "a circle": (
        (
            f"version: 1\nwork:\n  - id: a\n    needs: [b]\n{ONE}  - id: b\n    needs: [c]\n{ONE}"
            f"  - id: c\n    needs: [ {{ item: a, when: finished }} ]\n{ONE}"
        ),
        [
            (
                "plan.yaml:4:13: the items need each other in a circle: a → b → c → a; "
                "expected one of these needs taken out"
            )
        ],
    ),
    "an unknown need": (
        f"version: 1\nwork:\n  - id: listings\n{ONE}  - id: b\n    needs: [listing]\n{ONE}",
        ["plan.yaml:6:13: needs the unknown item 'listing'; did you mean 'listings'?"],
    ),
    "an id twice": (
        f"version: 1\nwork:\n  - id: a\n{ONE}  - id: a\n{ONE}",
        ["plan.yaml:5:9: the item 'a' a second time; expected another id; the first is in line 3"],
    ),
    "a night of wrong values": (
        (
            "version: 2\n"
            "night: { window: 23:00-6:30, zone: Berlin, report_at: '7', stop: { in_a_row: 0 } }\n"
            f"work:\n  - id: a\n{ONE}"
        ),
        [
            "plan.yaml:1:10: version is '2'; expected 1",
            (
                "plan.yaml:2:18: window in night is '23:00-6:30'; expected two times of day such as "
                '"23:00-06:30"'
            ),
            "plan.yaml:2:36: 'Berlin' is no time zone; did you mean 'Europe/Berlin'?",
            "plan.yaml:2:55: report_at in night is '7'; expected a time of day such as 07:00",
            (
                "plan.yaml:2:78: in_a_row in stop in night is '0'; expected a whole number from 1 to "
                "1000000"
            ),
        ],
    ),
    "hours without a zone": (
        f"version: 1\nnight: {{ window: '23:00-06:30' }}\nwork:\n  - id: a\n{ONE}",
        [
            (
                "plan.yaml:2:1: a night with hours and without a zone; expected zone: a time zone "
                "such as Europe/Berlin"
            )
        ],
    ),
    "rows without a key": (
        f"version: 1\nwork:\n  - id: a\n    for_each: products.csv\n{ONE}",
        [
            (
                "plan.yaml:4:5: the item 'a' has for_each and no key; expected what names a row, "
                'such as key: "{{ item.sku }}"'
            )
        ],
    ),
    "a row without for_each": (
        "version: 1\nwork:\n  - id: a\n    steps: [ { s: { file: { read: '{{ item.x }}' } } } ]\n",
        ["plan.yaml:4:39: 'item' without for_each; expected for_each: a CSV file, whose row it is"],
    ),
    "a CSV file that is not there": (
        f"version: 1\nwork:\n  - id: a\n    for_each: product.csv\n    key: x\n{ONE}",
        [
            (
                "plan.yaml:4:15: 'product.csv' cannot be read: No such file or directory; "
                "did you mean 'products.csv'?"
            )
        ],
    ),
    "a task that is not there": (
        "version: 1\nwork:\n  - { id: a, task: 'shop_task:price' }\n",
        [
            (
                "plan.yaml:3:20: there is no module 'shop_task'; expected shop_task.py in the plan's "
                "folder, or an installed module"
            )
        ],
    ),
    "an unknown kind of evidence": (
        f"version: 1\nwork:\n  - id: a\n{ONE}    evidence: [ {{ fil: {{ path: x }} }} ]\n",
        ["plan.yaml:5:19: unknown kind of evidence 'fil'; did you mean 'file'?"],
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_mistake_in_a_plan_is_named_with_its_place_and_its_fix(name, said):
    """A plan is written by hand at night; the message is all the help there is."""
    text, expected = PLANS[name]

    assert expected == said(text)


TABLES = {
    "an empty file": (
        b"",
        ["products.csv:1:1: the file is empty; expected a header and at least one row"],
    ),
    "a header alone": (
        b"sku,title\n",
        ["products.csv:1:1: a header without rows; expected at least one row"],
    ),
    "a column without a name": (
        b"sku,\nA,x\n",
        ["products.csv:1:1: column 2 of the header has no name; expected a name"],
    ),
    "a column twice": (
        b"sku,sku\nA,x\n",
        [
            (
                "products.csv:1:1: the column 'sku' a second time; expected other names; "
                "it is column 1 and 2"
            )
        ],
    ),
    "wrong rows, all of them": (
        b"sku,title\nA,x\nA,y\n\n,z\nB\n",
        [
            (
                "products.csv:3:1: the key 'A' a second time; expected one row a key; "
                "the first is in line 2"
            ),
            "products.csv:5:1: the key of the row: it is empty",
            "products.csv:6:1: a row of 1 cells; expected 2, as the header has",
        ],
    ),
    "another encoding": (
        b'sku,title\nA,"two\nlines"\nB,caf\xe9\n',
        [
            (
                "products.csv:4:1: byte 0xe9 is no UTF-8; expected a file saved as UTF-8, or as "
                "UTF-16 with a byte-order mark"
            )
        ],
    ),
    "UTF-16 without its mark": (
        "sku,title\nA,x\n".encode("utf-16-le"),
        [
            (
                "products.csv:1:1: a zero byte, as in UTF-16 without a byte-order mark; "
                "expected a file saved as UTF-8"
            )
        ],
    ),
    "a quote that never ends": (
        b'sku,title\nA,x\nB,"y\n',
        [
            (
                "products.csv:3:1: no CSV: unexpected end of data; expected quotes doubled within "
                "quoted cells"
            )
        ],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_mistake_in_a_csv_file_is_named_with_its_line(name, folder, said, steps):
    """The owner has to find the row among a hundred thousand."""
    body, expected = TABLES[name]
    (folder / "products.csv").write_bytes(body)

    assert expected == said(steps("- s: { file: { read: x } }"))


def test_all_mistakes_are_said_at_once(said, steps):
    """Nobody should mend and check ten times."""
    body = "- a1: { chat: { prompts: x } }\n- b: { fil: { read: x } }\n- c: { chat: { prompt: '{{ d }}' } }"

    assert [7, 8, 9] == [int(line.split(":")[1]) for line in said(steps(body))]


def test_a_missing_plan_names_the_file_that_is_nearest(folder: Path):
    """The commonest mistake is a name typed wrong."""
    (folder / "plan.yaml").write_text("")

    with pytest.raises(BadPlan) as caught:
        read_plan("plna.yaml")

    assert [
        (
            "plna.yaml:1:1: the plan cannot be read: No such file or directory; "
            "did you mean 'plan.yaml'?"
        )
    ] == [str(problem) for problem in problems_of(caught.value)]


def test_a_hundred_problems_are_listed_and_the_rest_is_counted(folder: Path):
    """A file that is no plan at all must not flood the terminal."""
    (folder / "plan.yaml").write_text("".join(f"k{n}: 1\n" for n in range(150)))

    with pytest.raises(BadPlan, match="and 52 more"):
        read_plan("plan.yaml")


def test_what_only_a_program_would_write_is_bounded(said, steps):
    """The time of a check must not grow with the square of a file."""
    many = said(steps("- c: { chat: { prompt: '" + "{{ item.sku }}" * 1_001 + "' } }"))
    long = said(steps("\n".join(f"- s{n}: {{ file: {{ read: x }} }}" for n in range(501))))

    assert ["plan.yaml:7:14031: too many templates in one text; expected at most 1000"] == many
    assert ["plan.yaml:7:7: 501 steps in one item; expected at most 500"] == long


def test_a_task_that_goes_around_the_door_is_named_before_the_night(
    said: Callable[[str], list[str]], folder: Path
) -> None:
    """The lint of task code is part of checking a plan."""
    (folder / "around.py").write_text(
        "import socket\n"
        "from tildawn import Context, task\n"
        "@task\n"
        "async def bad(ctx: Context) -> int:\n"
        "    socket.create_connection(('127.0.0.1', 1))\n"
        "    return 1\n"
    )

    problems = said("version: 1\nwork:\n  - id: a\n    task: 'around:bad'\n")

    assert 1 == len(problems)
    assert "around.py:5:5: task code uses socket.create_connection" in problems[0]
    assert "ctx.call" in problems[0]
