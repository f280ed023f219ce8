# SPDX-License-Identifier: Apache-2.0
"""Sending transactions: each exactly once, whatever happens to the process or the chain."""
