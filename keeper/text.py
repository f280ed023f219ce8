# SPDX-License-Identifier: Apache-2.0
"""Text of strangers (a contract's revert reason, a node's error) made fit for a line of a log, a table or a page."""

from __future__ import annotations

LONGEST = 1_000


def plain(text: str, most: int = LONGEST) -> str:
    r"""The text on one line, without what a terminal would obey, and no longer than ``most`` characters.

    Examples
    --------
    >>> plain("a\nb\x1b[2J", 6)
    'a b [2…'
    >>> plain("auction: nonce")
    'auction: nonce'
    """
    cut = text[: most + 1]
    clean = cut if cut.isprintable() else "".join(each if each.isprintable() else " " for each in cut)
    return clean if len(text) <= most else f"{clean[:most]}…"
