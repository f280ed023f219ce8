# SPDX-License-Identifier: Apache-2.0
"""From settings to what the keeper may do, and whether its key has the roles for that."""

from __future__ import annotations

from decimal import Decimal

from keeper.decide import Policy
from keeper.domain import ContractCall
from keeper.errors import ConfigError
from keeper.liquidate.actions import NO_REWARD
from keeper.liquidate.sizing import BidPolicy
from keeper.ports import Chain
from keeper.publish.check import PageGuard
from keeper.publish.parameters import PushPolicy
from keeper.publish.triggers import PagePolicy
from keeper.settings import Settings

WAD = 10**18
RIGHT_MANAGE = 4  # of MarginAccounts: what bidding needs


def policy_of(settings: Settings) -> Policy:
    """What the settings allow."""
    liquidator, publisher = settings.liquidator, settings.publisher
    bids = None
    if liquidator.policy == "bid" and liquidator.bidder_account is not None:
        bids = BidPolicy(
            bidder_account=liquidator.bidder_account,
            min_profit_wad=int(liquidator.min_profit_usd * WAD),
            warehouse_bps=liquidator.warehouse_bps,
            max_fraction_wad=int(liquidator.max_fraction * WAD),
            min_im_health_wad=int(liquidator.min_im_health_usd * WAD),
            max_im_wad=_wad(liquidator.max_im_usd),
            max_gross_wad=_wad(liquidator.max_gross_usd),
            bids_per_cycle=liquidator.bids_per_cycle,
            any_nonce_after=liquidator.any_nonce_after,
        )
    pages = PagePolicy(
        drift_bps=publisher.drift_bps,
        vol_bps=publisher.vol_bps,
        heartbeat_s=publisher.heartbeat_s,
        validity_s=publisher.validity_s,
        drift_steps_bps=int(publisher.drift_steps * 10_000),
        ramp_s=publisher.ramp_s,
    )
    return Policy(
        liquidate=liquidator.policy != "none",
        bids=bids,
        reward_account=liquidator.bidder_account or NO_REWARD,
        pages=pages if publisher.enabled else None,
        push=push_policy(settings) if publisher.push_parameters else None,
        page_guard=PageGuard(publisher.max_page_newly_liquidatable_bps, publisher.max_page_newly_liquidatable),
        shadow=publisher.shadow,
    )


def _wad(usd: Decimal | None) -> int | None:
    return None if usd is None else int(usd * WAD)


def push_policy(settings: Settings) -> PushPolicy:
    """Guards of a parameter push."""
    publisher = settings.publisher
    return PushPolicy(
        deadband_bps=publisher.parameter_deadband_bps,
        heartbeat_s=publisher.parameter_heartbeat_s,
        max_newly_liquidatable=publisher.max_newly_liquidatable,
        max_newly_liquidatable_wad=int(publisher.max_newly_liquidatable_usd * WAD),
        require_approval=publisher.require_approval,
    )


def check_roles(chain: Chain, settings: Settings, address: str) -> None:
    """Make sure that the key may do what the settings ask of it.

    Raises
    ------
    ConfigError
        It lacks a role, or may not act for the bidder's account.
    """
    publisher, liquidator = settings.publisher, settings.liquidator
    sends = not publisher.shadow
    if sends and publisher.enabled and not chain.call(ContractCall("RiskTable", "is_publisher", (address,))):
        raise ConfigError(
            f"key {address} is no publisher of RiskTable; have governance call set_publisher, or use a publisher's key"
        )
    if sends and publisher.push_parameters and not chain.call(ContractCall("RiskParameters", "is_keeper", (address,))):
        raise ConfigError(
            f"key {address} has no keeper role on RiskParameters; have governance call set_keeper, or use its key"
        )
    if liquidator.policy == "bid":
        args = (liquidator.bidder_account, address, RIGHT_MANAGE)
        if not chain.call(ContractCall("MarginAccounts", "has_right", args)):
            raise ConfigError(
                f"key {address} may not bid for account {liquidator.bidder_account}; make it the owner or an operator "
                "with the right MANAGE, or correct liquidator.bidder_account"
            )
    elif liquidator.policy != "none" and liquidator.bidder_account is not None:
        owner = chain.call(ContractCall("MarginAccounts", "owner_of", (liquidator.bidder_account,)))
        if int(owner, 16) == 0:
            raise ConfigError(
                f"account {liquidator.bidder_account}, which is to get the rewards, does not exist; "
                "correct liquidator.bidder_account"
            )
