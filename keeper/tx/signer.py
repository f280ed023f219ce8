# SPDX-License-Identifier: Apache-2.0
"""Keys held in this process: a keystore, a key file or the environment."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import structlog
from eth_account import Account
from eth_account.signers.local import LocalAccount

from keeper.errors import ConfigError
from keeper.logging import hide
from keeper.settings import Settings

log = structlog.get_logger("signer")
FOUNDRY_KEYSTORES = Path("~/.foundry/keystores")


class LocalSigner:
    """Signs with a key in memory; implements :class:`keeper.ports.Signer`."""

    def __init__(self, account: LocalAccount) -> None:
        self._account = account

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"

    @classmethod
    def from_key(cls, key: str | bytes, source: str) -> LocalSigner:
        """Build from 32 bytes or their hex text; ``source`` goes into the error, the key never does.

        Raises
        ------
        ConfigError
            It is no private key.
        """
        try:
            return cls(Account.from_key(key))
        except Exception:  # noqa: BLE001  (the library's message may hold the key)
            raise ConfigError(f"{source} does not hold a private key; it must be 64 hexadecimal digits") from None

    @property
    def address(self) -> str:
        """Checksummed address."""
        return str(self._account.address)

    def sign(self, transaction: dict[str, Any]) -> tuple[bytes, bytes]:
        """Return (raw signed transaction, its hash)."""
        signed = self._account.sign_transaction(transaction)
        return bytes(signed.raw_transaction), bytes(signed.hash)

    def sign_typed(self, domain: dict[str, Any], types: dict[str, Any], message: dict[str, Any]) -> bytes:
        """Signature (65 bytes) of an EIP-712 message."""
        return bytes(self._account.sign_typed_data(domain, types, message).signature)


def load_signer(settings: Settings) -> LocalSigner:
    """Find the key: in ``PRIVATE_KEY_FILE``, a keystore or ``PRIVATE_KEY``.

    Raises
    ------
    ConfigError
        There is none or more than one, or it cannot be read.
    """
    sources = {
        "PRIVATE_KEY_FILE": settings.private_key_file,
        "ETH_KEYSTORE": settings.eth_keystore,
        "ETH_KEYSTORE_ACCOUNT": settings.eth_keystore_account,
        "PRIVATE_KEY": settings.private_key,
    }
    given = [name for name, value in sources.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} are set together and may hold different keys; unset all but one")
    if settings.private_key_file is not None:
        text = _read(settings.private_key_file, "PRIVATE_KEY_FILE")
        hide(text.strip().removeprefix("0x"))
        return LocalSigner.from_key(text.strip(), f"PRIVATE_KEY_FILE '{settings.private_key_file}'")
    keystore = settings.eth_keystore
    if keystore is None and settings.eth_keystore_account is not None:
        keystore = FOUNDRY_KEYSTORES.expanduser() / settings.eth_keystore_account
    if keystore is not None:
        return _from_keystore(keystore, settings.eth_password)
    if settings.private_key is not None:
        return LocalSigner.from_key(settings.private_key.get_secret_value(), "PRIVATE_KEY")
    raise ConfigError("there is no key to sign with; set PRIVATE_KEY_FILE, or ETH_KEYSTORE and ETH_PASSWORD")


def _from_keystore(path: Path, password_file: Path | None) -> LocalSigner:
    if password_file is None:
        raise ConfigError(f"keystore '{path}' needs its password; set ETH_PASSWORD to a file that holds it")
    password = _read(password_file, "ETH_PASSWORD").rstrip("\r\n")
    hide(password)
    text = _read(path, "ETH_KEYSTORE")
    try:
        key = bytes(Account.decrypt(json.loads(text), password))
    except (ValueError, KeyError, TypeError, NotImplementedError):
        raise ConfigError(
            f"keystore '{path}' cannot be opened; check that it is a V3 keystore and the password"
        ) from None
    hide(key.hex())
    return LocalSigner.from_key(key, f"keystore '{path}'")


def _read(path: Path, setting: str) -> str:
    file = path.expanduser()
    try:
        if file.stat().st_mode & stat.S_IROTH:
            log.warning(f"{setting} '{path}' can be read by every user of this machine; chmod 600 it")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{setting} '{path}' cannot be read ({type(error).__name__}); check path and permissions"
        ) from error
