# SPDX-License-Identifier: Apache-2.0
"""A local testnet: a real node, contracts, people, a market that moves, and the keeper as a process of its own."""
