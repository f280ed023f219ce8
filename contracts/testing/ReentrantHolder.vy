# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title An account holder whose code runs while a token moves
@notice Does what it is told, and makes one prepared call whenever it is called without data, as a token's hook does.
        Remembers what came of it. Tests only.
"""

target: public(address)
payload: public(Bytes[2048])
is_armed: public(bool)
# of the last run
runs: public(uint256)
succeeded: public(bool)
returned: public(Bytes[512])


@external
def arm(target: address, payload: Bytes[2048]):
    """
    @notice Prepares the call; forgets what came of the last one
    """
    self.target = target
    self.payload = payload
    self.is_armed = True
    self.runs = 0
    self.succeeded = False
    self.returned = b""


@external
def execute(target: address, payload: Bytes[2048]) -> Bytes[512]:
    """
    @notice A call of its own, whose failure is passed on
    """
    return raw_call(target, payload, max_outsize=512)


@external
def __default__():
    if not self.is_armed:
        return
    # once a run: a call that succeeds may move tokens and come back here
    self.is_armed = False
    self.runs += 1
    ok: bool = False
    out: Bytes[512] = b""
    ok, out = raw_call(self.target, self.payload, max_outsize=512, revert_on_failure=False)
    self.succeeded = ok
    self.returned = out
    self.is_armed = True
