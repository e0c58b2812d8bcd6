"""The keyed digest of guessable values.

What it is not: the file of the key; that is in ``test_house``.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.ledger.keys import digester


def test_the_digest_is_the_hmac_of_the_published_example() -> None:
    """Another program must be able to compute it. Source: RFC 4231 section 4.3, test case 2."""
    said = digester(b"Jefe")(b"what do ya want for nothing?")
    published = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert bytes.fromhex(published) == urlsafe_b64decode(f"{said}=")


@given(key=st.binary(max_size=64), contents=st.lists(st.binary(max_size=200), max_size=4))
def test_one_function_gives_the_hmac_of_every_content(key: bytes, contents: list[bytes]) -> None:
    """The beginnings are shared between calls, so one call must leave nothing for the next."""
    digest = digester(key)
    for content in contents:
        expected = hmac.digest(key, content, hashlib.sha256)
        assert expected == urlsafe_b64decode(f"{digest(content)}=")


def test_a_key_longer_than_a_block_is_refused() -> None:
    """It would have to be hashed first, and a key of a house never is."""
    with pytest.raises(ValueError, match="65 bytes"):
        digester(bytes(65))
