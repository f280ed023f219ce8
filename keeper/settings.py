# SPDX-License-Identifier: Apache-2.0
"""One schema for every setting: command line > environment > TOML file > defaults.

The environment uses the names operators know (``RPC_URL_<chainId>``, ``ETH_RPC_URL``, ``TX_RPC_URL``,
``DATABASE_URL``, ``PRIVATE_KEY``, ``PRIVATE_KEY_FILE``, ``ETH_KEYSTORE``, ``ETH_KEYSTORE_ACCOUNT``, ``ETH_PASSWORD``,
``LOG_LEVEL``, ``LOG_FORMAT``, ``SLACK_WEBHOOK_URL`` ...) and, for all else, ``BALLAST_`` with ``__`` between levels:
``BALLAST_FEES__MAX_FEE_GWEI``. With ``_FILE`` behind its name a variable names a file that holds the value.
"""

from __future__ import annotations

import difflib
import os
import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from keeper.errors import ConfigError
from keeper.settings_sections import (
    Alerting,
    Budget,
    Cosign,
    Fees,
    Index,
    Jobs,
    Liquidator,
    MarginCalls,
    Network,
    PageSection,
    Publisher,
    RpcPool,
    Sanity,
    Urls,
)

PREFIX = "BALLAST_"
DEVELOPMENT_CHAINS = frozenset({1337, 31337})
DEFAULT_STALE_S = 180.0
NOT_SETTINGS = frozenset({"BALLAST_CONFIG", "BALLAST_DEBUG", "BALLAST_SHARED"})
CONVENTIONS = {
    "ETH_RPC_URL": "eth_rpc_url",
    "TX_RPC_URL": "tx_rpc_url",
    "DATABASE_URL": "database_url",
    "PRIVATE_KEY": "private_key",
    "PRIVATE_KEY_FILE": "private_key_file",
    "ETH_KEYSTORE": "eth_keystore",
    "ETH_KEYSTORE_ACCOUNT": "eth_keystore_account",
    "ETH_PASSWORD": "eth_password",
    "LOG_LEVEL": "log_level",
    "LOG_FORMAT": "log_format",
    "METRICS_HOST": "metrics_host",
    "METRICS_PORT": "metrics_port",
    "SLACK_WEBHOOK_URL": "alerts.slack_webhook_url",
    "DISCORD_WEBHOOK_URL": "alerts.discord_webhook_url",
    "TELEGRAM_BOT_TOKEN": "alerts.telegram_bot_token",
    "TELEGRAM_CHAT_ID": "alerts.telegram_chat_id",
}


