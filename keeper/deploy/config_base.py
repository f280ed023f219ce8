# SPDX-License-Identifier: Apache-2.0
"""What the sections of a deployment's configuration share: kinds of values, and a section that knows no other keys."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from eth_utils.address import is_address, is_checksum_address, to_checksum_address
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

DEPLOYER = "deployer"
ZERO = "0x" + "00" * 20
DAY_S = 86_400


def _address(value: str) -> str:
    if value == DEPLOYER:
        return value
    if not is_address(value):
        raise ValueError(f"{value!r} is not an address; write 0x and 40 hexadecimal digits")
    mixed = value[2:] not in {value[2:].lower(), value[2:].upper()}
    if mixed and not is_checksum_address(value):
        raise ValueError(f"{value} has a wrong checksum; copy the address again")
    if int(value, 16) == 0:
        raise ValueError("the zero address can hold no role and no code; name a real one")
    return str(to_checksum_address(value))


Address = Annotated[str, AfterValidator(_address)]
Bps = Annotated[int, Field(ge=0, le=65_535)]
Positive = Annotated[Decimal, Field(gt=0)]
Symbol = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[A-Za-z0-9._-]+$")]


class Section(BaseModel):
    """A table of the file; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
