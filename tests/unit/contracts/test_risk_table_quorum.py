# SPDX-License-Identifier: Apache-2.0
"""Who may make an epoch: publishers, their signatures, and what a signature is good for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from eth_account import Account
from eth_utils.crypto import keccak

from tests.support.revm import Reverted, deploy
from tests.support.table_world import (
    ANYBODY,
    BOND,
    GOVERNANCE,
    GUARDIAN,
    PUBLISHERS,
    STRANGER,
    SURFACES,
    A,
    B,
    C,
    D,
    Header,
    Page,
    TableWorld,
    sign,
)

PAGE = Page(Header(), bytes(288))


@pytest.fixture
def world() -> TableWorld:
    """A quorum of two of three."""
    world = TableWorld()
    world.table.call("set_quorum", 2, caller=GOVERNANCE)
    return world


def refused(reason: str) -> pytest.RaisesExc[Reverted]:
    return pytest.raises(Reverted, match=f"^{reason}$")


# ------------------------------------------------------------------ the quorum


@pytest.mark.parametrize("signers", [(A, B), (A, C), (B, C), (A, B, C)])
def test_any_quorum_publishes_and_answers_for_it(world: TableWorld, signers: Sequence[str]) -> None:
    world.put(PAGE, signers)
    assert [s.lower() for s in world.table.call("signers_of", 0)] == [s.lower() for s in signers]


@pytest.mark.parametrize(
    ("signers", "reason"),
    [
        ((), "too few signatures"),
        ((A,), "too few signatures"),
        ((A, A), "signer order"),
        ((B, A), "signer order"),
        ((A, C, B), "signer order"),
        ((A, B, B), "signer order"),
        ((A, D), "not publisher"),
        ((A, B, D), "not publisher"),
    ],
)
def test_other_sets_of_signers_do_not(world: TableWorld, signers: Sequence[str], reason: str) -> None:
    with refused(f"table: {reason}"):
        world.put(PAGE, signers)
    assert world.table.call("read", 1) == (0, 0, 0)


def test_every_signature_given_must_be_good(world: TableWorld) -> None:
    good = world.signatures(PAGE, (A, B, C))
    swapped = [good[0], (B, good[2][1])]
    with refused("table: signature"):
        world.submit(PAGE, swapped)
    with refused("table: signature"):
        world.submit(PAGE, [*good[:2], (C, b"")])
    with refused("ecdsa: invalid signature"):
        world.submit(PAGE, [good[0], (B, bytes(65))])
    # the other root of the same signature
    r, s, v = good[1][1][:32], int.from_bytes(good[1][1][32:64], "big"), good[1][1][64]
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    twin = r + (order - s).to_bytes(32, "big") + bytes([55 - v])
    with refused("ecdsa: invalid signature `s` value"):
        world.submit(PAGE, [good[0], (B, twin)])
    world.submit(PAGE, good)


def test_the_zero_address_never_signs(world: TableWorld) -> None:
    # what a failed recovery returns
    with refused("table: signer order"):
        world.submit(PAGE, [("0x" + "0" * 40, b""), *world.signatures(PAGE, (A, B))])
    with refused("table: no publisher"):
        world.table.call("set_publisher", "0x" + "0" * 40, True, caller=GOVERNANCE)


def test_eight_signatures_at_most(world: TableWorld) -> None:
    for publisher in PUBLISHERS[3:9]:
        world.table.call("set_publisher", publisher, True, caller=GOVERNANCE)
    world.table.call("set_quorum", 8, caller=GOVERNANCE)
    with refused("table: too few signatures"):
        world.put(PAGE, PUBLISHERS[:7])
    world.put(PAGE, PUBLISHERS[1:9])
    assert [s.lower() for s in world.table.call("signers_of", 0)] == [s.lower() for s in PUBLISHERS[1:9]]
    with pytest.raises(Reverted):
        world.put(Page(Header(epoch=2), bytes(288)), PUBLISHERS[:9])


# ------------------------------------------------------------------ what a signature is good for


def test_the_digest_is_the_one_that_wallets_compute(world: TableWorld) -> None:
    digest = world.table.call("page_digest", 0, PAGE.header.tuple(), PAGE.surfaces, keccak(PAGE.rows))
    assert Account._recover_hash(digest, signature=world.signatures(PAGE, (A,))[0][1]) == A
    assert world.table.call("eip712Domain")[:4] == (b"\x0f", "Ballast RiskTable", "1", 1)


def test_a_signature_is_good_for_one_epoch(world: TableWorld) -> None:
    signatures = world.signatures(PAGE, (A, B))
    world.submit(PAGE, signatures)
    world.wait(60)
    with refused("table: epoch"):
        world.submit(PAGE, signatures)
    with refused("table: signature"):
        world.submit(Page(PAGE.header.but(epoch=2, observed_at=world.now), PAGE.rows), signatures)


def test_a_signature_is_good_for_one_underlying(world: TableWorld) -> None:
    page = Page(Header(), b"")
    with refused("table: signature"):
        world.submit(page, world.signatures(page, (A, B), underlying=0), underlying=1)
    world.submit(page, world.signatures(page, (A, B), underlying=1), underlying=1)


def test_a_signature_is_good_for_one_table_and_chain(world: TableWorld) -> None:
    other = world.new_table(world.token)
    message = {"underlying": 0, "content_hash": PAGE.content_hash()}
    with refused("table: signature"):
        world.submit(PAGE, [sign(s, other.address, "Page", message) for s in (A, B)])
    with refused("table: signature"):
        world.submit(PAGE, [sign(s, world.table.address, "Page", message, chain=10) for s in (A, B)])
    world.submit(PAGE, [sign(s, world.table.address, "Page", message) for s in (A, B)])


def test_a_signature_is_good_for_every_byte(world: TableWorld) -> None:
    signatures = world.signatures(PAGE, (A, B))
    moved = ((*SURFACES[0][:7], SURFACES[0][7] + 1),)
    for other in (
        PAGE.but(2, b"\x01", at=95),
        Page(PAGE.header.but(vol=6_001), PAGE.rows),
        Page(PAGE.header.but(data=b"\x03" * 32), PAGE.rows),
        Page(PAGE.header, PAGE.rows, moved),
    ):
        with refused("table: signature"):
            world.submit(other, signatures)


def test_a_signature_that_was_held_back_dies_of_age(world: TableWorld) -> None:
    signatures = world.signatures(PAGE, (A, B))
    world.wait(601)
    with refused("table: observed too old"):
        world.submit(PAGE, signatures)


# ------------------------------------------------------------------ contracts as publishers


def test_a_contract_signs_by_eip_1271(world: TableWorld) -> None:
    wallet = deploy(world.evm, "contracts/testing/TableFixture.vy")
    digest = world.table.call("page_digest", 0, PAGE.header.tuple(), PAGE.surfaces, keccak(PAGE.rows))
    both = sorted([(wallet.address, b"any form"), *world.signatures(PAGE, (A,))], key=lambda s: int(s[0], 16))
    with refused("table: not publisher"):
        world.submit(PAGE, both)
    world.table.call("set_publisher", wallet.address, True, caller=GOVERNANCE)
    with refused("table: signature"):
        world.submit(PAGE, both)
    wallet.call("approve_hash", digest, b"any form")
    world.submit(PAGE, both)


def test_a_contract_that_does_not_know_eip_1271_never_signs(world: TableWorld) -> None:
    world.table.call("set_publisher", world.token.address, True, caller=GOVERNANCE)
    both = sorted([(world.token.address, b""), *world.signatures(PAGE, (A,))], key=lambda s: int(s[0], 16))
    with refused("table: signature"):
        world.submit(PAGE, both)


# ------------------------------------------------------------------ the list


def test_guardian_forbids_but_does_not_appoint(world: TableWorld) -> None:
    with refused("table: not guardian"):
        world.table.call("set_publisher", B, False, caller=STRANGER)
    for who in (B, D):
        with refused("table: not guardian"):
            world.table.call("set_publisher", who, True, caller=GUARDIAN)
    with refused("table: no publisher"):
        world.table.call("set_publisher", D, False, caller=GUARDIAN)
    world.table.call("set_publisher", B, False, caller=GUARDIAN)
    assert not world.table.call("is_publisher", B)
    with refused("table: not publisher"):
        world.put(PAGE, (A, B))
    world.table.call("set_publisher", B, True, caller=GOVERNANCE)
    world.put(PAGE, (A, B))


def test_a_number_is_for_ever(world: TableWorld) -> None:
    for _ in range(2):
        world.table.call("set_publisher", B, False, caller=GOVERNANCE)
        world.table.call("set_publisher", B, True, caller=GOVERNANCE)
    assert world.table.call("publisher_count") == 3
    world.table.call("set_publisher", D, True, caller=GOVERNANCE)
    assert [world.table.call("publisher_at", k).lower() for k in range(1, 5)] == [p.lower() for p in (A, B, C, D)]
    assert world.table.call("publisher_at", 5) == "0x" + "0" * 40


def test_the_list_ends_at_255(world: TableWorld) -> None:
    for k in range(4, 256):
        world.table.call("set_publisher", f"0x{k:040x}", True, caller=GOVERNANCE)
    with refused("table: publishers full"):
        world.table.call("set_publisher", D, True, caller=GOVERNANCE)
    world.table.call("set_publisher", f"0x{255:040x}", False, caller=GOVERNANCE)
    world.put(PAGE, (A, B))


def test_fewer_publishers_than_the_quorum_publish_nothing(world: TableWorld) -> None:
    world.put(PAGE, (A, B))
    world.table.call("set_quorum", 4, caller=GOVERNANCE)
    world.wait(60)
    with refused("table: too few signatures"):
        world.put(Page(Header(epoch=2, observed_at=world.now), bytes(288)), (A, B, C))
    # readers keep the last epoch, which runs into its expiry
    assert world.table.call("read", 1)[1] >> 160 & 0xFFFFFFFF == 1


@pytest.mark.parametrize("quorum", [0, 9, 2**255])
def test_the_quorum_is_one_to_eight(world: TableWorld, quorum: int) -> None:
    with refused("table: quorum"):
        world.table.call("set_quorum", quorum, caller=GOVERNANCE)
    assert world.table.call("quorum") == 2


def test_only_governance_sets_quorum_and_guardian(world: TableWorld) -> None:
    for who in (GUARDIAN, ANYBODY, A):
        for call in (("set_quorum", 1), ("set_guardian", STRANGER)):
            with refused("ownable: caller is not the owner"):
                world.table.call(*call, caller=who)
    world.table.call("set_guardian", STRANGER, caller=GOVERNANCE)
    assert world.table.call("guardian") == STRANGER
    with refused("table: not guardian"):
        world.table.call("set_publisher", A, False, caller=GUARDIAN)
    world.table.call("set_publisher", A, False, caller=STRANGER)


# ------------------------------------------------------------------ bonds


def test_a_signature_counts_with_a_whole_bond_only(world: TableWorld) -> None:
    world.set_terms(min_bond=BOND)
    world.bond(A)
    world.bond(B, BOND - 1)
    with refused("table: low bond"):
        world.put(PAGE, (A, B))
    world.bond(B, 1)
    # what is asked back no longer counts
    world.table.call("request_bond_withdrawal", 1, caller=A)
    with refused("table: low bond"):
        world.put(PAGE, (A, B))
    world.table.call("request_bond_withdrawal", 0, caller=A)
    world.put(PAGE, (A, B))
