# SPDX-License-Identifier: Apache-2.0
"""Reading from and sending to an EVM chain."""