class Settings(BaseSettings):
    """Every setting of the keeper."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=False)

    config_file: Path | None = None
    network: str = "local"
    networks: dict[str, Network] = Field(default_factory=dict)
    chain_id: int | None = Field(default=None, gt=0)
    rpc_url: Urls = ()
    rpc_urls: dict[int, Urls] = Field(default_factory=dict)
    eth_rpc_url: Urls = ()
    tx_rpc_url: Urls = ()
    rpc_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    multicall_batch: int = Field(default=64, ge=1)
    multicall: str | None = None
    manifest: Path | None = None
    abi_dir: Path | None = None
    database_url: SecretStr = SecretStr("sqlite:///ballast-keeper.sqlite")
    private_key: SecretStr | None = None
    private_key_file: Path | None = None
    eth_keystore: Path | None = None
    eth_keystore_account: str | None = None
    eth_password: Path | None = None
    execute: bool = False
    cycle_interval_s: Annotated[float, Field(gt=0)] = 12.0
    lease_s: int = Field(default=6, ge=3, le=600)
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(default=9464, ge=0, le=65_535)
    confirmations: int | None = Field(default=None, ge=0)
    prices_dir: Path | None = None
    observed_prices: Path | None = None
    fees: Fees = Field(default_factory=Fees)
    budget: Budget = Field(default_factory=Budget)
    liquidator: Liquidator = Field(default_factory=Liquidator)
    publisher: Publisher = Field(default_factory=Publisher)
    cosign: Cosign = Field(default_factory=Cosign)
    index: Index = Field(default_factory=Index)
    sanity: Sanity = Field(default_factory=Sanity)
    alerts: Alerting = Field(default_factory=Alerting)
    margin_calls: MarginCalls = Field(default_factory=MarginCalls)
    rpc: RpcPool = Field(default_factory=RpcPool)
    jobs: Jobs = Field(default_factory=Jobs)
    page: PageSection = Field(default_factory=PageSection)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["plain", "json"] = "plain"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: command line, environment, TOML."""
        given = init_settings().get("config_file")
        toml = TomlConfigSettingsSource(settings_cls, toml_file=given)
        return init_settings, _Environment(settings_cls), toml

    @property
    def expected_chain_id(self) -> int:
        """Chain id of the chosen network; the endpoint must answer the same.

        Raises
        ------
        ConfigError
            Neither ``chain_id`` nor ``[networks.<network>]`` says it.
        """
        if self.chain_id is not None:
            return self.chain_id
        if self.network in self.networks:
            return self.networks[self.network].chain_id
        listed = ", ".join(sorted(self.networks)) or "none"
        here = ", ".join(sorted(path.stem for path in Path("deployments").glob("*/*.json"))) or "none"
        raise ConfigError(
            f"network '{self.network}' has no chain id and this folder no deployments/<chain id>/{self.network}.json: "
            "deploy first, or change to the folder of the deployment; else set BALLAST_CHAIN_ID or add "
            f"[networks.{self.network}] with chain_id to the TOML file (networks in it: {listed}; deployments in this "
            f"folder: {here})"
        )

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where to read: ``rpc_url``, else ``RPC_URL_<chainId>``, ``ETH_RPC_URL``, the network's ``rpc_urls``.

        Raises
        ------
        ConfigError
            There is none.
        """
        chain_id = self.expected_chain_id
        of_network = self.networks[self.network].rpc_urls if self.network in self.networks else ()
        for urls in (self.rpc_url, self.rpc_urls.get(chain_id, ()), self.eth_rpc_url, of_network):
            if urls:
                return tuple(url.get_secret_value() for url in urls)
        raise ConfigError(f"network '{self.network}' (chain {chain_id}) has no RPC endpoint; set RPC_URL_{chain_id}")

    @property
    def send_endpoints(self) -> tuple[str, ...]:
        """Endpoints for transactions only (private relays), each gets all; none: those of ``endpoints`` take them."""
        network = self.networks.get(self.network)
        urls = self.tx_rpc_url or (network.tx_rpc_url if network else ())
        return tuple(url.get_secret_value() for url in urls)

    @property
    def stale_after_s(self) -> float | None:
        """Greatest age of a head, seconds; None where it is not judged, as on the chains of development nodes."""
        network = self.networks.get(self.network)
        for said in (self.rpc.stale_s, network.stale_s if network else None):
            if said is not None:
                return said
        return None if self.expected_chain_id in DEVELOPMENT_CHAINS else DEFAULT_STALE_S

    @property
    def manifest_path(self) -> Path:
        """Deployment manifest: as set, else ``deployments/<chain id>/<network>.json``."""
        network = self.networks.get(self.network)
        chosen = self.manifest or (network.manifest if network else None)
        return chosen or Path("deployments", str(self.expected_chain_id), f"{self.network}.json")

    @property
    def observed_file(self) -> Path:
        """Where prices seen on chain are kept: as set, else beside the SQLite file, else in the working folder."""
        if self.observed_prices is not None:
            return self.observed_prices
        url = self.database_url.get_secret_value().partition("?")[0]
        file = url.partition(":///")[2] if url.startswith("sqlite") else ""
        base = Path(file) if file not in {"", ":memory:"} else Path("ballast-keeper")
        return base.with_name(f"{base.stem}-{self.expected_chain_id}-observed.csv")

    @property
    def final_after(self) -> int:
        """Blocks on top of a transaction's before it counts as final."""
        if self.confirmations is not None:
            return self.confirmations
        network = self.networks.get(self.network)
        return network.confirmations if network and network.confirmations is not None else 2


