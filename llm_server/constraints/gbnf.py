"""Writing GBNF, llama.cpp's grammar notation, without thinking of quotes."""

import re

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def literal(text: str) -> str:
    """`text` itself, as a GBNF string."""
    return '"' + "".join(_ESCAPES.get(c) or (c if c >= " " else f"\\x{ord(c):02X}") for c in text) + '"'


def choice(*options: str) -> str:
    """Any one of the expressions."""
    return options[0] if len(options) == 1 else "(" + " | ".join(options) + ")"


class Rules:
    """Rules of one grammar under distinct names."""

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._rules

    def add(self, hint: str, body: str) -> str:
        """Add a rule; its name, like `hint`. Equal bodies share one rule."""
        base = re.sub(r"[^a-zA-Z0-9]+", "-", hint).strip("-").lower() or "rule"
        name, n = base, 1
        while name in self._rules and self._rules[name] != body:
            name, n = f"{base}-{n}", n + 1
        self._rules[name] = body
        return name

    def define(self, name: str, body: str) -> str:
        """Set a rule whose name others already use."""
        self._rules[name] = body
        return name

    def reserve(self, hint: str) -> str:
        """A name to be defined later: for rules that refer to themselves."""
        return self.add(hint, f"# {hint} {len(self._rules)}")

    def text(self, root: str) -> str:
        """The grammar, beginning at the expression `root`."""
        return (
            "\n".join([f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._rules.items())])
            + "\n"
        )
