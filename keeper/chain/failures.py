# SPDX-License-Identifier: Apache-2.0
"""From what a node or a transport says to an error the keeper can act on.

Nodes agree on little: Infura documents -32005 for too many results and sends -32602. So codes decide only where they
are standard, and words decide the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from web3.exceptions import ContractLogicError, TimeExhausted, Web3Exception, Web3RPCError

from keeper.errors import (
    Behind,
    KeeperError,
    NoFunds,
    NonceTooLow,
    NotOffered,
    Permanent,
    RangeTooLarge,
    RateLimited,
    Refused,
    Reverted,
    Transient,
    Underpriced,
    Unreachable,
)
from keeper.text import plain

ERROR_STRING = bytes.fromhex("08c379a0")
PANIC = bytes.fromhex("4e487b71")
METHOD_NOT_FOUND = -32601
NO_SUCH_RESOURCE = -32001  # EIP-1474; EIP-1898 asks for it where the block of a hash is unknown
LIMIT_EXCEEDED = (-32005, -32097, 429)  # EIP-1474; Linea and others; the HTTP status in the body
INVALID_PARAMS = (-32600, -32602)

RANGE_WORDS = re.compile(
    r"block range|range (is )?too (large|wide)|exceed(s|ed)? (the )?(max(imum)? )?(block )?range|range limit"
    r"|more than \d+ (results|logs)|too many (results|logs)|query returned more|response size|limited to (a )?\d+"
    r"|max(imum)? results|logs matched|too many blocks|block range limit",
    re.IGNORECASE,
)
RATE_WORDS = re.compile(
    r"rate.?limit|too many requests|request count exceeded|request limit reached|requests per second|compute units"
    r"|throughput|quota|throttl|capacity",
    re.IGNORECASE,
)
LAG_WORDS = re.compile(
    r"header not found|unknown block|block not found|missing trie node|not yet available|pruned|no block with"
    r"|BlockOutOfRange|not (currently )?canonical|beyond (the )?current head|resource not found"
    r"|state (is )?not available|header for hash not found|unknown (header|ancestor)",
    re.IGNORECASE,
)
NONCE_WORDS = re.compile(r"nonce (is )?too low|nonce too small|old nonce|invalid nonce|NonceTooLow", re.IGNORECASE)
PRICE_WORDS = re.compile(r"underpriced|fee too low|max fee per gas less than|GasPriceLessThanBasefee", re.IGNORECASE)
FUNDS_WORDS = re.compile(r"insufficient (funds|balance)|sender doesn't have enough|LackOfFundForMaxFee", re.IGNORECASE)
GAS_WORDS = re.compile(
    r"intrinsic gas too (low|high)|exceeds block gas limit|gas limit too high|insufficient gas for floor"
    r"|CallGasCostMoreThanGasLimit|CallerGasLimitMoreThanBlock|gas limit (is )?(too low|reached)",
    re.IGNORECASE,
)
PAUSE_WORDS = re.compile(r"(?:retry|try again|wait)\D{0,12}(\d+(?:\.\d+)?) ?(ms|s\b|sec)", re.IGNORECASE)
KNOWN_WORDS = re.compile(r"already known|known transaction|already imported|ALREADY_EXISTS", re.IGNORECASE)
REVERT_WORDS = re.compile(r"revert", re.IGNORECASE)
# What reading an answer raises that is valid JSON and no answer to the question: the next endpoint may have one.
UNREADABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)


class AlreadyKnown(Transient):
    """The node has this very transaction: not a failure for who sends."""


def revert_reason(data: bytes) -> str:
    """Text of a revert's return data: the string, the panic code, raw hex, or empty."""
    try:
        if data[:4] == ERROR_STRING:
            return str(decode(["string"], data[4:])[0])
        if data[:4] == PANIC:
            return f"panic 0x{decode(['uint256'], data[4:])[0]:02x}"
    except (DecodingError, UnicodeDecodeError):
        pass
    return f"0x{data.hex()}" if data else ""


def reverted(what: str, reason: str) -> Reverted:
    """Build the error of a refused call."""
    reason = plain(reason)
    said = f"'{reason}'" if reason else "no reason"
    return Reverted(f"{what} reverted with {said}; the contract refuses it in its present state", reason=reason)


def classify(error: Exception, what: str) -> KeeperError:
    """Return the keeper's error for anything web3, requests or an in-process chain raises.

    Parameters
    ----------
    error
        What was raised.
    what
        The subject of the message, for example ``eth_getLogs of blocks 5..9 at node.example``.
    """
    if isinstance(error, KeeperError):
        return error
    if isinstance(error, requests.RequestException):
        return _transport(error, what)
    if isinstance(error, ContractLogicError):
        return reverted(what, _reason(error.data, str(error.message or "")))
    if isinstance(error, Web3RPCError):
        return _rpc(error, what)
    if isinstance(error, json.JSONDecodeError):
        return Unreachable(f"{what} got an answer that is not JSON; it will be tried again, check the endpoint")
    if isinstance(error, TimeExhausted | TimeoutError | ConnectionError):
        return Unreachable(f"{what} timed out ({error}); it will be tried again")
    if type(error).__name__ == "TransactionFailed":  # of eth-tester, an optional package
        return reverted(what, _after_prefix(str(error)))
    by_words = _by_words(plain(str(error)), what)
    if by_words is not None:
        return by_words
    if isinstance(error, UnicodeDecodeError):
        return Unreachable(f"{what} got an answer that is no text; it will be tried again, check the endpoint")
    if isinstance(error, UNREADABLE):
        said = f"{type(error).__name__}: {_short(error)}"
        return Unreachable(f"{what} got an answer of the wrong kind ({said}); it will be tried again")
    if isinstance(error, Web3Exception):
        return Unreachable(f"{what} got an answer web3 cannot read ({_short(error)}); check the endpoint")
    return Permanent(f"{what} failed with {type(error).__name__}: {_short(error)}; check the request")


