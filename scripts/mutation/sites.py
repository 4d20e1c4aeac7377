"""The places of a source file where one small change makes a mutant, and the text of that change."""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

COMPARISONS = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "%"),
    ast.Mod: ("%", "//"), ast.Pow: ("**", "*"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"), ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}  # fmt: skip
LOGIC = {ast.And: ("and", "or"), ast.Or: ("or", "and")}

# The following are not changed: a change there does not alter behaviour, or breaks every program.
KEYWORDS_LEFT_ALONE = {"strict", "copy", "repr", "kw_only", "frozen", "slots", "stacklevel"}
NAMES_LEFT_ALONE = {"__all__", "__slots__", "__version__"}
TYPING_CALLS = {"cast", "TypeVar", "NewType", "ParamSpec"}
ORDER_DOES_NOT_MATTER = {
    "isinstance", "issubclass", "hasattr", "getattr", "setattr", "max", "min", "maximum", "minimum", "logical_and",
    "logical_or", "gcd", "hypot", "array_equal", "pair_keys",
} | TYPING_CALLS  # fmt: skip
"""Calls whose first two arguments are not swapped, because that changes nothing or breaks everything."""
SEQUENCES = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp)
SHOWN = 50
"""Characters of source text in an id."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Site:
    """One mutant: source[start:end] becomes `new`. Offsets are in bytes."""

    id: str
    """File, function, kind, change and ordinal among equal ones in that function. It has no line numbers, so an edit
    elsewhere in the file does not change it."""
    file: str
    scope: str
    kind: str
    start: int
    end: int
    new: str
    line: int
    lines: Span
    """First and last line of the statement (its head, if it has a body)."""
    at_import: bool
    """Whether the line runs when the module is imported."""

    def apply(self, source: bytes) -> bytes:
        """The mutant's source."""
        return source[: self.start] + self.new.encode() + source[self.end :]


def sites_of(file: str, source: bytes) -> list[Site]:
    """Every site of a file, in source order."""
    finder = _Finder(source)
    finder.body(ast.parse(source).body, _Place("<module>", (1, 1), at_import=True))
    finder.edits.sort(key=lambda edit: (edit.start, edit.end, edit.kind))
    counts: Counter[str] = Counter()
    sites = []
    for edit in finder.edits:
        base = f"{file}::{edit.place.scope}::{edit.kind}::{edit.change}"
        counts[base] += 1
        identity = base if counts[base] == 1 else f"{base}::{counts[base]}"
        line = bisect_left(finder.starts, edit.start + 1)
        place = edit.place
        sites.append(
            Site(
                identity,
                file,
                place.scope,
                edit.kind,
                edit.start,
                edit.end,
                edit.new,
                line,
                place.lines,
                place.at_import,
            )
        )
    return sites


def sites_below(root: Path, paths: Sequence[str]) -> list[Site]:
    """Sites of all files below `paths`, which are relative to `root`."""
    files = {
        file for path in paths for file in ([root / path] if path.endswith(".py") else (root / path).rglob("*.py"))
    }
    sources = ((file.relative_to(root).as_posix(), file.read_bytes()) for file in sorted(files))
    return [site for name, data in sources for site in sites_of(name, data)]


def sample(sites: Sequence[Site], seed: int, count: int | None) -> list[Site]:
    """`count` sites, each chosen with equal probability.

    Each site has a rank drawn from the seed and its id. So the same seed gives the same sample, a larger count adds to
    it, and an edit to the sources removes and adds only the sites that it touches.
    """
    return sorted(sites, key=lambda site: hashlib.sha256(f"{seed}:{site.id}".encode()).digest())[:count]


@dataclass(frozen=True, slots=True)
class _Place:
    scope: str
    lines: Span
    at_import: bool
    returns: str = ""
    """The function's return annotation."""


@dataclass(frozen=True, slots=True)
class _Edit:
    kind: str
    start: int
    end: int
    new: str
    change: str
    place: _Place


