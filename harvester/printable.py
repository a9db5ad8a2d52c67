"""Text from elsewhere, made fit to stand in a line: what a server sends, what is in a record, a file's name.

It ends in errors, log lines, tables, the ledger and the manifest, and must neither flood them nor end a line,
move a cursor or turn the direction of what follows. Pure.
"""

LONGEST = 500
"""Characters of one text, where its place sets no other bound."""


def printable(text: str, longest: int = LONGEST) -> str:
    """`text` on one line: what is no letter, figure, sign or plain space (controls, line ends, bidi marks,
    characters of no width, halves of a pair) as its escape, and cut after `longest` characters of the text
    with the rest counted."""
    cut = text[:longest]
    if not cut.isprintable():
        cut = "".join(letter if letter.isprintable() else _escaped(letter) for letter in cut)
    return cut if len(text) <= longest else f"{cut}... ({len(text) - longest} more)"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
