# SPDX-License-Identifier: Apache-2.0
"""Where signed transactions go."""

from __future__ import annotations

from hexbytes import HexBytes

from keeper.chain.endpoint import EndpointState
from keeper.chain.failures import AlreadyKnown
from keeper.chain.rpc_pool import Pool
from keeper.errors import KeeperError, Refused, Transient, Underpriced


def broadcast(pool: Pool, raw: bytes, *, everywhere: bool) -> None:
    """Hand a signed transaction to endpoints; one that has it already counts as having taken it.

    Parameters
    ----------
    everywhere
        Give it to each endpoint (relays of the operator's choice), which succeeds when one takes it. Else the first
        that answers decides.

    Raises
    ------
    NonceTooLow, Underpriced, NoFunds, Permanent
        No endpoint took it and one said why.
    Transient
        None answered; it may have arrived all the same.
    """
    taken = False
    answer: KeeperError | None = None
    failure: KeeperError | None = None
    for state in pool.turns():
        try:
            _hand(pool, state, raw)
            taken = True
        except AlreadyKnown:
            taken = True
        except Underpriced as error:
            answer = answer or error
        except (Transient, Refused) as error:
            failure = error
        except KeeperError as error:
            answer = answer or error
        if (taken or answer is not None) and not everywhere:
            break
    if taken:
        return
    raise answer or failure or pool.nobody("eth_sendRawTransaction")


def _hand(pool: Pool, state: EndpointState, raw: bytes) -> None:
    pool.prove(state)
    pool.request(state, "eth_sendRawTransaction", lambda web3: web3.eth.send_raw_transaction(HexBytes(raw)))
    pool.answered(state)
