# SPDX-License-Identifier: Apache-2.0
"""What publishers say to each other over HTTP: a proposed table, who asks, and the answer.

A request is authenticated by an EIP-712 signature of the requester's publisher key over the table's digest, whether a
signature is wanted, a time and a nonce. It is of a domain of its own: no request can be turned into a publication.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from eth_account import Account
from eth_account.messages import encode_typed_data
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from keeper.actions import PageHeader, PublishJoint, PublishPage
from keeper.errors import Permanent
from keeper.publish.signing import TypedSigner

Table = PublishPage | PublishJoint
VERSION = 1
PATH = "/v1/sign"
DOMAIN_NAME, DOMAIN_VERSION = "Ballast cosigning", "1"
ASK = {
    "Ask": [
        {"name": "digest", "type": "bytes32"},
        {"name": "sign", "type": "bool"},
        {"name": "made_at", "type": "uint256"},
        {"name": "nonce", "type": "bytes32"},
    ]
}


def _hex(value: Any) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("must be hexadecimal text that begins with 0x")
    return bytes.fromhex(value[2:])


HexBytes = Annotated[bytes, BeforeValidator(_hex)]
Hash = Annotated[bytes, BeforeValidator(_hex), Field(min_length=32, max_length=32)]
Uint = Annotated[int, Field(ge=0, lt=2**256)]
Int = Annotated[int, Field(ge=-(2**255), lt=2**255)]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Header(_Body):
    epoch: Uint
    observed_at: Uint
    expires_at: Uint
    reference_price_wad: Uint
    lane_unit_wad: Uint
    step_e9: Uint
    atm_vol_bps: Uint
    vol_up_bps: Uint
    vol_down_bps: Uint
    vol_power_bps: Uint
    short_min_bps: Uint
    model_hash: Hash
    data_hash: Hash


class _Page(_Body):
    underlying: Annotated[int, Field(ge=0, lt=16)]
    header: _Header
    surfaces: Annotated[tuple[tuple[Uint, Uint, Uint, Int, Int, Int, Int, Int], ...], Field(max_length=16)]
    rows: Annotated[bytes, BeforeValidator(_hex), Field(max_length=24_480)]


class _Joint(_Body):
    epoch: Uint
    observed_at: Uint
    expires_at: Uint
    model_hash: Hash
    data_hash: Hash
    scenarios: Annotated[bytes, BeforeValidator(_hex), Field(min_length=32, max_length=2_048)]


class _Request(_Body):
    version: Literal[1]
    chain_id: Uint
    verifying_contract: Address
    sign: bool
    made_at: Uint
    nonce: Hash
    signer: Address
    signature: Annotated[bytes, BeforeValidator(_hex), Field(min_length=65, max_length=65)]
    page: _Page | None = None
    joint: _Joint | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A proposed table without signatures; ``sign`` False asks only whether it would be signed; ``made_at`` unix s."""

    chain_id: int
    verifying_contract: str
    table: Table
    sign: bool
    made_at: int
    nonce: bytes
    signer: str
    signature: bytes


def parse(data: bytes) -> Request:
    """Read a request.

    Raises
    ------
    Permanent
        It is not one; the message names the first field that is wrong.
    """
    try:
        body = _Request.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise Permanent(f"request field '{where}' cannot be used: {first['msg']}") from None
    if (body.page is None) == (body.joint is None):
        raise Permanent("a request holds either a page or joint scenarios")
    return Request(
        chain_id=body.chain_id,
        verifying_contract=body.verifying_contract,
        table=_table(body),
        sign=body.sign,
        made_at=body.made_at,
        nonce=body.nonce,
        signer=body.signer,
        signature=body.signature,
    )


def _table(body: _Request) -> Table:
    if body.page is not None:
        page = body.page
        return PublishPage(page.underlying, PageHeader(**page.header.model_dump()), page.surfaces, page.rows)
    assert body.joint is not None  # noqa: S101  (the caller has looked)
    joint = body.joint.model_dump()
    return PublishJoint(joint.pop("epoch"), **joint)


def ask(
    table: Table,
    digest: bytes,
    signer: TypedSigner,
    *,
    chain_id: int,
    contract: str,
    sign: bool,
    now: int,
    nonce: bytes,
) -> dict[str, Any]:
    """Body of a request, signed."""
    message = {"digest": digest, "sign": sign, "made_at": now, "nonce": nonce}
    signature = signer.sign_typed(_domain(chain_id, contract), ASK, message)
    return {
        "version": VERSION,
        "chain_id": chain_id,
        "verifying_contract": contract,
        "sign": sign,
        "made_at": now,
        "nonce": _text(nonce),
        "signer": signer.address,
        "signature": _text(signature),
        **_content(table),
    }


def requester(request: Request, digest: bytes) -> str | None:
    """Address that signed a request, None where the signature is none."""
    message = {"digest": digest, "sign": request.sign, "made_at": request.made_at, "nonce": request.nonce}
    domain = _domain(request.chain_id, request.verifying_contract)
    return recovered(domain, ASK, message, request.signature)


def recovered(domain: dict[str, Any], types: dict[str, Any], message: dict[str, Any], signature: bytes) -> str | None:
    """Address that signed an EIP-712 message, None where the signature is none."""
    try:
        return str(Account.recover_message(encode_typed_data(domain, types, message), signature=signature))
    except Exception:  # noqa: BLE001  (the library raises many kinds for what is no signature)
        return None


def _domain(chain_id: int, contract: str) -> dict[str, Any]:
    return {
        "name": DOMAIN_NAME,
        "version": DOMAIN_VERSION,
        "chainId": chain_id,
        "verifyingContract": contract,
    }


def _content(table: Table) -> dict[str, Any]:
    """JSON of a table: whole numbers as text, as they do not fit the numbers of most readers; bytes as hex."""
    if isinstance(table, PublishPage):
        header = {name: _text(getattr(table.header, name)) for name in _Header.model_fields}
        surfaces = [[_text(value) for value in surface] for surface in table.surfaces]
        return {
            "page": {
                "underlying": table.underlying,
                "header": header,
                "surfaces": surfaces,
                "rows": _text(table.rows),
            }
        }
    joint = {name: _text(getattr(table, name)) for name in _Joint.model_fields if name != "epoch"}
    return {"joint": {"epoch": _text(table.joint_epoch), **joint}}


def _text(value: int | bytes) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
