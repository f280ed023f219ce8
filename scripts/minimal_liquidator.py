# SPDX-License-Identifier: Apache-2.0
"""A liquidator in one file, with nothing but web3 and the files in abi/: watch, start, preview, bid, settle.

    export PRIVATE_KEY=0x...
    python scripts/minimal_liquidator.py --rpc http://127.0.0.1:8545 --manifest deployments/31337/local.json \
        --account 7 --min-profit 25

``--account`` is your own margin account in MarginAccounts; it takes over what you bid for and pays for it. Without
``--execute`` nothing is sent: every call is only simulated. The keeper (``ballast keeper run``) does all this with a
journal, fee bumps, a profit that counts the risk taken on, and standby processes; this file is the contract's side of
it, to build your own bot from. docs/liquidators.md explains every call and every reason to revert.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from web3 import Web3
from web3.contract import Contract
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError
from web3.types import TxParams

WAD = 10**18
ANY_NONCE = 2**256 - 1
NO_PHASE, SOLVENT = 0, 1
NAMES = ("MarginAccounts", "MarginLens", "LiquidationAuction")
AT_ONCE = 64  # accounts in one call of MarginLens.health
SETTLE_FIRST = "auction: settle options first"


@dataclass
class Bot:
    """The contracts, the key and what the operator wants."""

    web3: Web3
    accounts: Contract
    lens: Contract
    auction: Contract
    key: Any
    mine: int
    min_profit_wad: int
    execute: bool

    def say(self, text: str) -> None:
        """Print with the time."""
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    # ------------------------------------------------------------------ watching

    def short_of_margin(self) -> list[int]:
        """Accounts that may be liquidated: judged, and below maintenance margin by more than is in doubt."""
        everybody = range(1, self.accounts.functions.account_count().call())
        found = []
        for first in range(0, len(everybody), AT_ONCE):
            asked = list(everybody[first : first + AT_ONCE])
            for account, health in zip(asked, self.lens.functions.health(asked).call(), strict=True):
                known, _, _, equity_mm, mm, _, doubt = health
                if account != self.mine and known and equity_mm + doubt < mm:
                    found.append(account)
        return found

    def running(self) -> list[int]:
        """Accounts whose auction runs, whether or not they are below maintenance margin now."""
        if self.auction.functions.active_count().call() == 0:
            return []
        everybody = range(1, self.accounts.functions.account_count().call())
        return [a for a in everybody if self.auction.functions.auction_of(a).call()[0] != NO_PHASE]

    # ------------------------------------------------------------------ acting

    def turn(self) -> int:
        """Look at everybody once; returns how many transactions were, or would have been, sent."""
        sent = 0
        for account in self.short_of_margin():
            if self.auction.functions.auction_of(account).call()[0] == NO_PHASE:
                sent += self.send(self.auction.functions.start(account, self.mine), f"start {account}")
        for account in self.running():
            sent += self.bid(account)
        return sent

    def bid(self, account: int) -> int:
        """Bid for as much of an account as pays; where none does, keep its clock."""
        preview = self.auction.functions.preview_bid(account, WAD)
        try:
            phase, fraction, price, discount_bps, equity, _, nonce = preview.call()
        except ContractLogicError as refusal:
            if SETTLE_FIRST in str(refusal):
                return self.send(self.auction.functions.tick(account), f"settle what {account} has in expired options")
            self.say(f"account {account}: {refusal.message}")
            return self.send(self.auction.functions.end(account), f"end {account}") if "healthy" in str(refusal) else 0
        profit = equity * fraction // WAD - price
        phase_name = "solvent" if phase == SOLVENT else "insolvent"
        self.say(
            f"account {account}, {phase_name}: {fraction / WAD:.1%} of {equity / WAD:,.2f} USD for {price / WAD:,.2f}, "
            f"discount {discount_bps / 100:.2f} %, profit before gas and risk {profit / WAD:,.2f}"
        )
        if profit < self.min_profit_wad:
            return self.keep_clock(account)
        # what the price may move before the transaction is mined, never more than the profit asked for
        limit = price + min(abs(price) // 1000, profit - self.min_profit_wad)
        call = self.auction.functions.bid(account, self.mine, fraction, limit, 0, nonce)
        sent = self.send(call, f"bid for {account}")
        # somebody deposits dust to change the nonce? the limits protect a bid that accepts any
        return sent or self.send(
            self.auction.functions.bid(account, self.mine, fraction, limit, 0, ANY_NONCE), f"bid for {account}"
        )

    def keep_clock(self, account: int) -> int:
        """A clock counts at most ``tick_s`` between two records: record in time, or the discount falls behind."""
        seen_at = self.auction.functions.auction_of(account).call()[1]
        tick_s = self.auction.functions.settings().call()[9]
        now = self.web3.eth.get_block("latest")["timestamp"]
        if now - seen_at < tick_s * 8 // 10:
            return 0
        return self.send(self.auction.functions.tick(account), f"tick {account}")

    def send(self, call: ContractFunction, what: str) -> int:
        """Simulate a call, and send it and wait for its receipt where the operator said so; returns 1 when it went."""
        try:
            gas = call.estimate_gas({"from": self.key.address})
        except ContractLogicError as refusal:
            self.say(f"{what}: refused, {refusal.message}")
            return 0
        if not self.execute:
            self.say(f"{what}: would be sent, {gas:,} gas")
            return 1
        fields: TxParams = {
            "from": self.key.address,
            "nonce": self.web3.eth.get_transaction_count(self.key.address),
            "gas": gas * 13 // 10,  # a block later the same call may cost more
        }
        signed = self.key.sign_transaction(call.build_transaction(fields))
        receipt = self.web3.eth.wait_for_transaction_receipt(self.web3.eth.send_raw_transaction(signed.raw_transaction))
        self.say(f"{what}: {'done' if receipt['status'] == 1 else 'reverted'}, {receipt['gasUsed']:,} gas")
        return receipt["status"]


def read_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="A minimal liquidator; without --execute it sends nothing.")
    parser.add_argument("--rpc", default=os.environ.get("ETH_RPC_URL", "http://127.0.0.1:8545"), help="node, http(s)")
    parser.add_argument("--manifest", type=Path, required=True, help="deployments/<chain id>/<network>.json")
    parser.add_argument("--abi", type=Path, default=Path(__file__).resolve().parents[1] / "abi", help="folder of ABIs")
    parser.add_argument("--account", type=int, required=True, help="your margin account, which takes over and pays")
    parser.add_argument("--min-profit", type=float, default=25.0, help="USD a bid must earn before gas (default 25)")
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between two looks (default 2)")
    parser.add_argument("--once", action="store_true", help="look once and end")
    parser.add_argument("--execute", action="store_true", help="send; else only simulate")
    return parser.parse_args()


def make_bot(options: argparse.Namespace) -> Bot:
    """Connect, and check chain and account before anything else."""
    key = os.environ.get("PRIVATE_KEY")
    if not key:
        sys.exit("error: set PRIVATE_KEY to the key that owns the account")
    web3 = Web3(Web3.HTTPProvider(options.rpc))
    manifest = json.loads(options.manifest.read_text(encoding="utf-8"))
    if web3.eth.chain_id != manifest["chain_id"]:
        sys.exit(f"error: the node is on chain {web3.eth.chain_id}, the manifest is of {manifest['chain_id']}")
    accounts, lens, auction = (
        web3.eth.contract(
            manifest["contracts"][name]["address"], abi=json.loads((options.abi / f"{name}.json").read_text())
        )
        for name in NAMES
    )
    signer = web3.eth.account.from_key(key)
    owner = accounts.functions.owner_of(options.account).call()
    if owner != signer.address:
        sys.exit(f"error: account {options.account} belongs to {owner}, your key is {signer.address}")
    return Bot(web3, accounts, lens, auction, signer, options.account, int(options.min_profit * WAD), options.execute)


def main() -> None:
    """Watch until stopped."""
    options = read_arguments()
    bot = make_bot(options)
    bot.say(f"watching as {bot.key.address} for account {bot.mine}; {'sending' if bot.execute else 'nothing is sent'}")
    while True:
        bot.turn()
        if options.once:
            return
        time.sleep(options.interval)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
