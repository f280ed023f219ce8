# SPDX-License-Identifier: Apache-2.0
"""Gather the signatures that a table needs: who is asked, in which order, and what is sent when.

First everybody is asked whether they would sign. Only when enough of them would does this publisher commit its own
signature and ask for theirs: a proposal that nobody likes blocks no epoch. What one has committed to is proposed again
until it has its quorum or can be published no more.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from keeper.actions import PublishPage, Signature
from keeper.bounded_http import bounded_client
from keeper.cosign.commitments import Commitments, content_of
from keeper.cosign.messages import PATH, Table, ask, recovered
from keeper.domain import Block, ContractCall
from keeper.errors import Halt, KeeperError
from keeper.ports import Chain
from keeper.publish.signing import Publisher, ascending, digest, domain, typed
from keeper.publish.verifier import TABLE, read_terms, rows_hash

MAX_AGE = 1  # field of RiskTable.limits
MAX_ANSWER_BYTES = 100_000
SHOWN = 4  # differences of one peer in a text
TEXT = 300


@dataclass(frozen=True, slots=True)
class Peer:
    """Another publisher; ``url`` may hold a secret and is never shown, ``signer`` names it."""

    url: str = field(repr=False)
    signer: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A peer that did not sign, and why."""

    signer: str
    why: str

    def __str__(self) -> str:
        return f"{self.signer}: {self.why}"


@dataclass(frozen=True, slots=True)
class Gathered:
    """A table with its quorum, or why not yet: ``waiting`` is no trouble, ``short`` is.

    ``willing`` are the peers that would sign, ``refusals`` the others.
    """

    table: Table | None
    needed: int
    willing: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    waiting: str | None = None
    short: str | None = None


