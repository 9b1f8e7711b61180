"""The shape of referral codes: folding, the check character, random and chosen ones.

A generated code is 9 random Crockford characters and 1 check character over GF(32): r <- 2 * (r xor d) for each symbol
d, modulo x^5 + x^2 + 1, then r is appended. That finds every single mistyped symbol and every swap of two neighbours.
"""

import re
from enum import StrEnum
from typing import Final

from loyalty.core import ids
from loyalty.core.ids import CROCKFORD

GENERATED_LENGTH: Final = 10
_POLYNOMIAL: Final = 0b100101
_VALUE: Final = {symbol: value for value, symbol in enumerate(CROCKFORD)}
_FOLD: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})
_VANITY: Final = re.compile(r"^([0-9A-Z]{4,9}|[0-9A-Z]{11,20})$")
_RESERVED: Final = frozenset(
    {"ADM1N", "ADM1N1STRAT0R", "H0ME", "HE1P", "1NF0", "R00T", "SUPP0RT", "TEST", "0FFER", "N0NE", "NU11"}
)
_OFFENSIVE: Final = (
    "FUCK", "SH1T", "CUNT", "C0CK", "D1CK", "PEN1S", "VAG1NA", "WH0RE", "S1UT", "B1TCH", "RAPE", "NAZ1", "H1T1ER",
    "N1GG", "FAG", "TW4T", "TWAT", "PU55Y", "PUSSY", "ARSCH", "F0TZE", "HURE", "MERDE", "PUTA", "K1KE", "P0RN", "SEX",
    "ASS", "KKK", "666",
)  # fmt: skip
_LOOKS: Final = str.maketrans({"4": "A", "3": "E", "5": "S", "7": "T", "8": "B", "V": "U", "9": "G"})


class CodeKind(StrEnum):
    GENERATED = "generated"
    VANITY = "vanity"


def fold(text: str) -> str:
    """Read a code as a person may write it: any case, spaces and hyphens ignored, O as 0, I and L as 1."""
    return text.upper().translate(_FOLD)


def check_character(symbols: str) -> str:
    """Return the check character of nine symbols."""
    r = 0
    for symbol in symbols:
        r = (r ^ _VALUE[symbol]) << 1
        if r & 0b100000:
            r ^= _POLYNOMIAL
    return CROCKFORD[r]


def generate() -> str:
    """Make a random code (45 bits) that reads like nothing offensive."""
    while True:
        body = ids.draw(GENERATED_LENGTH - 1)
        code = body + check_character(body)
        if not is_offensive(code):
            return code


def is_mistyped(folded: str) -> bool:
    """Tell whether a folded code of ten symbols fails its check; other lengths carry none."""
    if len(folded) != GENERATED_LENGTH:
        return False
    body = folded[:-1]
    return not all(symbol in _VALUE for symbol in folded) or check_character(body) != folded[-1]


def is_possible(folded: str) -> bool:
    """Tell whether a folded code could be any code at all, so that others cost no look-up."""
    return len(folded) == GENERATED_LENGTH or _VANITY.match(folded) is not None


def refuse_vanity(folded: str) -> str | None:
    """Return why a chosen code may not be used (`length`, `reserved`, `offensive`), or None if it may."""
    if not _VANITY.match(folded):
        return "length"
    if folded in _RESERVED:
        return "reserved"
    return "offensive" if is_offensive(folded) else None


def is_offensive(folded: str) -> bool:
    """Tell whether a folded code contains a word nobody wants to send a friend.

    Digits read as the letters they look like.
    """
    plain = folded.translate(_LOOKS)
    return any(word in folded or word.translate(_LOOKS) in plain for word in _OFFENSIVE)
