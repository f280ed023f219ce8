# SPDX-License-Identifier: Apache-2.0
"""The parts of the settings: one class for each table of the TOML file."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

WEI_PER_GWEI = 10**9
WEI_PER_ETHER = 10**18


def _comma_list(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Urls = Annotated[tuple[SecretStr, ...], BeforeValidator(_comma_list)]
Positive = Annotated[Decimal, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Network(_Section):
    """One ``[networks.<name>]`` of the TOML file."""

    chain_id: int = Field(gt=0)
    rpc_urls: Urls = ()
    tx_rpc_url: Urls = ()
    manifest: Path | None = None
    confirmations: int | None = Field(default=None, ge=0)
    stale_s: Annotated[float, Field(gt=0)] | None = None


class RpcEndpoint(_Section):
    """One ``[rpc.endpoints."host:port"]`` of the TOML file: limits of that endpoint alone."""

    weight: int = Field(default=1, ge=1)
    requests_per_s: Annotated[float, Field(gt=0)] | None = None
    burst: int = Field(default=10, ge=1)
    max_log_range: int | None = Field(default=None, ge=1)


class RpcPool(_Section):
    """When an endpoint is believed, and how hard it is asked.

    ``stale_s`` is the greatest age of a head; unset, the network's, else three minutes, and no limit on the chains of
    development nodes. ``spread`` shares the cycles out by weight in place of always reading from the first.
    """

    stale_s: Annotated[float, Field(gt=0)] | None = None
    max_lag_blocks: int = Field(default=8, ge=0)
    probe_s: Annotated[float, Field(gt=0)] = 30.0
    still_s: Annotated[float, Field(ge=0)] = 20.0
    chain_check_s: Annotated[float, Field(gt=0)] = 300.0
    pause_s: Annotated[float, Field(gt=0)] = 1.0
    max_pause_s: Annotated[float, Field(gt=0)] = 30.0
    max_wait_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    spread: bool = False
    requests_per_s: Annotated[float, Field(gt=0)] | None = None
    burst: int = Field(default=10, ge=1)
    max_log_range: int | None = Field(default=None, ge=1)
    endpoints: dict[str, RpcEndpoint] = Field(default_factory=dict)


class Fees(_Section):
    """Caps and bumps of transaction fees."""

    max_fee_gwei: Positive = Decimal(200)
    max_priority_fee_gwei: Positive = Decimal(5)
    base_fee_multiplier: Annotated[Decimal, Field(ge=1, le=10)] = Decimal(2)
    bump_percent: Annotated[Decimal, Field(ge=Decimal("12.5"), le=100)] = Decimal(20)
    bump_after_s: int = Field(default=45, gt=0)
    gas_margin_percent: int = Field(default=20, ge=0, le=200)

    @property
    def max_fee_wei(self) -> int:
        """Most a unit of gas may cost, wei."""
        return int(self.max_fee_gwei * WEI_PER_GWEI)

    @property
    def max_priority_fee_wei(self) -> int:
        """Largest tip a unit of gas, wei."""
        return int(self.max_priority_fee_gwei * WEI_PER_GWEI)


class Budget(_Section):
    """What the keeper may spend on gas before it stops."""

    per_transaction_ether: Positive = Decimal("0.2")
    per_day_ether: Positive = Decimal(1)
    failures_in_a_row: int = Field(default=5, ge=1)
    attempts: int = Field(default=3, ge=1)

    @property
    def per_transaction_wei(self) -> int:
        """Most one transaction may cost, wei."""
        return int(self.per_transaction_ether * WEI_PER_ETHER)

    @property
    def per_day_wei(self) -> int:
        """Most all transactions of 24 hours may cost, wei."""
        return int(self.per_day_ether * WEI_PER_ETHER)


class Liquidator(_Section):
    """What to do about accounts below maintenance margin."""

    policy: Literal["none", "start-only", "bid"] = "none"
    bidder_account: int | None = Field(default=None, ge=1)
    min_profit_usd: Decimal = Field(default=Decimal(25), ge=0)
    warehouse_bps: int = Field(default=100, ge=0, le=10_000)
    max_fraction: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)
    min_im_health_usd: Decimal = Field(default=Decimal(0), ge=0)
    max_im_usd: Decimal | None = Field(default=None, gt=0)
    max_gross_usd: Decimal | None = Field(default=None, gt=0)
    bids_per_cycle: int = Field(default=8, ge=1)
    any_nonce_after: int = Field(default=2, ge=1)
    hedge_url: SecretStr | None = None
    native_symbol: str = "ETH"
    native_usd: Decimal | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _bidder_needed(self) -> Liquidator:
        if self.policy == "bid" and self.bidder_account is None:
            raise ValueError("policy 'bid' needs bidder_account, the margin account that takes positions over")
        return self


class Publisher(_Section):
    """When to publish risk tables and to push parameters."""

    enabled: bool = False
    push_parameters: bool = False
    drift_bps: int = Field(default=300, gt=0)
    drift_steps: Annotated[Decimal, Field(gt=0, le=6)] = Decimal(2)
    vol_bps: int = Field(default=500, gt=0)
    heartbeat_s: int = Field(default=6 * 3600, gt=0)
    ramp_s: int = Field(default=3_600, gt=0)
    validity_s: int = Field(default=24 * 3600, gt=0)
    calibrate_s: int = Field(default=3_600, ge=60)
    parameter_heartbeat_s: int = Field(default=24 * 3600, gt=0)
    parameter_deadband_bps: int = Field(default=100, ge=0)
    max_newly_liquidatable: int = Field(default=0, ge=0)
    max_newly_liquidatable_usd: Decimal = Field(default=Decimal(0), ge=0)
    require_approval: bool = False
    approval_s: int = Field(default=3_600, gt=0)
    max_page_newly_liquidatable: int = Field(default=4, ge=0)
    max_page_newly_liquidatable_bps: int = Field(default=500, gt=0, le=10_000)
    shadow: bool = False
    watch: bool = True
    challenge: bool = True


class CosignPeer(_Section):
    """Another publisher's service: where it is and which address must have signed what it answers."""

    url: SecretStr
    signer: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]