@dataclass(slots=True)
class Quorum:
    """Asks the peers of one publisher.

    Attributes
    ----------
    turn_s
        Publishers propose one after the other, so far apart; who is first changes with each epoch.
    clock
        Unix seconds by the wall.
    """

    publisher: Publisher
    chain: Chain
    peers: Sequence[Peer]
    commitments: Commitments
    timeout_s: float
    turn_s: int
    clock: Callable[[], int]
    _seen: dict[tuple[int, int], int] = field(default_factory=dict)
    _proposed: dict[tuple[int, int], tuple[Table, int]] = field(default_factory=dict)

    def complete(self, table: Table, block: Block, *, dry: bool = False) -> Gathered:
        """Signatures of a quorum under a table that is due.

        Parameters
        ----------
        block
            Where quorum, publishers and bonds are read.
        dry
            Only ask who would sign.

        Raises
        ------
        Halt
            The contract signs something else than this publisher would.
        Transient, Permanent
            The chain cannot be read.
        """
        needed = int(self.chain.call(ContractCall(TABLE, "quorum"), block=block))
        if needed <= 1 and not dry:
            return Gathered(replace(table, signatures=(self.publisher.sign(table),)), needed)
        content = content_of(table)
        key = (content.underlying, content.epoch)
        table = self._standing(key, table, block.timestamp)
        wait_s = 0 if dry or key in self._proposed else self._turn(key)
        if wait_s > 0:
            return Gathered(None, needed, waiting=f"{wait_s} s until it is this publisher's turn to propose")
        if table.signatures:
            return Gathered(table, needed)
        return self._gather(table, key, needed, block, dry=dry)

    def _standing(self, key: tuple[int, int], table: Table, now: int) -> Table:
        """What was proposed for this epoch before and can still be published, else the table given."""
        self._proposed = {known: item for known, item in self._proposed.items() if now <= item[1]}
        return self._proposed[key][0] if key in self._proposed else table

    def _turn(self, key: tuple[int, int]) -> int:
        """Seconds until this publisher may propose; the order of the addresses turns with each epoch."""
        now = self.clock()
        self._seen = {known: at for known, at in self._seen.items() if now - at < 3_600}
        since = self._seen.setdefault(key, now)
        mine = self.publisher.signer.address.lower()
        order = sorted({mine, *(peer.signer.lower() for peer in self.peers)})
        rank = (order.index(mine) - sum(key)) % len(order)
        return max(0, since + rank * self.turn_s - now)

    def _gather(self, table: Table, key: tuple[int, int], needed: int, block: Block, *, dry: bool) -> Gathered:
        hashed = self._digest(table, block)
        eligible, refusals = self._eligible(block)
        answers = self._ask(eligible, table, hashed, sign=False)
        willing = [peer for peer, answer in zip(eligible, answers, strict=True) if not isinstance(answer, Refusal)]
        refusals += [answer for answer in answers if isinstance(answer, Refusal)]
        names = tuple(peer.signer for peer in willing)
        if dry or len(willing) < needed - 1:
            short = None if len(willing) >= needed - 1 else _shortfall(len(willing) + 1, needed, refusals)
            return Gathered(None, needed, names, tuple(refusals), short=short)
        max_age_s = int(self.chain.call(ContractCall(TABLE, "limits"), block=block)[MAX_AGE])
        content, mine = content_of(table), self.publisher.signer.address
        why = self.commitments.claim(content, max_age_s, block.timestamp, mine)
        if why is not None:
            return Gathered(None, needed, names, tuple(refusals), waiting=why)
        self._proposed[key] = (table, content.observed_at + max_age_s)
        given = self._ask(willing, table, hashed, sign=True)
        signatures = [answer for answer in given if isinstance(answer, tuple)]
        refusals += [answer for answer in given if isinstance(answer, Refusal)]
        if len(signatures) < needed - 1:
            short = _shortfall(len(signatures) + 1, needed, refusals)
            return Gathered(None, needed, names, tuple(refusals), short=short)
        # every signer answers for the page with its bond: no more of them than needed
        signed = replace(table, signatures=ascending([self.publisher.sign(table), *signatures[: needed - 1]]))
        self._proposed[key] = (signed, content.observed_at + max_age_s)
        return Gathered(signed, needed, names, tuple(refusals))

    def _digest(self, table: Table, block: Block) -> bytes:
        """What is signed, by the contract's own word."""
        if isinstance(table, PublishPage):
            args: tuple[Any, ...] = (table.underlying, table.header.as_tuple(), table.surfaces, rows_hash(table.rows))
            theirs = self.chain.call(ContractCall(TABLE, "page_digest", args), block=block)
        else:
            head = (table.joint_epoch, table.observed_at, table.expires_at, table.model_hash, table.data_hash)
            theirs = self.chain.call(ContractCall(TABLE, "joint_digest", (*head, table.scenarios)), block=block)
        ours = digest(table, self.publisher.chain_id, self.publisher.table)
        if bytes(theirs) != ours:
            raise Halt(
                f"RiskTable {self.publisher.table} signs 0x{bytes(theirs).hex()} where this keeper would sign "
                f"0x{ours.hex()}; check chain id and manifest"
            )
        return ours

    def _eligible(self, block: Block) -> tuple[list[Peer], list[Refusal]]:
        """Peers whose signature the contract would take; one that it would not take spoils the whole publication."""
        terms = read_terms(self.chain, block)
        eligible, refusals = [], []
        for peer in self.peers:
            allowed = self.chain.call(ContractCall(TABLE, "is_publisher", (peer.signer,)), block=block)
            bond, asked, _ = self.chain.call(ContractCall(TABLE, "bond", (peer.signer,)), block=block)
            if not allowed:
                refusals.append(Refusal(peer.signer, "is no publisher of the table"))
            elif bond - asked < terms.min_bond_raw:
                refusals.append(Refusal(peer.signer, f"its bond is {bond - asked}, {terms.min_bond_raw} is needed"))
            else:
                eligible.append(peer)
        return eligible, refusals

    def _ask(
        self, peers: Sequence[Peer], table: Table, hashed: bytes, *, sign: bool
    ) -> list[Signature | Refusal | None]:
        """Answers of all peers at once: a signature, None (it would sign), or a refusal."""
        if not peers:
            return []
        bodies = [
            ask(
                table,
                hashed,
                self.publisher.signer,
                chain_id=self.publisher.chain_id,
                contract=self.publisher.table,
                sign=sign,
                now=self.clock(),
                nonce=secrets.token_bytes(32),
            )
            for _ in peers
        ]
        with ThreadPoolExecutor(len(peers)) as pool:
            asked = [
                pool.submit(self._ask_one, peer, body, table, sign=sign)
                for peer, body in zip(peers, bodies, strict=True)
            ]
            return [answer.result() for answer in asked]

    def _ask_one(self, peer: Peer, body: dict[str, Any], table: Table, *, sign: bool) -> Signature | Refusal | None:
        try:
            status, answer = _post(f"{peer.url.rstrip('/')}{PATH}", body, self.timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL, KeeperError, ValueError) as error:
            return Refusal(peer.signer, f"does not answer ({type(error).__name__})")
        if status != 200:
            return Refusal(peer.signer, _why(status, answer))
        if not sign:
            return None if answer.get("would_sign") is True else Refusal(peer.signer, "gave no answer that can be read")
        try:
            signature = bytes.fromhex(str(answer.get("signature")).removeprefix("0x"))
        except ValueError:
            signature = b""
        signed_by = recovered(domain(self.publisher.chain_id, self.publisher.table), *typed(table), signature)
        if len(signature) != 65 or signed_by is None or signed_by.lower() != peer.signer.lower():
            return Refusal(peer.signer, "gave a signature that is not its own")
        return signed_by, signature


def _post(url: str, body: dict[str, Any], timeout_s: float) -> tuple[int, dict[str, Any]]:
    """(status, JSON object) of a request; raises ``ValueError`` or ``HTTPError`` for anything else."""
    with bounded_client(timeout_s, MAX_ANSWER_BYTES) as client:
        reply = client.post(url, json=body)
    answer = reply.json()
    if not isinstance(answer, dict):
        raise ValueError("the answer is no object")
    return reply.status_code, answer


def _why(status: int, answer: dict[str, Any]) -> str:
    """A peer's reason in a few words; it is a stranger's text, so only so much of it."""
    found = answer.get("differences")
    if isinstance(found, list) and found and all(isinstance(item, dict) for item in found):
        names = ("underlying", "expiry", "field", "ours", "theirs")
        said = ["{} expiry {} {}: it has {}, we {}".format(*(str(item.get(n))[:80] for n in names)) for item in found]
        return _plain(f"differs in {len(found)}: {'; '.join(said[:SHOWN])}")
    return _plain(f"answered {status}: {answer.get('error', '')}")


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[: 2 * TEXT]


def _shortfall(have: int, needed: int, refusals: Sequence[Refusal]) -> str:
    said = "; ".join(map(str, refusals)) or "nobody else is in cosign.peers"
    return f"{have} of {needed} signatures; {said}"
