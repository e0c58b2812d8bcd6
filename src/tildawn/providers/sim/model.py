"""The simulated provider: each request becomes a script, by seed, scenario and what came before.

What it is not: a server.  It neither waits nor writes; the same requests in the same order give
the same scripts, whatever plays them.
"""

import hmac
from datetime import UTC, datetime
from email.utils import format_datetime

import msgspec

from tildawn.providers.port import Bill, Usage
from tildawn.providers.prices import Prices
from tildawn.providers.sim import scenario as fate
from tildawn.providers.sim.chance import Chance
from tildawn.providers.sim.meter import Meter, add
from tildawn.providers.sim.scenario import Fate, Rule, Scenario, micros
from tildawn.providers.sim.script import Action, Asked, Cut, Data, Hang, Head, Script, Wait
from tildawn.providers.sim.work import MODELS, BadRequest, Worked, picture_at, prompt_of, work
from tildawn.units import Micros, MicroUsd


KEY = "sim"
"""The key that the simulator accepts unless told otherwise."""

PROBABILITY_STEPS = 1_000_000


class SimModel:
    """A provider that is not there; holds its account and its record of answers."""

    def __init__(
        self,
        *,
        seed: int = 0,
        scenario: Scenario | None = None,
        key: str = KEY,
        idempotency: bool = True,
        began: Micros | None = None,
    ) -> None:
        """Make the provider.

        Args:
            seed: fixes every answer and every throw of the dice.
            scenario: what goes wrong; nothing by default.
            key: the only bearer token accepted.
            idempotency: whether a repeated Idempotency-Key gets the recorded answer, unbilled.
            began: instant from which the scenario counts; that of the first request when absent.

        Raises:
            Nothing.
        """
        self._began = began
        self._seed = seed
        self._scenario = scenario or Scenario()
        self._key = key
        self._idempotency = idempotency
        self._prices = Prices.shipped()
        self.reset()

    def reset(self) -> None:
        """Forget everything that was asked.

        Raises:
            Nothing.
        """
        self.meter = Meter(by_path={}, faults={})
        # HOLE: never trimmed; a thousand pictures are some thirty megabytes.
        self._record: dict[str, tuple[Asked, Worked]] = {}
        self._asked: dict[int, int] = {}
        self._fired: dict[int, int] = {}
        self._first = self._began

    def script(self, asked: Asked, *, now: Micros) -> Script:
        """Decide what happens to a request.

        Args:
            asked: the request.
            now: the instant, for dates in headers and bodies.

        Returns:
            What to do, in order.

        Raises:
            Nothing.
        """
        if asked.path in _DESK_OF_OUR_OWN:
            return self._own(asked)
        self.meter.requests += 1
        add(self.meter.by_path, asked.path)
        if asked.path.startswith("/v1/") and not self._authorized(asked):
            self.meter.unauthorized += 1
            return _error(401, "invalid_api_key", "Incorrect API key provided.")
        if self._first is None:
            self._first = now
        at = Micros(max(now - self._first, 0))  # somebody may have set the clock back
        rule = self._rule(asked, at)
        latency = self._latency(asked, at)
        start: Script = (Wait(latency),) if latency else ()
        early = None if rule is None else _before_work(rule.fault, now)
        if early is not None:
            return start + early
        return start + self._worked(asked, rule, now)

    def _own(self, asked: Asked) -> Script:
        if (asked.method, asked.path) == ("POST", "/sim/reset"):
            self.reset()
        elif (asked.method, asked.path) != ("GET", "/sim/meter"):
            return _error(405, "method_not_allowed", "GET /sim/meter, POST /sim/reset")
        return _whole(200, msgspec.json.encode(self.meter))

    def _authorized(self, asked: Asked) -> bool:
        given = asked.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {self._key}".encode())

    def _latency(self, asked: Asked, at: Micros) -> Micros:
        paces = [
            pace
            for pace in self._scenario.pace
            if pace.holds(at) and asked.path.startswith(pace.path)
        ]
        if not paces:
            return micros(self._scenario.latency)
        chance = Chance("pace", self._seed, asked.path, self.meter.by_path[asked.path])
        return paces[-1].latency(at, chance.swing())

    def _rule(self, asked: Asked, at: Micros) -> Rule | None:
        prompt = prompt_of(asked.body).lower()
        found = None
        for index, rule in enumerate(self._scenario.rule):
            if not (rule.holds(at) and asked.path.startswith(rule.path)):
                continue
            if rule.prompt.lower() not in prompt:
                continue
            nth = self._asked[index] = self._asked.get(index, 0) + 1
            if found is None and rule.selects(nth) and self._falls(index, rule, nth):
                self._fired[index] = self._fired.get(index, 0) + 1
                add(self.meter.faults, str(rule.fault.__struct_config__.tag))
                found = rule
        return found

    def _falls(self, index: int, rule: Rule, nth: int) -> bool:
        if rule.times is not None and self._fired.get(index, 0) >= rule.times:
            return False
        thrown = Chance("rule", self._seed, index, nth).below(PROBABILITY_STEPS)
        return thrown < rule.probability * PROBABILITY_STEPS

    def _worked(self, asked: Asked, rule: Rule | None, now: Micros) -> Script:
        if asked.method == "GET":
            return self._got(asked, rule)
        key = asked.headers.get("idempotency-key")
        again = key is not None and key in self._record
        self.meter.duplicates += again
        if again and self._idempotency and key is not None:
            before, done = self._record[key]
            if (before.path, before.body) != (asked.path, asked.body):
                return _error(422, "idempotency_mismatch", "This key stands for another request.")
            self.meter.replayed += 1
        else:
            try:
                done = work(asked.path, asked.body, seed=self._seed, origin=asked.origin)
            except BadRequest as error:
                return _error(400, "invalid_request_error", str(error))
            if done is None:
                return _error(404, "not_found", f"nothing is served at {asked.path}")
            self.meter.billed_again += again
            done = self._billed(done, now)
            if key is not None:
                self._record[key] = (asked, done)
        return self._played(done, rule)

    def _got(self, asked: Asked, rule: Rule | None) -> Script:
        if asked.path == "/v1/models":
            rows = [{"id": m, "object": "model", "created": 0, "owned_by": "sim"} for m in MODELS]
            return self._shaped(_whole(200, _json({"object": "list", "data": rows})), rule)
        drawn = picture_at(asked.path)
        if drawn is None:
            return _error(404, "not_found", f"nothing is served at {asked.path}")
        return self._shaped(_whole(200, drawn, media_type="image/png"), rule)

    def _billed(self, done: Worked, now: Micros) -> Worked:
        usage = Usage(input_tokens=done.input_tokens, output_tokens=done.output_tokens)
        bill = Bill(model=done.model, usage=usage)
        cost = self._prices.actual("sim", bill, image_size=done.image_size)
        amount = 0 if cost is None else cost.amount
        self.meter.answers += 1
        self.meter.billed_micro_usd = MicroUsd(self.meter.billed_micro_usd + amount)
        usage = {
            "prompt_tokens": done.input_tokens,
            "completion_tokens": done.output_tokens,
            "total_tokens": done.input_tokens + done.output_tokens,
            "cost": amount / 1_000_000,
        }
        if done.image_size is not None:  # images are counted in other words
            usage["input_tokens"] = done.input_tokens
            usage["output_tokens"] = done.output_tokens
        name = Chance("id", self._seed, self.meter.answers).digest().hex()[:24]
        body = {"id": f"sim-{name}", "created": now // 1_000_000, **done.body, "usage": usage}
        return msgspec.structs.replace(done, body=body)

    def _played(self, done: Worked, rule: Rule | None) -> Script:
        fault = None if rule is None else rule.fault
        done = _spoiled(done, fault)
        if done.stream:
            return self._shaped(_streamed(done), rule)
        body = _json(done.body)
        if isinstance(fault, fate.Malformed) and fault.where == "body":
            body = body[: len(body) * 2 // 3]
        return self._shaped(_whole(200, body), rule)

    def _shaped(self, script: Script, rule: Rule | None) -> Script:
        """The script of a good answer, with what the rule does to its time and its bytes."""
        if rule is None:
            return script
        match rule.fault:
            case fate.Late(delay):
                return (Wait(micros(delay)), *script)
            case fate.Drift(by, limit):
                times = self._fired[self._scenario.rule.index(rule)]
                return (Wait(Micros(min(micros(by) * times, micros(limit)))), *script)
            case _:
                return _broken(script, rule.fault)


def _before_work(fault: Fate, now: Micros) -> Script | None:
    match fault:
        case fate.Hang():
            return (Hang(),)
        case fate.Reset():
            return (Cut(),)
        case _:
            return _refusal(fault, now)


def _refusal(fault: Fate, now: Micros) -> Script | None:
    match fault:
        case fate.Rate():
            text = "Rate limit reached for requests."
            return _error(429, "rate_limit_exceeded", text, headers=_waits(fault, now))
        case fate.Quota():
            text = "You exceeded your current quota, please check your plan and billing."
            return _error(429, "insufficient_quota", text)
        case fate.Server(status):
            return _error(status, "server_error", "The server had an error.")
        case fate.Refused():
            return _error(400, "content_policy_violation", "The prompt was refused.")
        case _:
            return None


def _spoiled(done: Worked, fault: Fate | None) -> Worked:
    match fault:
        case fate.EmptyUrl() if done.image_size is not None:
            return msgspec.structs.replace(done, body={**done.body, "data": [{"url": ""}]})
        case fate.Malformed("content") if done.text is not None:
            return _saying(done, '{"title": "' + done.text[: len(done.text) // 2])
        case fate.WrongSchema() if done.text is not None:
            return _saying(done, '{"nobody_asked_for": [true]}')
        case _:
            return done


def _saying(done: Worked, text: str) -> Worked:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return msgspec.structs.replace(done, text=text, body={**done.body, "choices": [choice]})


def _streamed(done: Worked) -> Script:
    head = {key: done.body[key] for key in ("id", "created", "model")}
    head["object"] = "chat.completion.chunk"
    finish = msgspec.convert(done.body["choices"], list[_Finished])[0].finish_reason
    words = (done.text or "").split(" ")
    pieces = [words[0], *[" " + word for word in words[1:]]]
    events = [_event(head, {"role": "assistant", "content": ""}, None)]
    events += [_event(head, {"content": piece}, None) for piece in pieces]
    events.append(_event(head, {}, finish))
    if done.with_usage:
        events.append({**head, "choices": [], "usage": done.body["usage"]})
    lines = [b"data: " + _json(event) + b"\n\n" for event in events]
    stream = Head(200, (("content-type", "text/event-stream"),), None)
    return (stream, *[Data(line) for line in lines], Data(b"data: [DONE]\n\n"))


class _Finished(msgspec.Struct):
    finish_reason: str


def _event(head: dict[str, object], delta: object, finish: str | None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**head, "choices": [choice]}


def _broken(script: Script, fault: Fate) -> Script:
    match fault:
        case fate.AcceptThenHang():
            return (Hang(),)
        case fate.Drip(every, size):
            return _dripping(script, micros(every), size)
        case fate.Cut(keep):
            return _cut(script, keep)
        case _:
            return script


def _dripping(script: Script, every: Micros, size: int) -> Script:
    drops = list[Action]()
    for action in script:
        if not isinstance(action, Data):
            drops.append(action)
            continue
        for at in range(0, len(action.data), size):
            drops += [Wait(every), Data(action.data[at : at + size])]
    return tuple(drops)


def _cut(script: Script, keep: int) -> Script:
    left = sum(len(action.data) for action in script if isinstance(action, Data)) * keep // 100
    kept = list[Action]()
    for action in script:
        if isinstance(action, Data):
            kept.append(Data(action.data[:left]))
            left -= min(left, len(action.data))
        else:
            kept.append(action)
    return (*kept, Cut())


def _waits(fault: fate.Rate, now: Micros) -> tuple[tuple[str, str], ...]:
    wait = micros(fault.retry_after)
    seconds = -(-wait // 1_000_000)
    if fault.spelling == "seconds":
        return (("retry-after", str(seconds)),)
    if fault.spelling == "ms":
        return (("retry-after-ms", str(-(-wait // 1_000))),)
    if fault.spelling == "date":
        when = datetime.fromtimestamp(-(-(now + wait) // 1_000_000), UTC)
        return (("retry-after", format_datetime(when, usegmt=True)),)
    return ()


def _error(
    status: int, code: str, text: str, *, headers: tuple[tuple[str, str], ...] = ()
) -> Script:
    body = {"error": {"message": text, "type": code, "param": None, "code": code}}
    return _whole(status, _json(body), headers=headers)


def _whole(
    status: int,
    body: bytes,
    *,
    media_type: str = "application/json",
    headers: tuple[tuple[str, str], ...] = (),
) -> Script:
    return (Head(status, (("content-type", media_type), *headers), len(body)), Data(body))


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


_DESK_OF_OUR_OWN = frozenset({"/sim/meter", "/sim/reset"})