class Cosign(_Section):
    """Signatures of other publishers for one's own tables, and one's own for theirs.

    ``peers`` are asked, and are the only ones whose requests are answered; ``enabled`` answers them. The tolerances say
    how far two honest calibrations may lie apart; the watch over published pages uses them too.
    """

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = Field(default=9465, ge=0, le=65_535)
    peers: tuple[CosignPeer, ...] = ()
    timeout_s: float = Field(default=10.0, gt=0, le=120)
    turn_s: int = Field(default=30, ge=0)
    requests_per_minute: int = Field(default=60, ge=1)
    max_body_bytes: int = Field(default=512_000, ge=10_000)
    vol_tolerance_bps: int = Field(default=500, ge=0)
    ratio_tolerance_bps: int = Field(default=50, ge=0)
    value_tolerance_bps: int = Field(default=200, ge=0)
    price_tolerance_bps: int = Field(default=100, ge=0)
    joint_tolerance_steps: int = Field(default=8, ge=0, le=127)


class Alerting(_Section):
    """Where alerts to the operator go: apprise URLs, and the webhooks everybody knows by their environment names."""

    urls: Urls = ()
    slack_webhook_url: SecretStr | None = None
    discord_webhook_url: SecretStr | None = None
    telegram_bot_token: SecretStr | None = None
    telegram_chat_id: str | None = None
    min_severity: Literal["info", "warning", "critical"] = "warning"
    repeat_s: int = Field(default=3_600, ge=60)
    per_minute: int = Field(default=20, ge=1)
    min_balance_ether: Positive = Decimal("0.05")

    @model_validator(mode="after")
    def _chat_needed(self) -> Alerting:
        if (self.telegram_bot_token is None) != (self.telegram_chat_id is None):
            raise ValueError("TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID are needed together; set both or neither")
        return self

    @property
    def destinations(self) -> tuple[str, ...]:
        """Every URL, as apprise takes them."""
        found = [url.get_secret_value() for url in self.urls]
        found += [url.get_secret_value() for url in (self.slack_webhook_url, self.discord_webhook_url) if url]
        if self.telegram_bot_token is not None:
            found.append(f"tgram://{self.telegram_bot_token.get_secret_value()}/{self.telegram_chat_id}")
        return tuple(found)


class MarginCalls(_Section):
    """Whom to warn about a margin account, and when.

    ``accounts`` and ``owners`` give webhooks (``https://``) or apprise URLs; ``file`` is a TOML file with the same two
    tables. Levels are shares of maintenance margin that the health is below, in percent, greatest first.
    """

    accounts: dict[int, Urls] = Field(default_factory=dict)
    owners: dict[str, Urls] = Field(default_factory=dict)
    file: Path | None = None
    secret: SecretStr | None = None
    levels_percent: tuple[Positive, ...] = (Decimal(30), Decimal(15), Decimal(5))
    hysteresis_percent: Positive = Decimal(5)
    look_ahead_s: int = Field(default=86_400, ge=0)
    per_minute: int = Field(default=12, ge=1)
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    give_up_s: int = Field(default=86_400, ge=60)

    @model_validator(mode="after")
    def _falling(self) -> MarginCalls:
        if list(self.levels_percent) != sorted(set(self.levels_percent), reverse=True):
            raise ValueError("levels_percent must fall, for example [30, 15, 5]")
        return self


class Index(_Section):
    """How events are read."""

    start_block: int | None = Field(default=None, ge=0)
    block_range: int = Field(default=2_000, ge=1)
    resync_s: int = Field(default=3_600, gt=0)
    head_poll_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    read_workers: int = Field(default=4, ge=1, le=32)


class PriceSource(_Section):
    """An HTTP address outside the chain that answers with a price in USD; ``{symbol}`` in ``url`` is replaced."""

    url: SecretStr
    path: str = "price"
    symbols: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _usable(self) -> PriceSource:
        url = self.url.get_secret_value()
        if not url.startswith(("http://", "https://")) or "{symbol}" not in url:
            raise ValueError("the url of a price source must be http(s) and have {symbol} in it")
        return self


class Sanity(_Section):
    """Comparison of oracle prices with sources outside the chain; nothing is sent while they disagree."""

    sources: tuple[PriceSource, ...] = ()
    max_deviation_bps: int = Field(default=500, gt=0)
    max_age_s: int = Field(default=60, gt=0)
    refresh_s: Annotated[float, Field(gt=0)] = 5.0
    required: bool = False
    agree: int = Field(default=3, ge=1)


class Jobs(_Section):
    """What is done beside the block loop, and how often; see also ``publisher.calibrate_s`` and ``index.resync_s``."""

    reconcile_s: int = Field(default=60, ge=1)
    stall_s: int = Field(default=120, ge=10)
    backup_s: int = Field(default=6 * 3_600, ge=60)
    backup_dir: Path | None = None
    backup_keep: int = Field(default=14, ge=1)
    prune_s: int = Field(default=24 * 3_600, ge=60)
    keep_runs_days: int = Field(default=30, ge=1)


class PageSection(_Section):
    """The live page; ``allowed_hosts`` are names beside those of this machine under which it may be asked for."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = Field(default=9465, ge=0, le=65_535)
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(_comma_list)] = ()
