"""Texts of others as markup."""

from html import escape


def escaped(text: str) -> str:
    """`text` for HTML and XML, in an attribute too. What cannot be seen, or turns the direction of writing, is marked."""
    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text), quote=True)
