"""CEL text -> nodes: placeholders, operators, macros and matcher functions, not yet types.

In: the expression as it is written in a Caddyfile. Out: a tree of nodes. Called by `checking`. The rule:
placeholders are replaced in the text first, quotes or not, as Caddy does (celmatcher.go, Provision).
"""

from __future__ import annotations

import re

from zeroserve_ir.expressions.lexing import Token, tokenize
from zeroserve_ir.expressions.matchers import MATCHERS, build_matcher
from zeroserve_ir.expressions.nodes import (
    Call,
    ExpressionError,
    Identifier,
    Literal,
    Macro,
    Node,
    Placeholder,
)

DEPTH_MAX = 64
"""Nesting; the engine's evaluator recurses as deep."""

_PLACEHOLDER = re.compile(r"([^\\]|^){([a-zA-Z][\w.-]+)}", re.ASCII | re.DOTALL)
_ESCAPED = re.compile(r"\\{([a-zA-Z][\w.-]+)}", re.ASCII)
_LEVELS = (("||",), ("&&",), ("<", "<=", ">=", ">", "==", "!=", "in"), ("+", "-"), ("*", "/", "%"))
_MACROS = {"all": 2, "exists": 2, "exists_one": 2, "existsOne": 2, "map": 2, "filter": 2}
_RESERVED = frozenset(
    (
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
        "package", "namespace", "return", "var", "void", "while",
    )
)  # fmt: skip


def parse_expression(text: str, name: str = "") -> Node:
    """Parse an expression; `name` is that of its regular expressions without one. Raises ExpressionError."""
    expanded = _PLACEHOLDER.sub(r'\1ph(req, "\2")', text)
    parser = _Parser(tokenize(_ESCAPED.sub(r"{\1}", expanded)), name)
    node = parser.read(0)
    if (token := parser.token).kind != "end":
        raise ExpressionError(f"unexpected {token.text!r}", token.offset, "join conditions with && or ||")
    return node


