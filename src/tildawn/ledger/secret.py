"""Secrets: how they are recognised, before anything is recorded and wherever anything is shown.

What it is not: a vault.  Values are held in memory to compare with, and are never written.

Two answers, from one table of shapes.  What is certain, a value that somebody configured or the
shape of a well-known key, refuses an append.  What only looks like a secret, such as a long
random text, is blacked out where it is shown, and never refuses anything.
"""

import json
import math
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import ClassVar, get_origin, get_type_hints
from urllib.parse import quote

from tildawn.errors import SecretFound
from tildawn.facts.fact import FactData, Payload


REFUSED_CHARS = 8
"""Shortest configured value that refuses an append; a shorter one is in many ordinary words."""

HIDDEN_CHARS = 6
"""Shortest value that is blacked out where something is shown."""

MARK = "[secret]"

RUN_CHARS = 20
"""No shape below is shorter, nor is any without that many letters, digits, ``_`` or ``-`` in a
row: what has no such row needs no closer look."""

#: Shapes of keys that services hand out; private keys have no row and are looked for apart.
#: Source: the documentation of each service, and GitHub's list of patterns it looks for.
SHAPES: Mapping[str, str] = {
    "Anthropic": r"sk-ant-[A-Za-z0-9_\-]{20,}",
    "OpenRouter": r"sk-or-v1-[0-9a-f]{32,}",
    "OpenAI": r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_\-]{20,}|sk-[A-Za-z0-9]{32,}",
    "GitHub": r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{36,}",
    "GitLab": r"glpat-[A-Za-z0-9_\-]{20,}",
    "AWS": r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "Google": r"AIza[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_\-])",
    "Slack": r"xox[abeoprs]-[A-Za-z0-9\-]{20,}|xapp-[A-Za-z0-9\-]{20,}",
    "Stripe": r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{20,}",
    "xAI": r"xai-[A-Za-z0-9]{40,}",
    "Groq": r"gsk_[A-Za-z0-9]{40,}",
    "Hugging Face": r"hf_[A-Za-z0-9]{30,}",
    "npm": r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])",
    "PyPI": r"pypi-AgE[A-Za-z0-9_\-]{40,}",
    "Replicate": r"r8_[A-Za-z0-9]{37}(?![A-Za-z0-9])",
    "Shopify": r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    "Tildawn": r"tdp_[A-Za-z0-9_\-]{43}(?![A-Za-z0-9_\-])",
}

_PRIVATE = b"PRIVATE KEY-----"
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY-----")

#: Nothing that belongs to a longer word, but what follows an escape of JSON begins one.
_BEGIN = r"(?:(?<![A-Za-z0-9_\-])|(?<=\\[nrtbf])|(?<=\\u[0-9a-fA-F]{4}))"

_CERTAIN = re.compile((_BEGIN + "(?:" + "|".join(SHAPES.values()) + ")").encode())
_EACH = {name: re.compile(f"(?:{shape})".encode()) for name, shape in SHAPES.items()}

_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_FLAT = bytes(ord("a") if sign in _WORD else ord(" ") for sign in range(256))
_RUN = b"a" * RUN_CHARS
#: Digests and names of runs fill every fact; they are ours, and no secrets.
_OURS = (b" " + b"a" * 43 + b" ", b" " + b"a" * 32 + b" ")
DIGEST_CHARS = 43
_WHOLE = "*"
"""In the place of a field: look through the whole body."""
_DIGEST = re.compile(rb'"[A-Za-z0-9_\-]{43}"|"[0-9a-f]{32}"')

#: What is blacked out beside the shapes: looser, as nothing is lost by a mark too many.
_LIKELY = re.compile(
    "|".join(SHAPES.values())
    + r"|(?:sk|pk|rk|xai|ghp|gho|glpat|xox[abp])[-_][A-Za-z0-9_\-]{12,}"
    + r"|eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"
    + r"|(?<=[Bb]earer )[^\s\"']+|(?<=[Bb]asic )[A-Za-z0-9+/=]{8,}"
    + r"|(?<=://)[^\s/@:\"']+:[^\s/@\"']+(?=@)"
    + r"|-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY-----"
    + r"(?:[A-Za-z0-9+/=\s]|\\[nr])*(?:-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY-----)?"
)

_TOKEN = re.compile(r"[A-Za-z0-9_\-]{28,}")
_BITS = 4.05
"""Bits a character from which a text of 28 and more with both cases and digits counts as random.
Source: drawn; 99 of 100 random texts of that length have more.  Hexadecimal ones of ours have no
capitals."""

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)

