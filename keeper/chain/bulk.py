# SPDX-License-Identifier: Apache-2.0
"""State and auction of thousands of accounts, coded by hand: a general coder takes longer than the node."""

from __future__ import annotations

from collections.abc import Sequence

from keeper.chain.client import ChainClient
from keeper.chain.multicall import WORD, Call
from keeper.chain.reader import account_calls, auction_state
from keeper.domain import AuctionState, Block, Unknown
from keeper.errors import KeeperError

Words = dict[int, tuple[int, ...] | Unknown]
Auctions = dict[int, AuctionState | Unknown]


def read_accounts(chain: ChainClient, accounts: Sequence[int], block: Block) -> tuple[Words, Auctions]:
    """Read accounts at a block; what cannot be read is `Unknown`."""
    encoded = [chain.encode(call) for call in account_calls(accounts[0]).values()]
    (ledger, state), (auction, of) = ((to, data[:4]) for to, data in encoded)
    numbers = [account.to_bytes(WORD, "big") for account in accounts]
    calls = [Call(ledger, state + n, f"state of account {a}") for a, n in zip(accounts, numbers, strict=True)]
    calls += [Call(auction, of + n, f"auction of account {a}") for a, n in zip(accounts, numbers, strict=True)]
    answers = chain.multicall.run(calls, block.number)
    states, auctions = answers[: len(accounts)], answers[len(accounts) :]
    words = {a: _words(answer, a, block) for a, answer in zip(accounts, states, strict=True)}
    return words, {a: _auction(answer, a, block) for a, answer in zip(accounts, auctions, strict=True)}


def _words(answer: bytes | KeeperError, account: int, block: Block) -> tuple[int, ...] | Unknown:
    if isinstance(answer, KeeperError):
        return Unknown(str(answer), block.timestamp)
    count = int.from_bytes(answer[WORD : 2 * WORD], "big")
    if len(answer) < 2 * WORD or len(answer) != WORD * (2 + count):
        return Unknown(f"state of account {account} has {len(answer)} bytes for {count} words", block.timestamp)
    return tuple(int.from_bytes(answer[k : k + WORD], "big") for k in range(2 * WORD, len(answer), WORD))


def _auction(answer: bytes | KeeperError, account: int, block: Block) -> AuctionState | Unknown:
    if isinstance(answer, KeeperError):
        return Unknown(str(answer), block.timestamp)
    try:
        return auction_state([int.from_bytes(answer[k : k + WORD], "big") for k in range(0, len(answer), WORD)])
    except (ValueError, TypeError, IndexError) as error:
        return Unknown(f"auction of account {account} cannot be understood ({error})", block.timestamp)
