# SPDX-License-Identifier: Apache-2.0
"""Ballast's keeper: observe, assess, decide, act, record."""

__version__ = "0.2.0"