_ADDRESS = re.compile(r"https?://[^\s/@?#]+(?:/[^\s@?#]*)?")


class Secrets:
    """The values that nothing may hold, and the look for them; one for each open house.

    Any thread may ask while another adds.
    """

    def __init__(self, hidden: Iterable[str] = ()) -> None:
        """Begin with values that are only hidden."""
        #: Where the values of named variables are, and which names are no secrets.
        self.variables: Mapping[str, str] = {}
        self.public: frozenset[str] = frozenset()
        self._names: dict[bytes, str] = {}
        self._known: dict[str, str] = {}
        self._hidden: set[str] = set()
        #: Forms to look for always, and those that can only be where there is a long run.
        self._short: tuple[bytes, ...] = ()
        self._long: tuple[bytes, ...] = ()
        self._shown: tuple[str, ...] = ()
        self.hide(hidden)

    def refuse(self, named: Mapping[str, str]) -> None:
        """Refuse these values from now on, in every form that they may come back in.

        A value of fewer than `REFUSED_CHARS` characters is only hidden.  A plain address
        without a name, a password or a query is no secret.

        Args:
            named: values by the name of their variable, which a refusal says.

        Raises:
            Nothing.
        """
        fresh = {
            name: value
            for name, value in named.items()
            if name not in self.public
            and self._known.get(name) != value
            and not _ADDRESS.fullmatch(value)
        }
        if not fresh:
            return
        self._known |= fresh
        for name, value in fresh.items():
            for form in _forms(value) if len(value) >= REFUSED_CHARS else ():
                self._names.setdefault(form, name)
        forms = tuple(self._names)
        self._long = tuple(form for form in forms if _RUN in form.translate(_FLAT))
        self._short = tuple(form for form in forms if _RUN not in form.translate(_FLAT))
        self.hide(fresh.values())

    def name(self, names: Iterable[str]) -> None:
        """Refuse the values of these variables from now on, as far as they are set.

        Raises:
            Nothing.
        """
        self.refuse({name: self.variables[name] for name in names if self.variables.get(name)})

    def hide(self, values: Iterable[str]) -> None:
        """Black these out where something is shown; short ones would blank ordinary words.

        Raises:
            Nothing.
        """
        self._hidden |= {value for value in values if len(value) >= HIDDEN_CHARS}
        shown = {form for value in self._hidden for form in _shown_forms(value)}
        self._shown = tuple(sorted(shown, key=len, reverse=True))

    def found(self, content: bytes) -> str:
        """What secret there is in some bytes, in words that do not hold it; empty for none.

        Raises:
            Nothing.
        """
        for form in self._short:
            if form in content:
                return f"the value of {self._names[form]}"
        if len(content) < RUN_CHARS:
            return ""
        if _PRIVATE in content and _PRIVATE_KEY.search(content):
            return "a private key"
        if _RUN not in content.translate(_FLAT):
            return ""
        for form in self._long:
            if form in content:
                return f"the value of {self._names[form]}"
        shape = _CERTAIN.search(content)
        return "" if shape is None else f"what looks like a key of {_service(shape[0])}"

    def check(
        self, data: FactData, body: bytes, payloads: Sequence[Payload | None], path: str
    ) -> None:
        """Look through a fact on its way in.

        Args:
            data: what it says, to name the field.
            body: its canonical bytes.
            payloads: in the order of ``PAYLOADS``.
            path: where in its run.

        Raises:
            SecretFound: there is a secret; the field is named, and the value is not.
        """
        kind = type(data)
        for slot, payload in enumerate(payloads):
            if payload is not None and (what := self.found(payload.text)):
                field = f"{kind.__name__}.{kind.PAYLOADS[slot]}"
                raise secret_in(field, what)
        for name in _texts_of(kind):
            if name == _WHOLE:
                self._check_body(kind, data, body)
            elif (text := getattr(data, name)) and len(text) != DIGEST_CHARS:
                self._check_text(kind, name, text)
        if path:
            self._check_text(kind, "path", path)

    def _check_text(self, kind: type[FactData], name: str, text: str) -> None:
        if (self._short or len(text) >= RUN_CHARS) and (what := self.found(text.encode())):
            field = f"{kind.__name__}.{name}"
            raise secret_in(field, what)

    def _check_body(self, kind: type[FactData], data: FactData, body: bytes) -> None:
        flat = body.translate(_FLAT)
        for ours in _OURS:
            flat = flat.replace(ours, b" ")
        if _RUN not in flat and not any(form in body for form in self._short):
            return
        # A digest is random: once in a while it begins like a key.
        if what := self.found(_DIGEST.sub(b'""', body)):
            field = f"{kind.__name__}.{self._field(data)}"
            raise secret_in(field, what)

    def without(self, text: str) -> str:
        """The text with every value, and whatever looks like a secret, blacked out.

        Raises:
            Nothing.
        """
        return hidden_random(redact(text, *self._shown))

    def cleaned(self, text: bytes) -> bytes:
        """JSON text of our own, such as an error, with what is certain blacked out.

        Raises:
            Nothing.
        """
        if not self.found(text):
            return text
        for form in sorted(self._names, key=len, reverse=True):
            text = text.replace(form, MARK.encode())
        shown = text.decode("utf-8", "replace")
        return redact(shown).encode()

    def _field(self, data: FactData) -> str:
        for name in data.__struct_fields__:
            if self.found(str(getattr(data, name)).encode("utf-8", "replace")):
                return name
        return "envelope"


