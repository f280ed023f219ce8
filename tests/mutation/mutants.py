# SPDX-License-Identifier: Apache-2.0
"""Mutants of Vyper sources: one small change each, of the kind a slip of the hand makes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

# (name, pattern, replacement): applied to one occurrence in the code part of a line
_RULES: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (name, re.compile(pattern), replacement)
    for name, pattern, replacement in (
        ("comparison", r"(?<![<>=!-])<=(?!=)", "<"),
        ("comparison", r"(?<![<>=!-])>=(?!=)", ">"),
        ("comparison", r"(?<![<>=!-]) < (?![<=])", " <= "),
        ("comparison", r"(?<![<>=!-]) > (?![>=])", " >= "),
        ("comparison", r" == ", " != "),
        ("comparison", r" != ", " == "),
        ("rounding", r"\b_mul_div_down\b", "_mul_div_up"),
        ("rounding", r"\b_mul_div_up\b", "_mul_div_down"),
        ("rounding", r"\b_signed_mul_div_down\b", "_signed_mul_div_up"),
        ("rounding", r"\b_signed_mul_div_up\b", "_signed_mul_div_down"),
        ("rounding", r"\b_floor_div\b", "_ceil_div"),
        ("rounding", r"\b_ceil_div\b", "_floor_div"),
        ("sign", r"\bunsafe_add\b", "unsafe_sub"),
        ("sign", r"\bunsafe_sub\b", "unsafe_add"),
        ("sign", r"(?<=[\w)\]]) \+ (?=[\w(])", " - "),
        ("sign", r"(?<=[\w)\]]) - (?=[\w(])", " + "),
        ("sign", r"(?<=\w) \+= ", " -= "),
        ("sign", r"(?<=\w) -= ", " += "),
        ("extreme", r"\bmin\(", "max("),
        ("extreme", r"\bmax\(", "min("),
        ("logic", r" and ", " or "),
        ("logic", r" or ", " and "),
    )
)
_ASSERT = re.compile(r"^(\s*)assert (.+)$")
_IF = re.compile(r"^(\s*)(if|elif) (.+):$")
# its negation is the mutant that the rule "comparison" already makes
_ONE_EQUALITY = re.compile(r"^(?:(?! and | or | [<>]=? ).)* [=!]= (?:(?! and | or | [<>=!]=? ).)*$")
# declarations and text, where a change is no slip of logic
_SKIP = re.compile(r"^\s*(#|from |import |event |struct |interface |exports|initializes|uses|implements|@|def |log )")
_CONSTANT = re.compile(r"^\w+: (public\()?(constant|immutable)\(")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: ``path`` relative to the repository, ``line`` from 1, texts without the newline.

    ``repeat`` counts the same change to the same text in one function.
    """

    path: str
    line: int
    function: str
    kind: str
    before: str
    after: str
    repeat: int = 1

    @property
    def key(self) -> str:
        """What a survivor is listed by: stable while neither function nor line text changes."""
        which = f" ({self.repeat})" if self.repeat > 1 else ""
        return f"{self.path}:{self.function}: {self.before.strip()} -> {self.after.strip()}{which}"


def _code(line: str) -> str:
    """The part of a line before its comment; no string of these sources holds a hash."""
    return line.split("#", 1)[0].rstrip()


def mutants_of(path: str, source: str) -> list[Mutant]:
    """Every mutant of a source.

    Examples
    --------
    >>> [m.after for m in mutants_of("a.vy", "def f():\\n    assert a < b\\n")]
    ['    assert a <= b', '    pass']
    """
    found: list[Mutant] = []
    repeats: Counter[str] = Counter()
    function, in_doc, open_brackets, skipped = "", False, 0, False
    for number, line in enumerate(source.splitlines(), start=1):
        if line.count('"""') == 1:
            in_doc = not in_doc
        if in_doc or '"""' in line:
            continue
        if line.startswith("def "):
            function = line[4 : line.index("(")]
        code = _code(line)
        starts = open_brackets == 0
        open_brackets += code.count("(") + code.count("[") - code.count(")") - code.count("]")
        if starts and code.strip():
            skipped = bool(_SKIP.match(line) or _CONSTANT.match(line))
        if not function or not code.strip() or skipped:
            continue
        changes = [*_by_rule(code), *(_whole(code) if starts and open_brackets == 0 else ())]
        for kind, after in changes:
            mutant = Mutant(path, number, function, kind, line, after)
            repeats[mutant.key] += 1
            found.append(replace(mutant, repeat=repeats[mutant.key]))
    return found


def _by_rule(code: str) -> Iterator[tuple[str, str]]:
    for kind, pattern, replacement in _RULES:
        for match in pattern.finditer(code):
            yield kind, code[: match.start()] + replacement + code[match.end() :]


def _whole(code: str) -> Iterator[tuple[str, str]]:
    dropped = _ASSERT.match(code)
    if dropped:
        yield "assert", f"{dropped[1]}pass"
    condition = _IF.match(code)
    if condition and not _ONE_EQUALITY.match(condition[3]):
        yield "condition", f"{condition[1]}{condition[2]} not ({condition[3]}):"


def apply(source: str, mutant: Mutant) -> str:
    """The source with the mutant's line in place."""
    lines = source.splitlines(keepends=True)
    assert lines[mutant.line - 1].rstrip("\n") == mutant.before, f"{mutant.path} has changed since it was read"
    lines[mutant.line - 1] = mutant.after + "\n"
    return "".join(lines)
