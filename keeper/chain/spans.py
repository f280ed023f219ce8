# SPDX-License-Identifier: Apache-2.0
"""How many blocks of logs an endpoint gives at once, learned from what it refuses.

Providers document limits they do not keep (peers: INFURA #237) and change them by plan, so the span is found by asking:
halved where it is refused, grown by a quarter after a run of successes. Each growth that is refused doubles the run
that the next one needs, so a known limit costs fewer and fewer refused requests.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_RUN = 16
LONGEST_RUN = 4_096
CHECKS_AFTER_DOUBT = 16


@dataclass(slots=True)
class Span:
    """The span of one endpoint.

    Attributes
    ----------
    limit
        Most blocks that an operator allows at once, None for any.
    learned
        Most blocks it takes as far as is known; None while nothing was refused.
    verified
        Most logs of one answer that a second look confirmed. A provider that cuts answers off at a count gives itself
        away with the first answer that is longer than any confirmed one.
    cut
        Fewest logs of an answer from which some were missing: answers as long as this are never taken at their word.
    doubt
        Answers that are still to be looked at twice whatever they hold, after logs were found missing.
    """

    limit: int | None = None
    learned: int | None = None
    verified: int = 0
    doubt: int = 0
    cut: int | None = None
    _good: int = 0
    _run: int = FIRST_RUN
    _before: int | None = None

    def blocks(self, wanted: int) -> int:
        """Most blocks to ask for, of those that are wanted; at least one."""
        bounds = [wanted, *(bound for bound in (self.limit, self.learned) if bound is not None)]
        return max(1, min(bounds))

    def refused(self, asked: int) -> None:
        """Take note that so many blocks were too many."""
        if self._before is not None and self._before < asked:  # a growth too far: back to what was good
            self._run = min(self._run * 2, LONGEST_RUN)
            self.learned = self._before
        else:
            self.learned = max(1, asked // 2)
        self._good, self._before = 0, None

    def accepted(self, asked: int) -> None:
        """Take note that so many blocks were given."""
        if self.learned is None or asked < self.learned:
            return  # says nothing about the limit
        self._good += 1
        if self._good >= self._run:
            self._good, self._before = 0, self.learned
            self.learned += max(1, self.learned // 4)

    def suspects(self, logs: int) -> bool:
        """Whether an answer with so many logs has to be looked at twice."""
        return self.doubt > 0 or logs > self.verified or self.reaches_cut(logs)

    def reaches_cut(self, logs: int) -> bool:
        """Whether an answer is as long as one that was cut."""
        return self.cut is not None and logs >= self.cut

    def distrust(self, asked: int, logs: int) -> None:
        """Take note that logs were missing from an answer of so many logs over so many blocks."""
        self.refused(asked)
        self.cut = logs if self.cut is None else min(self.cut, logs)
        self.doubt = CHECKS_AFTER_DOUBT

    def confirmed(self, logs: int) -> None:
        """Take note that a second look found nothing missing from an answer with so many logs."""
        self.verified = max(self.verified, logs)
        self.doubt = max(0, self.doubt - 1)
