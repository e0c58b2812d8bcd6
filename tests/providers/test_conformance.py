"""What every mount of the simulator, and the adapter before it, must do alike."""

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from tildawn.picture import read_picture
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.port import ChatRequest, EmbedRequest, ImageRequest, Message, Usage
from tildawn.providers.prices import Prices


pytestmark = pytest.mark.anyio

PROMPT = "Title and three bullet points for a red heart mug"


class Listing(msgspec.Struct, forbid_unknown_fields=True):
    """What a shop wants from a model."""

    title: Annotated[str, Meta(min_length=4, max_length=60)]
    bullets: Annotated[list[str], Meta(min_length=3, max_length=3)]
    stars: Annotated[int, Meta(ge=1, le=5)]
    draft: bool


def question(prompt: str = PROMPT, **more: object) -> ChatRequest:
    asked = ChatRequest(model="sim-chat", messages=(Message("user", prompt),), max_tokens=200)
    return msgspec.structs.replace(asked, **more)


LISTING = msgspec.json.encode(msgspec.json.schema(Listing)).decode()


async def test_an_answer_is_made_of_the_words_of_the_prompt_and_fits_the_schema(stage) -> None:
    """Pages and reports built from simulated answers must look like the owner's own products."""
    async with stage() as s:
        answer = await s.provider.chat(question(schema=LISTING), idempotency_key="k")
        assert answer.json is not None
        listing = msgspec.json.decode(answer.json, type=Listing)
        words = {word.lower() for word in PROMPT.split()}
        assert set(listing.title.lower().split()) <= words
        assert len(listing.bullets) == 3
        assert answer.finish == "stop"


async def test_the_same_question_gets_the_same_answer_and_another_seed_another_one(stage) -> None:
    """A night must be repeatable, and two nights must be able to differ."""
    texts = list[str]()
    for seed in (1, 1, 2):
        async with stage(seed=seed) as s:
            texts.append((await s.provider.chat(question(), idempotency_key="k")).text)
    assert texts[0] == texts[1] != texts[2]


async def test_a_stream_says_what_the_whole_answer_says(stage) -> None:
    """Streaming is another way to hear the same answer, with the same bill."""
    async with stage() as s:
        whole = await s.provider.chat(question(), idempotency_key="one")
        pieces = [x async for x in s.provider.stream(question(), idempotency_key="two")]
        assert "".join(piece.text for piece in pieces) == whole.text
        assert len(pieces) > 3
        last = pieces[-1]
        assert last.finish == "stop"
        assert last.bill is not None
        assert (last.bill.usage, last.bill.cost) == (whole.bill.usage, whole.bill.cost)


@pytest.mark.parametrize("image_format", ["b64_json", "url"])
async def test_a_picture_is_real_and_of_the_exact_size(stage, image_format: str) -> None:
    """Whatever later looks at the picture must find one, however it was delivered."""
    async with stage(image_format=image_format) as s:
        wish = ImageRequest(model="sim-image", prompt="a red mug", size="96x64")
        answer = await s.provider.image(wish, idempotency_key="k")
        assert (answer.media_type, answer.width, answer.height) == ("image/png", 96, 64)
        assert read_picture(answer.data).width == 96
        other = msgspec.structs.replace(wish, prompt="a blue mug")
        assert (await s.provider.image(other, idempotency_key="k2")).data != answer.data
        again = await s.provider.image(wish, idempotency_key="k3")
        assert again.data == answer.data


async def test_vectors_come_in_order_and_shared_words_are_near(stage) -> None:
    """Search over simulated vectors must behave like search."""
    async with stage() as s:
        texts = ("red heart mug", "red heart cup", "tax declaration form")
        wish = EmbedRequest(model="sim-embed", texts=texts, dimensions=128)
        mug, cup, tax = (await s.provider.embed(wish, idempotency_key="k")).vectors
        near = sum(a * b for a, b in zip(mug, cup, strict=True))
        far = sum(a * b for a, b in zip(mug, tax, strict=True))
        assert len(mug) == 128
        assert near > far


async def test_the_models_on_offer_are_listed_free_of_charge(stage) -> None:
    """The list doubles as a sign of life, which must not cost anything."""
    async with stage() as s:
        assert "sim-chat" in await s.provider.models(idempotency_key="k")
        assert s.model.meter.billed_micro_usd == 0


