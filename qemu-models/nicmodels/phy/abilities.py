# SPDX-License-Identifier: MIT
"""Backplane and copper cable abilities: the contents of base pages, and the link that two of them resolve to.

Sources: IEEE 802.3, clause 73: 73.6 (base page), table 73-4 (technology ability field), table 73-5 (priority resolution),
73.6.5 (FEC), 73.7.4.1 (parallel detection); table 28B-3 (pause resolution).

Checked against Linux: bits A0 to A12 (include/uapi/linux/mdio.h, MDIO_AN_C73_*), pause, FEC and remote fault, and the priorities from
100GBASE-CR4 down (phylink_resolve_c73). Unverified, without a copy of the standard: A13 to A18 and their priorities (IEEE 802.3cd,
802.3ck), the priorities of 2.5GBASE-KX and 5GBASE-KR, and which FEC request has priority at 25 Gb/s a lane. A19 to A22 are taken as
reserved, and ignored.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from nicmodels.phy.page import (
    ASYMMETRIC,
    BASE_R_FEC_REQUEST,
    FEC_ABILITY,
    FEC_REQUEST,
    NONCE_SHIFT,
    PAUSE,
    REMOTE_FAULT,
    RS_FEC_REQUEST,
    SELECTOR,
    TECHNOLOGY_SHIFT,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


class Technology(enum.Enum):
    """A physical layer. The value is its bit A0, A1, ... in the technology ability field, and its speed in Mbit/s.

    The members are in the order of table 73-5 (see the module's docstring on how much of it is verified): two ends use the
    first that both have.
    """

    KR4_400G = ("400GBASE-KR4/CR4", 18, 400000)
    KR2_200G = ("200GBASE-KR2/CR2", 17, 200000)
    KR4_200G = ("200GBASE-KR4/CR4", 15, 200000)
    KR1_100G = ("100GBASE-KR1/CR1", 16, 100000)
    KR2_100G = ("100GBASE-KR2/CR2", 14, 100000)
    CR4_100G = ("100GBASE-CR4", 8, 100000)
    KR4_100G = ("100GBASE-KR4", 7, 100000)
    KP4_100G = ("100GBASE-KP4", 6, 100000)
    CR10_100G = ("100GBASE-CR10", 5, 100000)
    KR_50G = ("50GBASE-KR/CR", 13, 50000)
    CR4_40G = ("40GBASE-CR4", 4, 40000)
    KR4_40G = ("40GBASE-KR4", 3, 40000)
    KR_25G = ("25GBASE-KR/CR", 10, 25000)
    KR_S_25G = ("25GBASE-KR-S/CR-S", 9, 25000)
    KR_10G = ("10GBASE-KR", 2, 10000)
    KX4_10G = ("10GBASE-KX4", 1, 10000)
    KR_5G = ("5GBASE-KR", 12, 5000)
    KX_2500M = ("2.5GBASE-KX", 11, 2500)
    KX_1000M = ("1000BASE-KX", 0, 1000)

    def __init__(self, label: str, bit: int, speed: int) -> None:
        self.label = label
        self.bit = bit
        self.speed = speed

    @classmethod
    def named(cls, label: str) -> Technology:
        """The technology with a name as the standard writes it.

        Raises:
            ValueError: there is none.
        """
        for technology in cls:
            if technology.label == label:
                return technology
        raise ValueError(f"expected one of {', '.join(t.label for t in cls)}; found {label!r}")


DETECTABLE = frozenset((Technology.KX_1000M, Technology.KX4_10G))
"""What a negotiating end detects of an end that does not negotiate (73.7.4.1)."""

_TEN_A_LANE = frozenset((Technology.KR_10G, Technology.KR4_40G, Technology.CR4_40G, Technology.CR10_100G))
_ALWAYS_RS_FEC = frozenset(t for t in Technology if t.speed > 25000) - _TEN_A_LANE


@dataclass(frozen=True)
class Abilities:
    """The abilities of an end.

    Attributes:
        technologies: the physical layers; exactly one if it does not negotiate.
        pause: bit C0, symmetric pause.
        asymmetric_pause: bit C1, ASM_DIR.
        fec: bit F0, BASE-R FEC ability (clause 74) of 10 Gb/s a lane.
        fec_request: bit F1, BASE-R FEC requested for 10 Gb/s a lane.
        rs_fec_request: bit F2, RS-FEC requested for 25 Gb/s a lane.
        base_r_fec_request: bit F3, BASE-R FEC requested for 25 Gb/s a lane.
        remote_fault: bit RF.
        negotiates: sends base pages (clause 73); if false, the end only transmits its one technology.

    Raises:
        ValueError: an end that does not negotiate has none or several technologies.
    """

    technologies: frozenset[Technology]
    pause: bool = False
    asymmetric_pause: bool = False
    fec: bool = False
    fec_request: bool = False
    rs_fec_request: bool = False
    base_r_fec_request: bool = False
    remote_fault: bool = False
    negotiates: bool = True

    def __post_init__(self) -> None:
        if not self.negotiates and len(self.technologies) != 1:
            raise ValueError(f"expected one technology without auto-negotiation; found {self.names()}")

    @classmethod
    def of(cls, *labels: str, **flags: bool) -> Abilities:
        """Abilities by the technologies' names; the flags are the attributes.

        Raises:
            ValueError: unknown technology, or not one where there is no negotiation.
            TypeError: unknown flag.
        """
        return cls(frozenset(Technology.named(label) for label in labels), **flags)

    @classmethod
    def from_json(cls, value: Iterable[str] | Mapping[str, Any]) -> Abilities:
        """The inverse of `to_json`; a plain list of technologies is understood too.

        Raises:
            ValueError: unknown technology or flag.
        """
        flags: dict[str, Any] = dict(value) if isinstance(value, Mapping) else {"technologies": value}
        labels = flags.pop("technologies", ())
        unknown = flags.keys() - set(_FLAGS)
        if unknown:
            raise ValueError(f"expected abilities such as technologies, pause, fec; found {', '.join(sorted(unknown))}")
        return cls.of(*labels, **{name: bool(flag) for name, flag in flags.items()})

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return {"technologies": self.names(), **{name: getattr(self, name) for name in _FLAGS}}

    def names(self) -> list[str]:
        """The technologies' names, the highest priority first."""
        return [technology.label for technology in Technology if technology in self.technologies]

    def at_speed(self, speed: int) -> Abilities:
        """The same with only the technologies of `speed` (Mbit/s).

        Raises:
            ValueError: there is none.
        """
        kept = frozenset(technology for technology in self.technologies if technology.speed == speed)
        if not kept:
            raise ValueError(f"expected a speed of {', '.join(self.names()) or 'no technology'}; found {speed} Mbit/s")
        return replace(self, technologies=kept)

    def base_page(self, nonce: int = 0) -> int:
        """The 48-bit link codeword, D0 being bit 0; echoed nonce, acknowledge and next page are 0."""
        page = SELECTOR | (nonce & 31) << NONCE_SHIFT
        page |= PAUSE * self.pause | ASYMMETRIC * self.asymmetric_pause
        page |= REMOTE_FAULT * self.remote_fault
        page |= FEC_ABILITY * self.fec | FEC_REQUEST * self.fec_request
        page |= RS_FEC_REQUEST * self.rs_fec_request | BASE_R_FEC_REQUEST * self.base_r_fec_request
        for technology in self.technologies:
            page |= 1 << (TECHNOLOGY_SHIFT + technology.bit)
        return page

    @classmethod
    def from_base_page(cls, page: int) -> Abilities:
        """The abilities in a base page; bits of unknown technologies are ignored."""
        return cls(
            frozenset(t for t in Technology if page >> (TECHNOLOGY_SHIFT + t.bit) & 1),
            pause=bool(page & PAUSE),
            asymmetric_pause=bool(page & ASYMMETRIC),
            fec=bool(page & FEC_ABILITY),
            fec_request=bool(page & FEC_REQUEST),
            rs_fec_request=bool(page & RS_FEC_REQUEST),
            base_r_fec_request=bool(page & BASE_R_FEC_REQUEST),
            remote_fault=bool(page & REMOTE_FAULT),
        )


_FLAGS = tuple(each.name for each in fields(Abilities) if each.name != "technologies")


class Pause(NamedTuple):
    """The flow control of an end: whether it may send PAUSE frames, and whether it must obey them."""

    transmit: bool
    receive: bool


_NO_PAUSE = Pause(transmit=False, receive=False)


@dataclass(frozen=True)
class Resolution:
    """A resolved link, from the local end.

    Attributes:
        technology: the physical layer in use.
        pause: flow control of the local end.
        fec: BASE-R FEC (clause 74) is on.
        rs_fec: RS-FEC is on, because it was requested or because the technology has no mode without it.
        negotiated: the ends exchanged base pages; false after parallel detection, or if neither end negotiates.
    """

    technology: Technology
    pause: Pause = _NO_PAUSE
    fec: bool = False
    rs_fec: bool = False
    negotiated: bool = True

    @property
    def speed(self) -> int:
        """Mbit/s."""
        return self.technology.speed

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return {
            "technology": self.technology.label,
            "speed": self.speed,
            "pause": {"transmit": self.pause.transmit, "receive": self.pause.receive},
            "fec": self.fec,
            "rs_fec": self.rs_fec,
            "negotiated": self.negotiated,
        }


def resolve_pause(local: Abilities, partner: Abilities) -> Pause:
    """Flow control of the local end, by table 28B-3."""
    if local.pause and partner.pause:
        return Pause(transmit=True, receive=True)
    if local.asymmetric_pause and partner.asymmetric_pause:
        # Exactly one of the two has PAUSE too: that one receives, the other transmits. If none has, there is no pause.
        return Pause(transmit=partner.pause, receive=local.pause)
    return _NO_PAUSE


def resolve_fec(technology: Technology, local: Abilities, partner: Abilities) -> tuple[bool, bool]:
    """Whether a link that was negotiated has BASE-R FEC, and whether it has RS-FEC (73.6.5).

    At 10 Gb/s a lane both ends must have the ability (F0) and one must request it (F1). At 25 Gb/s every PHY has it, and
    one request is enough (F2, F3); RS-FEC has priority over BASE-R FEC, but -S PHYs have only the latter and take either
    request for it. Faster PHYs always use RS-FEC. Only the rule of 10 Gb/s a lane is verified.
    """
    if technology in _TEN_A_LANE:
        return local.fec and partner.fec and (local.fec_request or partner.fec_request), False
    rs_fec = local.rs_fec_request or partner.rs_fec_request
    base_r = local.base_r_fec_request or partner.base_r_fec_request
    if technology is Technology.KR_25G:
        return base_r and not rs_fec, rs_fec
    if technology is Technology.KR_S_25G:
        return base_r or rs_fec, False
    return False, technology in _ALWAYS_RS_FEC


def resolve(local: Abilities, partner: Abilities) -> Resolution | None:
    """The link between two ends that both transmit; None if they have no technology in common."""
    common = local.technologies & partner.technologies
    if local.negotiates and partner.negotiates:
        for technology in Technology:
            if technology in common:
                fec, rs_fec = resolve_fec(technology, local, partner)
                return Resolution(technology, resolve_pause(local, partner), fec, rs_fec)
        return None
    if local.negotiates or partner.negotiates:
        common &= DETECTABLE
    for technology in common:
        return Resolution(technology, rs_fec=technology in _ALWAYS_RS_FEC, negotiated=False)
    return None
