# SPDX-License-Identifier: Apache-2.0
"""Addresses of account owners: by account or by owner, from the settings or a TOML file of their own."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keeper.errors import ConfigError
from keeper.logging import hide, secret_texts
from keeper.observe.delivery import check_address
from keeper.settings_sections import MarginCalls, Urls

OWNER = re.compile(r"0x[0-9a-fA-F]{40}")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    accounts: dict[int, Urls] = Field(default_factory=dict)
    owners: dict[str, Urls] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AddressBook:
    """URLs by account and by lower-case owner address."""

    accounts: Mapping[int, tuple[str, ...]]
    owners: Mapping[str, tuple[str, ...]]

    def __bool__(self) -> bool:
        """Whether there is anybody to warn."""
        return bool(self.accounts or self.owners)

    def of(self, account: int, owner: str) -> tuple[str, ...]:
        """Where messages about an account go: its own addresses, else its owner's."""
        return self.accounts.get(account) or self.owners.get(owner.lower(), ())

    def find(self, address: str) -> str | None:
        """URL of an `address_id`, None where it is no longer configured."""
        for urls in (*self.accounts.values(), *self.owners.values()):
            for url in urls:
                if address_id(url) == address:
                    return url
        return None


def address_id(url: str) -> str:
    """Stands for an address where the address, a secret, must not be written."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def load_addresses(settings: MarginCalls) -> AddressBook:
    """Read the addresses of the settings and of ``margin_calls.file``; from here on no text shows them.

    Raises
    ------
    ConfigError
        The file cannot be read, a name in it is unknown, an owner is no address, or a URL cannot be used.
    """
    accounts, owners = dict(settings.accounts), dict(settings.owners)
    if settings.file is not None:
        given = _read(settings)
        accounts, owners = {**given.accounts, **accounts}, {**given.owners, **owners}
    for text in secret_texts((tuple(accounts.values()), tuple(owners.values()))):
        hide(text)
    for owner in owners:
        if not OWNER.fullmatch(owner):
            raise ConfigError(f"margin_calls.owners names '{owner}', which is no address; give 0x and 40 digits")
    book = AddressBook(
        {account: _plain(urls) for account, urls in accounts.items()},
        {owner.lower(): _plain(urls) for owner, urls in owners.items()},
    )
    for account, found in book.accounts.items():
        for url in found:
            check_address(url, f"margin_calls.accounts.{account}")
    for owner, found in book.owners.items():
        for url in found:
            check_address(url, f"margin_calls.owners.{owner}")
    return book


def _plain(urls: Urls) -> tuple[str, ...]:
    return tuple(url.get_secret_value() for url in urls)


def _read(settings: MarginCalls) -> _File:
    path = settings.file
    assert path is not None  # noqa: S101  (for the type checker: the caller has looked)
    try:
        return _File.model_validate(tomllib.loads(path.expanduser().read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"margin_calls.file '{path}' cannot be read ({type(error).__name__}); check path and permissions"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"margin_calls.file '{path}' is not TOML: {error}; correct that line") from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ConfigError(
            f"margin_calls.file '{path}' cannot be used at '{where}'; it has two tables, [accounts] and [owners], "
            "of lists of URLs"
        ) from None
