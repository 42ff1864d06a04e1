"""How the page shows a symbol."""

import unicodedata


def label(symbol: str) -> str:
    """The symbol as a page can show it: a space as ␣, a combining mark on a circle, what is invisible as its code."""
    if symbol == " ":
        return "␣"
    if not symbol.isprintable() or (symbol.isspace() and len(symbol) == 1):
        return " ".join(f"U+{ord(c):04X}" for c in symbol)
    return "◌" + symbol if unicodedata.category(symbol[0]).startswith("M") else symbol
