# SPDX-License-Identifier: Apache-2.0
"""Access to a chain: RPC pool, multicall, contracts, events, and the embedded chain for demos and tests."""