class _Parser:
    def __init__(self, tokens: list[Token], name: str) -> None:
        self.tokens = tokens
        self.position = 0
        self.name = name

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    def next(self) -> Token:
        token = self.token
        self.position += token.kind != "end"
        return token

    def take(self, sign: str) -> bool:
        if self.token.text == sign and self.token.kind in ("sign", "name"):
            self.position += 1
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            found = repr(self.token.text) if self.token.text else "the end"
            raise ExpressionError(f"{sign!r} expected, not {found}", self.token.offset)

    def read(self, depth: int) -> Node:
        """Read an expression with its `? :`."""
        if depth > DEPTH_MAX:
            raise ExpressionError(f"nested deeper than {DEPTH_MAX}", self.token.offset, "flatten it")
        offset = self.token.offset
        condition = self.read_level(0, depth)
        if not self.take("?"):
            return condition
        chosen = self.read_level(0, depth)
        self.expect(":")
        return Call("?:", (condition, chosen, self.read(depth + 1)), offset=offset)

    def read_level(self, level: int, depth: int) -> Node:
        if level == len(_LEVELS):
            return self.read_unary(depth)
        left = self.read_level(level + 1, depth)
        count = 0
        while self.token.text in _LEVELS[level] and self.token.kind in ("sign", "name"):
            operator = self.next()
            left = Call(operator.text, (left, self.read_level(level + 1, depth)), offset=operator.offset)
            count += 1
            if count > DEPTH_MAX:
                raise ExpressionError(
                    f"more than {DEPTH_MAX} operators in a row", operator.offset, "use in [ … ]"
                )
        return left

    def read_unary(self, depth: int) -> Node:
        token = self.token
        if depth > DEPTH_MAX:
            raise ExpressionError(f"nested deeper than {DEPTH_MAX}", token.offset, "flatten it")
        if self.take("!"):
            return Call("!", (self.read_unary(depth + 1),), offset=token.offset)
        if self.take("-"):
            following = self.token
            if isinstance(following.value, int | float) and not isinstance(following.value, bool):
                self.position += 1
                return self.read_members(Literal(-following.value, token.offset), depth)
            return Call("neg", (self.read_unary(depth + 1),), offset=token.offset)
        return self.read_members(self.read_primary(depth), depth)

    def read_primary(self, depth: int) -> Node:
        token = self.next()
        if token.kind == "literal":
            if token.value == 1 << 63 and not isinstance(token.value, float):
                raise ExpressionError(f"{token.text} does not fit 64 bits", token.offset)
            return Literal(token.value, token.offset)
        if token.kind == "name":
            if token.text in _RESERVED:
                raise ExpressionError(f"{token.text!r} is a reserved word", token.offset)
            if self.take("("):
                return self.build_function(token, self.read_arguments(")", depth))
            return Identifier(token.text, token.offset)
        if token.text == "(":
            inner = self.read(depth + 1)
            self.expect(")")
            return inner
        if token.text == "[":
            return Call("list", self.read_arguments("]", depth), offset=token.offset)
        if token.text == "{":
            return Call("map", self.read_entries(depth), offset=token.offset)
        found = repr(token.text) if token.text else "the end"
        raise ExpressionError(f"a value expected, not {found}", token.offset)

    def read_arguments(self, closing: str, depth: int) -> tuple[Node, ...]:
        arguments: list[Node] = []
        while not self.take(closing):
            arguments.append(self.read(depth + 1))
            if not self.take(","):
                self.expect(closing)
                break
        return tuple(arguments)

    def read_entries(self, depth: int) -> tuple[Node, ...]:
        entries: list[Node] = []
        while not self.take("}"):
            entries.append(self.read(depth + 1))
            self.expect(":")
            entries.append(self.read(depth + 1))
            if not self.take(","):
                self.expect("}")
                break
        return tuple(entries)

    def read_members(self, node: Node, depth: int) -> Node:
        while True:
            token = self.token
            if self.take("["):
                node = Call("index", (node, self.read(depth + 1)), offset=token.offset)
                self.expect("]")
            elif self.take("."):
                name = self.next()
                if name.kind != "name":
                    raise ExpressionError("a name expected after the dot", name.offset)
                if self.take("("):
                    node = self.build_method(node, name, self.read_arguments(")", depth))
                else:
                    node = Call("select", (node, Literal(name.text)), offset=name.offset)
            else:
                return node
            depth += 1
            if depth > DEPTH_MAX:
                raise ExpressionError(f"nested deeper than {DEPTH_MAX}", token.offset, "flatten it")

    def build_function(self, name: Token, arguments: tuple[Node, ...]) -> Node:
        if name.text == "ph":
            match arguments:
                case (Identifier("req"), Literal(str(placeholder))):
                    return Placeholder(placeholder, name.offset)
            raise ExpressionError("ph takes req and a constant text", name.offset, "write {placeholder}")
        if name.text in MATCHERS:
            return build_matcher(name.text, arguments, self.name, name.offset)
        if name.text == "has":
            match arguments:
                case (Call("select", operands),):
                    return Call("has", operands, offset=name.offset)
            raise ExpressionError("has takes a field: has(a.b)", name.offset)
        return Call(name.text, arguments, offset=name.offset)

    def build_method(self, target: Node, name: Token, arguments: tuple[Node, ...]) -> Node:
        if isinstance(target, Identifier) and target.name in (
            "math",
            "strings",
            "lists",
            "cel",
            "base64",
            "optional",
        ):
            return self.build_namespaced(f"{target.name}.{name.text}", arguments, name.offset)
        if name.text in _MACROS and len(arguments) in (2, 3 if name.text == "map" else 2):
            variable, *steps = arguments
            if not isinstance(variable, Identifier):
                raise ExpressionError(f"{name.text} begins with a variable's name", name.offset)
            macro = "exists_one" if name.text == "existsOne" else name.text
            return Macro(macro, variable.name, target, tuple(steps), name.offset)
        return Call(name.text, (target, *arguments), method=True, offset=name.offset)

    def build_namespaced(self, function: str, arguments: tuple[Node, ...], offset: int) -> Node:
        if function == "cel.bind":
            match arguments:
                case (Identifier(variable), value, result):
                    return Macro("bind", variable, value, (result,), offset)
            raise ExpressionError("cel.bind takes a name, its value and a result", offset)
        return Call(function, arguments, offset=offset)
