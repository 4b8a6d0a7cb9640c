# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Small changes of a module's text, each of which a test should notice."""

from __future__ import annotations

import ast
import re
import typing as t
from dataclasses import dataclass

SWAPPED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}


@dataclass(frozen=True)
class Mutant:
    """One change: what stands from ``begin`` to ``end`` of the text is replaced."""

    line: int
    begin: int
    end: int
    replacement: str

    def apply(self, text: str) -> str:
        return text[: self.begin] + self.replacement + text[self.end :]

    def describe(self, text: str) -> str:
        """One line: what was there and what is there now."""
        was, now = (" ".join(piece.split()) for piece in (text[self.begin : self.end], self.replacement))
        return f"{self.line}: {was}  ->  {now}"


def mutants(text: str) -> list[Mutant]:
    """All changes of a module that can be compiled, in the order of its lines."""
    found = set(_Finder(text).find())
    return sorted((one for one in found if _compiles(one.apply(text))), key=lambda one: (one.line, one.begin, one.end))


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True


class _Finder:
    """Goes over the syntax tree. Texts, types and defaults of documentation are left alone."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0]
        for line in text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def find(self) -> t.Iterator[Mutant]:
        tree = ast.parse(self.text)
        # Types are no behaviour, nor is what guards a dataclass against mistakes (frozen, slots).
        types = {
            part
            for node in ast.walk(tree)
            for top in (
                *(getattr(node, kind, None) for kind in ("annotation", "returns")),
                *(one for one in getattr(node, "decorator_list", ()) if ast.unparse(one).startswith("dataclass(")),
            )
            if isinstance(top, ast.AST)
            for part in ast.walk(top)
        }
        for node in ast.walk(tree):
            if node in types:
                continue
            change = getattr(self, f"_{type(node).__name__.lower()}", None)
            if change is not None:
                yield from change(node)

    def _at(self, line: int, column: int) -> int:
        """The place in the text of a place in the tree, where columns are counted in bytes."""
        start = self.starts[line - 1]
        whole = self.text[start : self.starts[line]]
        return start + len(whole.encode()[:column].decode())

    def _span(self, node: t.Any) -> tuple[int, int]:
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _piece(self, node: ast.AST) -> str:
        begin, end = self._span(node)
        return self.text[begin:end]

    def _replace(self, node: t.Any, replacement: str) -> Mutant:
        return Mutant(node.lineno, *self._span(node), replacement)

    def _between(self, left: ast.AST, right: ast.AST, was: str, now: str) -> t.Iterator[Mutant]:
        begin, end = self._span(left)[1], self._span(right)[0]
        wanted = r"\s+".join(map(re.escape, was.split()))
        word = re.search(rf"(?<![\w<>=!*/]){wanted}(?![\w<>=*/])", self.text[begin:end])
        if word:
            line = t.cast("t.Any", left).end_lineno + self.text[begin : begin + word.start()].count("\n")
            yield Mutant(line, begin + word.start(), begin + word.end(), now)

    def _compare(self, node: ast.Compare) -> t.Iterator[Mutant]:
        sides = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
            yield from self._between(left, right, *SWAPPED[type(operator)])

    def _binop(self, node: ast.BinOp) -> t.Iterator[Mutant]:
        if type(node.op) in ARITHMETIC and not isinstance(node.left, ast.JoinedStr):
            yield from self._between(node.left, node.right, *ARITHMETIC[type(node.op)])

    def _boolop(self, node: ast.BoolOp) -> t.Iterator[Mutant]:
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from self._between(left, right, *words)
        for dropped in node.values:
            kept = f" {words[0]} ".join(f"({self._piece(value)})" for value in node.values if value is not dropped)
            yield self._replace(node, kept)

    def _unaryop(self, node: ast.UnaryOp) -> t.Iterator[Mutant]:
        if isinstance(node.op, ast.Not):
            yield self._replace(node, f"({self._piece(node.operand)})")

    def _if(self, node: ast.If) -> t.Iterator[Mutant]:
        yield self._replace(node.test, f"not ({self._piece(node.test)})")

    _while = _ifexp = _if

    def _constant(self, node: ast.Constant) -> t.Iterator[Mutant]:
        if isinstance(node.value, bool):
            yield self._replace(node, str(not node.value))
        elif isinstance(node.value, int | float):
            yield self._replace(node, f"({node.value!r} + 1)")

    def _return(self, node: ast.Return) -> t.Iterator[Mutant]:
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield self._replace(node, "return None")

    def _raise(self, node: ast.Raise) -> t.Iterator[Mutant]:
        yield self._replace(node, "pass")

    def _expr(self, node: ast.Expr) -> t.Iterator[Mutant]:
        if isinstance(node.value, ast.Call):
            yield self._replace(node, "pass")

    def _continue(self, node: ast.Continue) -> t.Iterator[Mutant]:
        yield self._replace(node, "pass")

    def _break(self, node: ast.Break) -> t.Iterator[Mutant]:
        yield self._replace(node, "pass")

    def _assign(self, node: ast.Assign) -> t.Iterator[Mutant]:
        """An assignment to an attribute or an item has an effect elsewhere."""
        if any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            yield self._replace(node, "pass")