@cache
def _texts_of(kind: type[FactData]) -> tuple[str, ...]:
    """The fields of a kind that are looked at: its texts, and all of it where one is deeper."""
    names: list[str] = []
    for name, hint in get_type_hints(kind).items():
        if get_origin(hint) is ClassVar or name in kind.PAYLOADS:
            continue
        if hint is str:
            names.append(name)
        elif hint not in {int, bool}:
            names.append(_WHOLE)
    return tuple(dict.fromkeys(names))


def secret_in(field: str, what: str) -> SecretFound:
    """The refusal of what holds a secret.

    Args:
        field: where it is.
        what: in words that do not hold it.

    Raises:
        Nothing.
    """
    message = f"{field} holds {what}; it was not recorded"
    hint = "leave the secret out: name it as ${NAME}, or return something else"
    return SecretFound(message, hint=hint, field=field, what=what)


def secrets_in(environ: Mapping[str, str]) -> Iterator[str]:
    """The values of variables whose names say that they are secret; no line shows them.

    Raises:
        Nothing.
    """
    for name, value in environ.items():
        if _SECRET_NAME.search(name):
            yield value


def redact(text: str, *secrets: str) -> str:
    """The text with secrets and what looks like a key replaced by ``[secret]``.

    Args:
        text: any text.
        *secrets: exact values to remove, the longest first; empty ones are ignored.

    Returns:
        The text without them.

    Raises:
        Nothing.
    """
    for secret in secrets:
        if secret:
            # Libraries quote values in their messages, so the escaped form counts too.
            text = text.replace(secret, MARK)
            text = text.replace(secret.encode("unicode_escape").decode(), MARK)
    return _LIKELY.sub(MARK, text)


def hidden_random(text: str) -> str:
    """The text with long random-looking words blacked out; hexadecimal ones stay.

    Raises:
        Nothing.
    """
    return _TOKEN.sub(lambda found: MARK if _is_random(found[0]) else found[0], text)


def _is_random(token: str) -> bool:
    counts = Counter(token)
    if not (
        any(sign.isupper() for sign in counts)
        and any(sign.islower() for sign in counts)
        and any(sign.isdigit() for sign in counts)
    ):
        return False
    size = len(token)
    return -sum(n / size * math.log2(n / size) for n in counts.values()) >= _BITS


def _service(key: bytes) -> str:
    return next(name for name, shape in _EACH.items() if shape.match(key))


def _forms(value: str) -> Iterator[bytes]:
    """How a value may stand in JSON text: escaped, in an address, or as part of base64."""
    raw = value.encode("utf-8", "replace")
    yield from (form.encode("utf-8", "replace") for form in _shown_forms(value))
    for shift in range(3):
        # Within base64 a value stands in one of three ways; its first and last sign also hold
        # bits of its neighbours.
        whole = b64encode(b"\0" * shift + raw)
        begin = 0 if shift == 0 else shift + 1
        end = len(whole) - (4 if (shift + len(raw)) % 3 else 0)
        core = whole[begin:end]
        if len(core) >= REFUSED_CHARS:
            yield core
            yield core.translate(bytes.maketrans(b"+/", b"-_"))


def _shown_forms(value: str) -> Iterator[str]:
    yield value
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield json.dumps(value)[1:-1]
    yield quote(value, safe="")
