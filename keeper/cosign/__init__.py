# SPDX-License-Identifier: Apache-2.0
"""Signatures of a publisher quorum: a service that judges and signs other publishers' tables, and who asks it."""
