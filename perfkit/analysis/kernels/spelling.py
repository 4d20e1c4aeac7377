"""One spelling of a kernel's name for instruments that demangle it differently.

Kineto prints what GNU's demangler makes of a name, nsys what NVIDIA's own makes of it:

    void at::f<4, at::g(at::Base&)::{lambda(long)#1}, std::array<char*, 2ul> >(int, std::array<char*, 2ul>)
    void at::f<(int)4, at::g(at::Base &)::[lambda(long) (instance 1)], std::array<char *, (unsigned long)2>>(int, T3)

In both, template arguments tell kernels apart. So parameter lists are removed (nsys writes `T3` where GNU repeats the
type), and with them return types, casts, literals' suffixes, const and blanks.
"""

from __future__ import annotations

from perfkit.regex import Regex

_ALIKE = (
    (Regex(r"<unnamed>|\(anonymous namespace\)"), "{anonymous}"),
    (Regex(r"\[lambda(\((?:[^()]|\([^()]*\))*\)) \(instance (\d+)\)\]"), r"{lambda\1#\2}"),
    (Regex(r"operator ?\(\)"), "operator{}"),
    (Regex(r"\(bool\)0\b"), "false"),
    (Regex(r"\(bool\)1\b"), "true"),
    (Regex(r"(?<![\w.])(-?\d+)(?:u|l|ul|ll|ull)\b"), r"\1"),
    (Regex(r"\b(?:const|void)\b(?!\()"), ""),
)
_BLANKS = Regex(r"\s*(?<!\w)\s+|\s+(?!\w)\s*")
"""Blanks that do not part two words."""

_ROUND = Regex(r"[()]")


def spelling(name: str) -> str:
    """The name as all instruments could write it; names without templates stay as they are."""
    for pattern, text in _ALIKE:
        name = pattern.sub(text, name)
    return _BLANKS.sub("", _without_lists(name)).strip()


def _without_lists(name: str) -> str:
    """Without what stands in round brackets, but for a lambda's: its arguments tell it from another."""
    kept: list[str] = []
    stack: list[bool] = []  # for each open bracket, whether what is in it stays: those that stay come first
    done = 0
    for match in _ROUND.finditer(name):
        place, stays = match.start(), not stack or stack[-1]
        if match[0] == "(":
            stack.append(stays and name.endswith("{lambda", 0, place))
            end = match.end() if stack[-1] else place
        else:
            end = match.end() if not stack or stack.pop() else place
        if stays:
            kept.append(name[done:end])
        done = match.end()
    return "".join(kept) + ("" if stack and not stack[-1] else name[done:])
