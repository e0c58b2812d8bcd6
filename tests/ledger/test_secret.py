"""Secrets: what is refused before it is recorded, and what is blacked out where it is shown.

What it is not: the paths by which a secret may come; those are in ``tests/journeys``.
"""

import base64
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest

from tildawn.errors import SecretFound
from tildawn.facts.fact import Fact, FactData, canonical
from tildawn.facts.run import RunAccepted, RunDone
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.secret import SHAPES, Secrets, hidden_random, redact
from tildawn.testing.notebook import Noted
from tildawn.units import Micros


# Put together here, so that no search for keys in this repository stops at them.
KEYS = {
    "Anthropic": "sk-" + "ant-api03-" + "aB3" * 12,
    "OpenRouter": "sk-" + "or-v1-" + "0af3" * 16,
    "OpenAI": "sk-" + "proj-" + "aB3_" * 12,
    "GitHub": "ghp" + "_" + "aB3d" * 9,
    "GitLab": "glpat" + "-" + "aB3d" * 5,
    "AWS": "AK" + "IA" + "ABCD2345" * 2,
    "Google": "AI" + "za" + "aB3d-" * 7,
    "Slack": "xox" + "b-" + "123456789012-abcdefghij",
    "Stripe": "sk" + "_live_" + "aB3d" * 6,
    "xAI": "xai" + "-" + "aB3d" * 20,
    "Groq": "gsk" + "_" + "aB3d" * 13,
    "Hugging Face": "hf" + "_" + "aBcd" * 8,
    "npm": "npm" + "_" + "aB3d" * 9,
    "PyPI": "pypi-" + "AgE" + "aB3d" * 12,
    "Replicate": "r8" + "_" + "aB3d" * 9 + "x",
    "Shopify": "shp" + "at_" + "0af3" * 8,
    "Tildawn": "tdp" + "_" + "aB3-" * 10 + "xyz",
}
PRIVATE = "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIE\n-----END " + "RSA PRIVATE KEY-----"
PASSWORD = 'päss"word\\8/x+y'


@pytest.mark.parametrize("service", SHAPES)
def test_a_known_shape_refuses_the_append_and_says_where_and_whose_but_not_what(
    ledger: Ledger, service: str
) -> None:
    """A key on record is a key to change; a refusal that quotes it would leak it once more."""
    key = KEYS[service]
    text = json.dumps({"answer": f"use\n{key}."}).encode()
    payload = ledger.payload(text)

    with pytest.raises(SecretFound) as caught:
        ledger.draft(Noted(key=1, text=payload.digest), payloads=[payload])

    assert f"Noted.text holds what looks like a key of {service}" in str(caught.value)
    assert key not in str(caught.value) + str(caught.value.fields) + str(caught.value.hint)


def test_a_private_key_refuses_the_append(ledger: Ledger) -> None:
    """It has a shape without a service."""
    payload = ledger.payload(json.dumps(PRIVATE).encode())

    with pytest.raises(SecretFound, match="a private key"):
        ledger.draft(Noted(key=1, text=payload.digest), payloads=[payload])


FORMS: dict[str, Callable[[str], bytes]] = {
    "as it is": lambda value: json.dumps(value, ensure_ascii=False).encode(),
    "escaped": lambda value: json.dumps(value).encode(),
    "in an address": lambda value: json.dumps(f"https://x/?k={quote(value, safe='')}").encode(),
    "bytes": lambda value: b'"' + base64.b64encode(value.encode()) + b'"',
    "basic": lambda value: b'"Basic ' + base64.b64encode(b"me:" + value.encode()) + b'"',
    "between": lambda value: b'"' + base64.urlsafe_b64encode(b"ab" + value.encode() + b"c") + b'"',
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [PASSWORD, "correct-horse-battery-staple-1", "12345678"])
def test_a_configured_value_is_refused_in_every_form_it_comes_back_in(
    ledger: Ledger, form: str, value: str
) -> None:
    """JSON escapes, addresses and base64 are how a value usually returns."""
    ledger.secrets.refuse({"SHOP_TOKEN": value})
    payload = ledger.payload(FORMS[form](value))

    with pytest.raises(SecretFound, match="the value of SHOP_TOKEN"):
        ledger.draft(Noted(key=1, text=payload.digest), payloads=[payload])