class _Finder:
    def __init__(self, source: bytes) -> None:
        self.source = source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.operators = list(self._operators())
        self.edits: list[_Edit] = []

    def _operators(self) -> Iterator[tuple[int, str]]:
        """Offset and text of each token that may be (part of) an operator."""
        for token in tokenize.generate_tokens(io.StringIO(self.source.decode(), newline="").readline):
            if token.type == tokenize.OP or token.string in {"and", "or", "not", "is", "in"}:
                row, column = token.start
                yield self.starts[row - 1] + len(token.line[:column].encode()), token.string

    def span(self, node: ast.expr | ast.stmt) -> Span:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, start: int, end: int) -> str:
        return self.source[start:end].decode()

    def add(self, kind: str, span: Span, new: str, place: _Place, *, within: ast.AST | None = None) -> None:
        change = f"{_short(self.text(*span))} -> {_short(new)}"
        if isinstance(within, ast.expr | ast.stmt):
            change += f" in {_short(self.text(*self.span(within)))}"
        self.edits.append(_Edit(kind, *span, new, change, place))

    # Statements

    def body(self, statements: Sequence[ast.stmt], place: _Place) -> None:
        for statement in statements:
            self.statement(statement, place)

    def statement(self, node: ast.stmt, outer: _Place) -> None:
        place = _Place(outer.scope, _head(node), outer.at_import, outer.returns)
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                scope = _join(outer.scope, node.name)
                for default in (*node.args.defaults, *node.args.kw_defaults):
                    if default is not None:
                        lines = (default.lineno, default.end_lineno or default.lineno)
                        self.expression(default, _Place(scope, lines, outer.at_import), node)
                returns = ast.unparse(node.returns) if node.returns else ""
                self.body(node.body, _Place(scope, place.lines, at_import=False, returns=returns))
            case ast.ClassDef():
                self.body(node.body, _Place(_join(outer.scope, node.name), place.lines, outer.at_import))
            case ast.If() if ast.unparse(node.test).startswith(("TYPE_CHECKING", "__name__ ")):
                self.body(node.orelse, place)
            case ast.Assign() | ast.AnnAssign() if outer.at_import:
                target = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
                if target not in NAMES_LEFT_ALONE and node.value is not None:
                    self.expression(node.value, _Place(_join(outer.scope, target), place.lines, at_import=True), node)
            case ast.Assert() | ast.Import() | ast.ImportFrom():
                pass
            case _:
                self.dropped(node, place)
                self.children(node, place)

    def dropped(self, node: ast.stmt, place: _Place) -> None:
        """Mutants without this statement, or with another value returned."""
        match node:
            case ast.Raise() if "AssertionError" in ast.unparse(node) or "NotImplementedError" in ast.unparse(node):
                pass  # it states what cannot happen
            case (
                ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete()
                | ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_])
            ):  # fmt: skip
                self.add("drop", self.span(node), "pass", place)
            case ast.Return(value=ast.expr() as value):
                if "None" in place.returns and not _is_constant(value):
                    self.add("return", self.span(value), "None", place)
                elif place.returns == "bool" and not isinstance(
                    value, ast.Constant | ast.Compare | ast.BoolOp | ast.UnaryOp
                ):
                    self.add("return", self.span(value), f"not ({self.text(*self.span(value))})", place)
        if isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC and not isinstance(node.value, SEQUENCES):
            old, new = ARITHMETIC[type(node.op)]
            self.operator("arithmetic", node.target, node.value, f"{old}=", f"{new}=", node, place)

    # Expressions

    def children(self, node: ast.AST, place: _Place) -> None:
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list"}:
                continue
            for child in value if isinstance(value, list) else [value]:
                match child:
                    case ast.stmt():
                        self.statement(child, place)
                    case ast.expr():
                        self.expression(child, place, node)
                    case ast.AST():
                        self.children(child, place)

    def expression(self, node: ast.expr, place: _Place, parent: ast.AST) -> None:
        within = parent if isinstance(parent, ast.expr | ast.stmt) else node
        self.guard(node, place, parent)
        match node:
            case ast.JoinedStr() | ast.Subscript(value=ast.Name(id="Literal" | "Annotated")):
                return  # f-strings are messages; before Python 3.12 the positions of expressions in them are wrong too
            case ast.Compare():
                for left, operation, right in zip(
                    (node.left, *node.comparators), node.ops, node.comparators, strict=False
                ):
                    self.operator("comparison", left, right, *COMPARISONS[type(operation)], node, place)
            case ast.BoolOp():
                for left, right in zip(node.values, node.values[1:], strict=False):
                    self.operator("logic", left, right, *LOGIC[type(node.op)], node, place)
            case ast.BinOp() if type(node.op) in ARITHMETIC and _is_number(node):
                self.operator("arithmetic", node.left, node.right, *ARITHMETIC[type(node.op)], node, place)
            case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub() as sign) if not _is_constant(node.operand):
                start, end = self.span(node)
                kept = start + (3 if isinstance(sign, ast.Not) else 1)
                kind = "not" if isinstance(sign, ast.Not) else "sign"
                self.add(kind, (start, end), self.text(kept, end).strip(), place)
            case ast.Constant():
                self.constant(node, place, within)
            case ast.Call():
                self.call(node, place)
                return
            case ast.Lambda():
                self.expression(node.body, _Place(place.scope, place.lines, place.at_import), node)
                return
        self.children(node, place)

    def constant(self, node: ast.Constant, place: _Place, within: ast.AST) -> None:
        match node.value:
            case bool() as value:
                self.add("boolean", self.span(node), str(not value), place, within=within)
            case int() as value:
                self.add("constant", self.span(node), str(value + 1), place, within=within)
            case float() as value:
                self.add("constant", self.span(node), repr(2 * value or 1.0), place, within=within)

    def guard(self, node: ast.expr, place: _Place, parent: ast.AST) -> None:
        """Negate a bare condition, which no other mutant negates."""
        bare = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
        match parent:
            case ast.If(test=test) | ast.IfExp(test=test) if test is node and bare:
                self.add("guard", self.span(node), f"not ({self.text(*self.span(node))})", place)
            case ast.comprehension(ifs=ifs) if node in ifs and bare:
                self.add("guard", self.span(node), f"not ({self.text(*self.span(node))})", place)

    def call(self, node: ast.Call, place: _Place) -> None:
        name = ast.unparse(node.func).rsplit(".", 1)[-1]
        if name in TYPING_CALLS:
            return
        if name not in ORDER_DOES_NOT_MATTER and len(node.args) >= 2:
            first, second = node.args[:2]
            (start, middle), (between, end) = self.span(first), self.span(second)
            left, right = self.text(start, middle), self.text(between, end)
            if not isinstance(first, ast.Starred) and not isinstance(second, ast.Starred) and left != right:
                self.add("swap", (start, end), right + self.text(middle, between) + left, place, within=node.func)
        self.expression(node.func, place, node)
        for argument in node.args:
            self.expression(argument, place, node)
        for keyword in node.keywords:
            if keyword.arg not in KEYWORDS_LEFT_ALONE:
                self.expression(keyword.value, place, node)

    def operator(
        self, kind: str, left: ast.expr, right: ast.expr, old: str, new: str, within: ast.AST, place: _Place
    ) -> None:
        """Replace the operator between two operands: its first token, and for `is not` and `not in` the second too."""
        words = old.split()
        first = bisect_left(self.operators, (self.span(left)[1], ""))
        for index in range(first, len(self.operators)):
            if [text for _, text in self.operators[index : index + len(words)]] == words:
                start, last = self.operators[index][0], self.operators[index + len(words) - 1]
                assert start < self.span(right)[0]
                self.add(kind, (start, last[0] + len(last[1])), new, place, within=within)
                return


def _head(node: ast.stmt) -> Span:
    """The lines of a statement without its body."""
    body = getattr(node, "body", None)
    end = node.end_lineno or node.lineno
    if isinstance(body, list) and body:
        end = max(node.lineno, body[0].lineno - 1)
    return node.lineno, end


def _join(scope: str, name: str) -> str:
    return name if scope == "<module>" else f"{scope}.{name}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, str))


def _is_number(node: ast.expr) -> bool:
    """Whether a node may be a number: False for text, lists, paths and unions of types."""
    match node:
        case ast.BinOp():
            return _is_number(node.left) and _is_number(node.right)
        case ast.Constant():
            return isinstance(node.value, int | float)
        case ast.Name():
            return not (node.id[0].isupper() and not node.id.isupper()) and node.id not in {"str", "bytes", "int"}
    return not isinstance(node, SEQUENCES)
