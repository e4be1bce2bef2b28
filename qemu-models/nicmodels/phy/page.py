# SPDX-License-Identifier: MIT
"""Link codewords: the 48 bits of a DME page. IEEE 802.3, 73.6 (base page), 73.7.7 and annex 73A (next pages).

D0 is bit 0. As registers have them, bits 15:0, 31:16 and 47:32 are three words (45.2.7.6 to 45.2.7.9).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WORD = (1 << 48) - 1
SELECTOR = 0b00001
"""IEEE 802.3."""
SELECTOR_FIELD = 31
ECHO_SHIFT = 5
ECHO = 31 << ECHO_SHIFT
PAUSE, ASYMMETRIC = 1 << 10, 1 << 11
REMOTE_FAULT, ACKNOWLEDGE, NEXT_PAGE = 1 << 13, 1 << 14, 1 << 15
NONCE_SHIFT = 16
NONCE = 31 << NONCE_SHIFT
TECHNOLOGY_SHIFT = 21
RS_FEC_REQUEST, BASE_R_FEC_REQUEST, FEC_ABILITY, FEC_REQUEST = 1 << 44, 1 << 45, 1 << 46, 1 << 47
TOGGLE, ACKNOWLEDGE_2, MESSAGE_PAGE = 1 << 11, 1 << 12, 1 << 13
CODE = (1 << 11) - 1
NULL_MESSAGE = 1


class Codeword(int):
    """A link codeword. Bits that only one kind of page has are named at that kind's constructor."""

    @classmethod
    def of_words(cls, low: int, middle: int, high: int) -> Codeword:
        """The page in three registers."""
        return cls(low & 0xFFFF | (middle & 0xFFFF) << 16 | (high & 0xFFFF) << 32)

    @classmethod
    def message(cls, code: int, unformatted: int = 0, *, more: bool = False, ack2: bool = False) -> Codeword:
        """A message next page (figure 73A-1): 11 bits of code, 32 bits of data.

        Raises:
            ValueError: a value does not fit.
        """
        if not 0 <= code <= CODE or not 0 <= unformatted < 1 << 32:
            raise ValueError(
                f"expected 11 bits of message code and 32 of unformatted code; found {code}, {unformatted}"
            )
        return cls(code | MESSAGE_PAGE | ACKNOWLEDGE_2 * ack2 | NEXT_PAGE * more | unformatted << 16)

    @classmethod
    def unformatted(cls, code: int, *, more: bool = False, ack2: bool = False) -> Codeword:
        """An unformatted next page: 43 bits, the lower 11 of them in D10:0, the others in D47:16.

        Raises:
            ValueError: a value does not fit.
        """
        if not 0 <= code < 1 << 43:
            raise ValueError(f"expected 43 bits of unformatted code; found {code}")
        return cls(code & CODE | ACKNOWLEDGE_2 * ack2 | NEXT_PAGE * more | code >> 11 << 16)

    @classmethod
    def from_json(cls, value: str | Mapping[str, int]) -> Codeword:
        """A next page: `"null"`, 12 hexadecimal digits, `{"message": code, "data": n}` or `{"unformatted": n}`.

        NP, Ack and toggle are filled in later.

        Raises:
            ValueError: another form.
        """
        if value == "null":
            return NULL_PAGE
        if isinstance(value, str):
            return cls.from_hex(value)
        match dict(value):
            case {"message": int(code), **rest} if not rest.keys() - {"data"}:
                return cls.message(code, int(rest.get("data", 0)))
            case {"unformatted": int(code), **rest} if not rest:
                return cls.unformatted(code)
        raise ValueError(f"expected null, a page in hexadecimal, a message or unformatted code; found {dict(value)}")

    @classmethod
    def from_hex(cls, text: str) -> Codeword:
        """A page in hexadecimal, D47 first; the inverse of `str`.

        Raises:
            ValueError: not hexadecimal, or more than 48 bits.
        """
        value = int(text, 16)
        if not 0 <= value <= WORD:
            raise ValueError(f"expected 48 bits; found {text}")
        return cls(value)

    def __str__(self) -> str:
        return f"{int(self):012x}"

    @property
    def words(self) -> tuple[int, int, int]:
        """D15:0, D31:16, D47:32."""
        return self & 0xFFFF, self >> 16 & 0xFFFF, self >> 32

    @property
    def next_page(self) -> bool:
        """NP: another page follows."""
        return bool(self & NEXT_PAGE)

    @property
    def acknowledge(self) -> bool:
        """Ack: three pages of the other end were received."""
        return bool(self & ACKNOWLEDGE)

    @property
    def toggle(self) -> bool:
        """T of a next page; of a base page the bit in its place."""
        return bool(self & TOGGLE)

    @property
    def nonce(self) -> int:
        """Transmitted nonce of a base page."""
        return self >> NONCE_SHIFT & 31

    @property
    def echoed_nonce(self) -> int:
        """Echoed nonce of a base page."""
        return self >> ECHO_SHIFT & 31

    @property
    def remote_fault(self) -> bool:
        """RF of a base page."""
        return bool(self & REMOTE_FAULT)

    @property
    def message_code(self) -> int | None:
        """The code of a message next page; None if it is unformatted."""
        return self & CODE if self & MESSAGE_PAGE else None

    def replaced(self, mask: int, value: int) -> Codeword:
        """The same with `value` in the bits of `mask`."""
        return Codeword(self & ~mask & WORD | value & mask)


NULL_PAGE = Codeword.message(NULL_MESSAGE)
"""Sent by an end without next pages while the other end has some."""


def nonces(seed: int | str | None = None) -> Iterator[int]:
    """Pseudorandom 5-bit numbers (73.6.3: a new one at each entry into ABILITY DETECT)."""
    source = random.Random(seed)  # noqa: S311 - a nonce, not a secret
    while True:
        yield source.randrange(32)
