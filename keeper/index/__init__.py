# SPDX-License-Identifier: Apache-2.0
"""From events to the accounts that exist, through a cursor that survives forks and restarts."""
