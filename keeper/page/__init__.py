# SPDX-License-Identifier: Apache-2.0
"""The live page: what the keeper sees and does, read-only, on localhost."""