def _transport(error: requests.RequestException, what: str) -> KeeperError:
    response = error.response
    if response is None:
        return Unreachable(f"{what} did not get through ({type(error).__name__}); check the network and the endpoint")
    status = response.status_code
    if status == requests.codes.too_many_requests:
        return RateLimited(
            f"{what} was rate-limited (HTTP 429); it will be tried again", retry_after_s=_seconds(response)
        )
    if status == requests.codes.request_entity_too_large:
        return RangeTooLarge(f"{what} asked for too much at once (HTTP 413); a smaller range will be tried")
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        return Refused(f"{what} was refused (HTTP {status}); check the key in the endpoint's URL")
    if status >= 500:
        return Unreachable(
            f"{what} failed at the node (HTTP {status}); it will be tried again", retry_after_s=_seconds(response)
        )
    by_words = _by_words(plain(response.text, 500), what)
    return by_words or Refused(f"{what} was refused (HTTP {status}); check the endpoint's URL")


def _seconds(response: requests.Response) -> float | None:
    """Seconds of a Retry-After header, which may be a number or a date."""
    said = response.headers.get("Retry-After", "").strip()
    with suppress(ValueError):
        return max(0.0, float(said))
    with suppress(ValueError, TypeError):
        at = parsedate_to_datetime(said)
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return None


def _rpc(error: Web3RPCError, what: str) -> KeeperError:
    body: Mapping[str, Any] = (error.rpc_response or {}).get("error") or {}
    code, message = body.get("code"), plain(str(body.get("message") or error))
    if code == 3 or message.lower().startswith("execution reverted"):  # its reason may hold any of the words below
        return reverted(what, _reason(body.get("data"), message))
    by_words = _by_words(message, what)
    if isinstance(by_words, RateLimited):
        by_words.retry_after_s = _pause_in_body(body, message)
    if by_words is not None:
        return by_words
    if REVERT_WORDS.search(message):
        return reverted(what, _reason(body.get("data"), message))
    if code == METHOD_NOT_FOUND:
        return NotOffered(f"{what} is not offered by the node ('{message}'); use another endpoint")
    if code == NO_SUCH_RESOURCE:
        return Behind(f"{what} needs a block the node does not have ('{message}'); it will be tried again")
    if code in LIMIT_EXCEEDED:
        pause = _pause_in_body(body, message)
        return RateLimited(f"{what} was rate-limited ('{message}'); it will be tried again", retry_after_s=pause)
    if code in INVALID_PARAMS:
        return Permanent(f"{what} was refused ('{message}'); check the request")
    return Transient(f"{what} failed at the node with code {code} ('{message}'); it will be tried again")


def _by_words(message: str, what: str) -> KeeperError | None:
    if KNOWN_WORDS.search(message):
        return AlreadyKnown(f"{what}: the node already has this transaction; nothing to do")
    if NONCE_WORDS.search(message):
        return NonceTooLow(f"{what}: the nonce is used up ('{message}'); the journal must be reconciled")
    if PRICE_WORDS.search(message):
        return Underpriced(f"{what}: the fees are too low ('{message}'); they must be raised")
    if FUNDS_WORDS.search(message):
        return NoFunds(f"{what}: the signer cannot pay ('{message}'); send it ether")
    if GAS_WORDS.search(message):
        return Permanent(f"{what}: no block can take so much or so little gas ('{message}'); estimate it anew")
    if RATE_WORDS.search(message):
        return RateLimited(f"{what} was rate-limited ('{message}'); it will be tried again")
    if RANGE_WORDS.search(message):
        return RangeTooLarge(f"{what} asked for too much at once ('{message}'); a smaller range will be tried")
    if LAG_WORDS.search(message):
        return Behind(f"{what} needs a block the node does not have ('{message}'); it will be tried again")
    return None


def _pause_in_body(body: Mapping[str, Any], message: str) -> float | None:
    """Seconds a provider asks for inside the JSON-RPC error: Infura in its data, others in words."""
    data = body.get("data")
    rate = data.get("rate") if isinstance(data, Mapping) else None
    if isinstance(rate, Mapping):
        with suppress(TypeError, ValueError):
            return max(0.0, float(rate["backoff_seconds"])) if "backoff_seconds" in rate else None
    found = PAUSE_WORDS.search(message)
    if found is None:
        return None
    return float(found[1]) / (1_000 if found[2].lower() == "ms" else 1)


def _reason(data: Any, message: str) -> str:
    """Reason from the revert data where the node gives them, else from its message."""
    if isinstance(data, str) and data.startswith("0x") and len(data) > 2:
        with suppress(ValueError):  # some nodes put words where the data belong
            return revert_reason(bytes.fromhex(data[2:]))
    return _after_prefix(message)


def _after_prefix(message: str) -> str:
    text = message.partition("execution reverted")[2].lstrip(": ") if "execution reverted" in message else message
    text = text.strip("'\"")
    if text.startswith(("b'", "0x")):
        try:
            return revert_reason(bytes.fromhex(text[2:]))
        except ValueError:
            return text
    return text


def _short(error: Exception) -> str:
    return plain(str(error), 200)
