"""How a symbol is shown."""

import unicodedata


def label(symbol: str) -> str:
    """Make a symbol visible: a space becomes ␣, a combining mark stands on a circle, others become their codes."""
    if symbol == " ":
        return "␣"
    if not symbol.isprintable() or (symbol.isspace() and len(symbol) == 1):
        return " ".join(f"U+{ord(c):04X}" for c in symbol)
    return "◌" + symbol if unicodedata.category(symbol[0]).startswith("M") else symbol
