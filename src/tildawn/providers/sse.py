"""Server-sent events, as far as model providers use them: the data, one event at a time.

What it is not: a full reader of the format; names, ids and retry hints are skipped.
"""

from collections.abc import AsyncGenerator, AsyncIterator


async def events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[str]:
    """The data of each event.

    Args:
        pieces: the body, cut anywhere.

    Yields:
        The ``data`` of an event, its lines joined by newlines.

    Raises:
        Nothing; what ``pieces`` raises goes through.

    Source: WHATWG HTML, section 9.2.6 "Interpreting an event stream".
    """
    rest, data = b"", list[str]()
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            text = line.rstrip(b"\r").decode("utf-8", "replace")
            if text.startswith("data:"):
                data.append(text[5:].removeprefix(" "))
            elif not text and data:
                yield "\n".join(data)
                data = []