def test_short_values_plain_addresses_and_public_ones_refuse_nothing(ledger: Ledger) -> None:
    """A word of a few letters, or the address of a shop, is in half of all answers."""
    ledger.secrets.public = frozenset({"LANGUAGE_NAME"})
    ledger.secrets.refuse(
        {"PIN": "1234567", "SHOP": "http://shop.example:80/v1", "LANGUAGE_NAME": "Plattdeutsch"}
    )

    payload = ledger.payload(b'"1234567 http://shop.example:80/v1/x Plattdeutsch"')
    ledger.draft(Noted(key=1, text=payload.digest), payloads=[payload])

    ledger.secrets.refuse({"DSN": "https://me:hunter2@shop.example"})
    payload = ledger.payload(b'"https://me:hunter2@shop.example"')
    with pytest.raises(SecretFound):
        ledger.draft(Noted(key=1, text=payload.digest), payloads=[payload])


def look(secrets: Secrets, data: FactData, path: str = "") -> None:
    """As a ledger does that knows this kind."""
    fact = Fact(at=Micros(1), data=data, kind=type(data).__name__, v=1, run="0af3" * 8, path=path)
    secrets.check(data, canonical(fact), (), path)


def test_fields_of_a_fact_and_places_in_a_run_are_looked_at_too() -> None:
    """Facts cannot be erased: what gets in there stays."""
    secret = "correct-horse-battery-staple-1"
    secrets = Secrets()
    secrets.refuse({"T": secret})
    with pytest.raises(SecretFound, match=r"RunAccepted\.queue"):
        look(secrets, RunAccepted(task="t", args="", queue=secret))
    with pytest.raises(SecretFound, match=r"RunAccepted\.budgets"):
        look(secrets, RunAccepted(task="t", args="", budgets=("a", KEYS["GitHub"])))
    with pytest.raises(SecretFound, match=r"RunDone\.path"):
        look(secrets, RunDone(out=""), f"root:{secret}#1")


def test_digests_and_names_of_runs_are_never_taken_for_keys() -> None:
    """They are random, so one in some hundred thousand begins like a key."""
    digest = ("sk-" + "aB3d" * 11)[:43]
    budgets = ("run/" + "0af3" * 8,)

    look(Secrets(), RunAccepted(task="t", args=digest, key=digest, budgets=budgets))


def test_random_text_is_no_reason_to_refuse(ledger: Ledger) -> None:
    """A picture in base64 and a digest of somebody else are random as well."""
    noise = b"".join(sha256(bytes([n])).digest() for n in range(256))
    for text in (base64.b64encode(noise), base64.urlsafe_b64encode(noise), noise.hex().encode()):
        payload = ledger.payload(b'"' + text + b'"')
        ledger.draft(Noted(key=1, text=payload.digest), payloads=[payload])


def test_a_blob_with_a_secret_is_not_kept(ledger: Ledger, folder: Path) -> None:
    """An artefact goes to the disk before its fact is made."""
    with pytest.raises(SecretFound):
        ledger.blobs.put(b"\x89PNG " + KEYS["AWS"].encode() + b" \0\1")

    assert not list(folder.glob("blobs/??/*"))


def test_a_text_of_our_own_is_cleaned_instead_of_refused(ledger: Ledger) -> None:
    """A failure must be on record, whatever its message quotes."""
    ledger.secrets.refuse({"T": PASSWORD})
    text = json.dumps({"message": f"refused: {PASSWORD} and {KEYS['Stripe']}"}).encode()
    payload = ledger.payload(text, clean=True)

    ledger.draft(Noted(key=1, text=payload.digest), payloads=[payload])

    assert {"message": "refused: [secret] and [secret]"} == json.loads(payload.text)


def test_what_is_shown_hides_more_than_what_is_refused() -> None:
    """Nothing is lost by a mark too many in a log line."""
    secrets = Secrets(["hunter2-hunter2", "tiny"])
    token = base64.urlsafe_b64encode(sha256(b"x").digest()).decode()[:40]

    shown = secrets.without(
        f"hunter2-hunter2 tiny {token} {sha256(b'x').hexdigest()} a-long-name-of-some-file-2026.txt"
        f" eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl {PRIVATE}"
    )

    assert shown == (
        f"[secret] tiny [secret] {sha256(b'x').hexdigest()} a-long-name-of-some-file-2026.txt"
        " [secret] [secret]"
    )
    assert redact("postgres://me:hunter2@db/x") == "postgres://[secret]@db/x"
    assert hidden_random("TestErasureOfOnePersonAgain2") == "TestErasureOfOnePersonAgain2"
