# SPDX-License-Identifier: Apache-2.0
"""What a publisher's key may sign: one content of an epoch while it lives, and no peer can hold an epoch for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.cosign.commitments import Commitments, Content
from keeper.store import open_store

MINE, LIAR, HONEST = (f"0x{digit * 40}" for digit in "abc")
AGE, START = 600, 1_700_000_000


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Commitments]:
    store = open_store(f"sqlite:///{tmp_path}/keeper.sqlite")
    yield Commitments(store, 1, f"0x{'d' * 40}", MINE)
    store.close()


def content(at: int) -> Content:
    return Content(0, 7, at.to_bytes(32, "big"), at)


def test_a_peer_that_never_publishes_does_not_hold_an_epoch_for_ever(book: Commitments) -> None:
    """It asks for a signature the very second its last content is dead; before others it has to wait as long again."""
    assert book.claim(content(START), AGE, START, LIAR) is None
    dead = START + AGE + 1
    refused = book.claim(content(dead), AGE, dead, LIAR)
    assert refused is not None and "others go first" in refused
    assert book.claim(content(dead), AGE, dead, HONEST) is None


@pytest.mark.parametrize("who", [MINE, HONEST])
def test_others_may_have_the_next_content_at_once(book: Commitments, who: str) -> None:
    assert book.claim(content(START), AGE, START, LIAR) is None
    assert book.claim(content(START + 1), AGE, START + 1, who) is not None  # the first one lives
    assert book.claim(content(START + AGE + 1), AGE, START + AGE + 1, who) is None


def test_who_waited_as_long_again_may_try_again(book: Commitments) -> None:
    assert book.claim(content(START), AGE, START, LIAR) is None
    later = START + 2 * AGE + 1
    assert book.claim(content(later), AGE, later, LIAR) is None


def test_ones_own_content_may_be_made_anew_when_it_is_dead(book: Commitments) -> None:
    assert book.claim(content(START), AGE, START, MINE) is None
    assert book.claim(content(START + AGE + 1), AGE, START + AGE + 1, MINE) is None
