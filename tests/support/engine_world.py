# SPDX-License-Identifier: Apache-2.0
"""Words of docs/margin-rule.md by the names that the tests of the risk table use; see tests/support/margin_words.py."""

from __future__ import annotations

from tests.support.margin_words import UNIT, WAD, global_word, lanes, row, words
from tests.support.margin_words import DeltaOne as Perp

__all__ = ["UNIT", "WAD", "Perp", "global_word", "lanes", "row", "words"]