@pytest.mark.parametrize("key", ["wrong", None])
async def test_a_wrong_or_missing_key_is_told_apart_from_every_other_fault(stage, key) -> None:
    """A wrong key needs the owner; trying again would only repeat it."""
    async with stage(key=key) as s:
        with pytest.raises(Fault) as caught:
            await s.provider.chat(question(), idempotency_key="k")
        assert (caught.value.kind, caught.value.status) == (FaultKind.AUTH, 401)
        assert "wrong" not in caught.value.detail
        assert s.model.meter.unauthorized == 1
        assert s.model.meter.answers == 0


async def test_a_repeated_key_gets_the_recorded_answer_and_is_billed_once(stage) -> None:
    """The second try of a paid request must not be a second purchase."""
    async with stage() as s:
        first = await s.provider.chat(question(), idempotency_key="k")
        second = await s.provider.chat(question(), idempotency_key="k")
        assert first == second
        meter = s.model.meter
        assert (meter.answers, meter.duplicates, meter.replayed) == (1, 1, 1)
        assert meter.billed_again == 0


async def test_without_idempotency_a_repeated_key_is_billed_twice_and_counted(stage) -> None:
    """The demo's proof needs a provider that does bill twice, and a meter that shows it."""
    async with stage(idempotency=False) as s:
        first = await s.provider.chat(question(), idempotency_key="k")
        second = await s.provider.chat(question(), idempotency_key="k")
        assert first.text == second.text
        assert first.bill.provider_id != second.bill.provider_id
        assert (s.model.meter.answers, s.model.meter.billed_again) == (2, 1)


async def test_one_key_for_two_requests_is_refused(stage) -> None:
    """A key that is derived too coarsely would hand one product's text to another."""
    async with stage() as s:
        await s.provider.chat(question(), idempotency_key="k")
        with pytest.raises(Fault) as caught:
            await s.provider.chat(question("something else"), idempotency_key="k")
        assert (caught.value.kind, caught.value.status) == (FaultKind.BAD_REQUEST, 422)


async def test_the_reported_cost_is_the_meters_and_never_above_the_worst_case(stage) -> None:
    """Money is reserved by the worst case and settled by the report; neither may be exceeded."""
    prices = Prices.shipped()
    wishes = (
        question(schema=LISTING),
        question("Ünïcödé 心 " * 40),
        ImageRequest(model="sim-image", prompt="mug", size="64x64"),
        EmbedRequest(model="sim-embed", texts=("mug", "cup")),
    )
    async with stage() as s:
        total = 0
        for number, wish in enumerate(wishes):
            if isinstance(wish, ChatRequest):
                bill = (await s.provider.chat(wish, idempotency_key=f"{number}")).bill
            elif isinstance(wish, ImageRequest):
                bill = (await s.provider.image(wish, idempotency_key=f"{number}")).bill
            else:
                bill = (await s.provider.embed(wish, idempotency_key=f"{number}")).bill
            worst = prices.worst_case("sim", wish)
            assert bill.cost is not None
            assert worst is not None
            assert 0 < bill.cost <= worst.amount
            total += bill.cost
        assert total == s.model.meter.billed_micro_usd


async def test_a_short_limit_of_tokens_cuts_the_answer_and_says_so(stage) -> None:
    """`max_tokens` bounds the price, so it must really bound the answer."""
    async with stage() as s:
        answer = await s.provider.chat(question(max_tokens=2), idempotency_key="k")
        assert answer.finish == "length"
        assert answer.bill.usage == Usage(input_tokens=13, output_tokens=2)


async def test_a_host_without_response_format_is_told_the_schema_in_words(stage) -> None:
    """A small local server must be usable too; the answer is still JSON or a fault."""
    async with stage(base="plain") as s:
        with pytest.raises(Fault) as caught:
            await s.provider.chat(question(schema=LISTING), idempotency_key="k")
        assert caught.value.kind is FaultKind.INVALID_ANSWER  # the simulator only chats then
        assert "no JSON" in caught.value.detail
        assert s.model.meter.answers == 1


async def test_what_a_dialect_cannot_do_is_refused_before_anything_is_sent(stage) -> None:
    """Asking a host for what it lacks is our mistake and must not cost an attempt."""
    async with stage(base="ollama") as s:
        with pytest.raises(Fault) as caught:
            await s.provider.image(ImageRequest(model="m", prompt="p"), idempotency_key="k")
        assert (caught.value.kind, caught.value.sent) == (FaultKind.BAD_REQUEST, False)
        assert s.model.meter.requests == 0
