"""An anchor that is a witness over HTTP: it cosigns a checkpoint only if it grew from what it saw.

What it is not: the witness.  Nor a proof of independence: a witness that you run yourself, or
that your machine can reach into, proves no more than a second disk does.

Source: C2SP tlog-witness 1.0.0.
"""

from http import HTTPStatus

from tildawn.errors import AnchorFailed, BadValue, ProofBroken
from tildawn.ledger.anchor import Claim, Evidence, differs, larger
from tildawn.ledger.checkpoint import Checkpoint
from tildawn.ledger.note import COSIGNED, Note, Verifier, parse_note, verify_note
from tildawn.ledger.witness import SIZE_TYPE, Submission, lines_of
from tildawn.providers.fault import Fault
from tildawn.providers.wire import Incoming, Outgoing, Wires


ANSWER_BYTES = 64 * 1024
"""The longest answer that is read; a cosignature has about 100 bytes, and one of ML-DSA-44 3,300."""

TRIES = 4
"""Of one submission, each with the size that the witness said last: others may submit as well."""


class WitnessAnchor:
    """A witness; see `tildawn.ledger.anchor.Anchor`."""

    kind = "witness"

    def __init__(self, name: str, url: str, key: str, *, wires: Wires) -> None:
        """Take its submission prefix, and the key that its cosignatures must hold under.

        Raises:
            BadValue: the key is none of a witness.
        """
        self.name = name
        self._url = url.rstrip("/")
        self._key = Verifier.parse(key)
        if self._key.kind != COSIGNED:
            message = f"the key of {name} is not one of a witness: its type is not 0x04"
            raise BadValue(message, hint="use the key that the witness shows for its cosignatures")
        self._wires = wires
        #: The size that the witness had last, by origin.
        self._sizes: dict[str, int] = {}

    async def anchor(self, claim: Claim) -> Evidence:
        """Submit the checkpoint; the witness has it on its disk before it answers.

        Raises:
            AnchorFailed: no answer, an unknown log, or a cosignature that does not hold.
            ProofBroken: the witness has seen a larger tree, or another one.
        """
        ours = claim.checkpoint
        old = min(self._sizes.get(ours.origin, 0), ours.size)
        for _ in range(TRIES):
            got = await self._post(Submission(old, claim.prove(old), claim.note))
            if got.status == HTTPStatus.OK:
                line = self._cosignature(claim.note, got)
                self._sizes[ours.origin] = ours.size
                return Evidence(size=ours.size, root=ours.root, text=line)
            if got.status == HTTPStatus.UNPROCESSABLE_ENTITY and old:
                raise differs(self._place, old)
            if got.status != HTTPStatus.CONFLICT:
                raise self._refused(got)
            old = self._said(got, ours, old)
        message = f"{self._place} had another size at each of {TRIES} tries"
        raise AnchorFailed(message, hint="does somebody else submit this ledger?")

    async def check(self, claim: Claim) -> Evidence | None:
        """Submit it again: only a witness that goes along with it cosigns.

        There is no look without a submission that every witness offers.

        Raises:
            AnchorFailed: no answer, an unknown log, or a cosignature that does not hold.
            ProofBroken: the witness has seen a larger tree, or another one.
        """
        return await self.anchor(claim)

    async def aclose(self) -> None:
        """Close the connections.

        Raises:
            Nothing.
        """
        await self._wires.aclose()

    @property
    def _place(self) -> str:
        return f"the witness {self.name}"

    async def _post(self, submission: Submission) -> Incoming:
        out = Outgoing(
            method="POST",
            url=f"{self._url}/add-checkpoint",
            headers=(("content-type", "text/plain; charset=utf-8"),),
            body=submission.dump().encode(),
        )
        try:
            return await self._wires.exchange(out, limit=ANSWER_BYTES, any_status=True)
        except Fault as fault:
            message = f"{self._place} gave no answer: {fault}"
            raise AnchorFailed(message, hint=f"does it serve at {self._url}?") from fault

    def _said(self, got: Incoming, ours: Checkpoint, old: int) -> int:
        """The size that the witness has, if our tree can have grown from it."""
        text = got.body.decode("ascii", "replace").removesuffix("\n")
        kind = (got.header("content-type") or "").partition(";")[0].strip()
        if kind != SIZE_TYPE or not text.isdecimal() or len(text) > 19:  # noqa: PLR2004 - below 2^63
            if old == ours.size:
                # Of two trees of one size; witnesses of an older protocol say it so.
                raise differs(self._place, old)
            raise self._refused(got)
        theirs = int(text)
        if theirs > ours.size:
            raise larger(self._place, theirs, ours.size)
        if theirs == old:
            raise differs(self._place, old) if old == ours.size else self._refused(got)
        return theirs

    def _cosignature(self, note: Note, got: Incoming) -> str:
        """The line that holds under the witness's key; a witness that lies is not our proof."""
        try:
            answered = parse_note(f"{note.text}\n{got.body.decode()}")
            if verify_note(answered, [self._key]):
                [line] = [
                    one
                    for one in answered.signatures
                    if (one.name, one.key_id) == (self._key.name, self._key.key_id)
                ]
                return lines_of([line]).rstrip("\n")
        except (ProofBroken, UnicodeDecodeError, ValueError):
            pass
        message = f"{self._place} answered without a cosignature that holds under its key"
        raise AnchorFailed(
            message, hint="look at its key in the settings, and at who answers there"
        )

    def _refused(self, got: Incoming) -> AnchorFailed:
        said = got.body[:200].decode("utf-8", "replace").strip()
        hint = _HINTS.get(got.status, f"look at the log of the witness at {self._url}")
        message = f"{self._place} refused with {got.status}: {said}"
        return AnchorFailed(message, hint=hint)


_HINTS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "have it witness this log: tildawn anchor list shows the key for --log",
    HTTPStatus.FORBIDDEN: "it knows another key of this log: tildawn anchor list shows the key",
}