class _Environment(PydanticBaseSettingsSource):
    """The environment, with names that nobody knows refused."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Unused: ``__call__`` reads all names at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for given, content in os.environ.items():
            name, value = _from_file(given, content)
            if name in CONVENTIONS and value:
                _put(found, CONVENTIONS[name].split("."), value, name)
            elif match := re.fullmatch(r"RPC_URL_(\d+)", name):
                found.setdefault("rpc_urls", {})[int(match[1])] = value
            elif name.startswith(PREFIX) and name not in NOT_SETTINGS:
                _put(found, name.removeprefix(PREFIX).lower().split("__"), value, name)
        return found


def _from_file(name: str, value: str) -> tuple[str, str]:
    """Resolve ``X_FILE`` to (``X``, what the file holds) where ``X`` is a setting and ``X_FILE`` is none."""
    base = name.removesuffix("_FILE")
    if base == name or not value or _is_setting(name) or not _is_setting(base):
        return name, value
    try:
        return base, Path(value).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{name} '{value}' cannot be read ({type(error).__name__}); check path and permissions"
        ) from error


def _is_setting(name: str) -> bool:
    if name in CONVENTIONS or re.fullmatch(r"RPC_URL_\d+", name):
        return True
    return name.startswith(PREFIX) and name.removeprefix(PREFIX).lower().replace("__", ".") in _names()


def _put(tree: dict[str, Any], path: list[str], value: str, name: str) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"environment variable {name} goes below a setting that has no parts; unset it")
    tree[path[-1]] = value


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings.

    Parameters
    ----------
    config
        TOML file; None takes ``BALLAST_CONFIG``, else ``ballast.toml`` of the working folder where there is one.
    **overrides
        What the command line says; None means not said.

    Raises
    ------
    ConfigError
        The file cannot be read, a name is unknown, or a value cannot be used.

    Examples
    --------
    >>> load_settings(network="local", chain_id=31337, log_level="DEBUG").expected_chain_id
    31337
    """
    chosen = config or _default_config()
    if chosen is not None:
        if not chosen.is_file():
            raise ConfigError(f"configuration file '{chosen}' does not exist; pass --config with the right path")
        overrides["config_file"] = chosen
    said = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Settings(**said)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None
    except ValueError as error:  # tomllib's error names line and column
        raise ConfigError(f"configuration file '{chosen}' is not TOML: {error}; correct that line") from error
    except OSError as error:
        raise ConfigError(f"configuration file '{chosen}' cannot be read ({error}); check its permissions") from error


def _default_config() -> Path | None:
    named = os.environ.get("BALLAST_CONFIG")
    if named:
        return Path(named)
    here = Path("ballast.toml")
    return here if here.is_file() else None


def _sentence(error: ValidationError) -> str:
    """Turn the first error of pydantic into one sentence, without the value of a secret."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(where, _names(), n=1)
        hint = f"did you mean '{close[0]}'?" if close else "remove it"
        return f"unknown setting '{where}'; {hint}"
    cause = first["msg"].removeprefix("Value error, ")
    cause = cause[0].lower() + cause[1:]
    secret = re.search(r"key|url|password|sources", where) is not None or isinstance(first["input"], dict | BaseModel)
    value = "" if secret else f" is {first['input']!r}"
    return f"setting '{where}'{value}: {cause}; correct it in the TOML file, the environment or on the command line"


def _names(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    names = []
    for name, field in model.model_fields.items():
        names.append(prefix + name)
        section = field.annotation
        if get_origin(section) in (Union, types.UnionType):
            section = get_args(section)[0]
        if isinstance(section, type) and issubclass(section, BaseModel):
            names += _names(section, f"{prefix}{name}.")
    return names
