# SPDX-License-Identifier: GPL-2.0-or-later
"""The link segment of a model, to the partner of its profile."""

from __future__ import annotations

import pytest
from nicmodels.clock import ManualClock
from nicmodels.models.xgbe.variants import VARIANTS
from nicmodels.phy import Technology
from nicmodels.phy.link_segment import NOT_NEGOTIATING, LocalSegment


def test_a_partner_has_all_of_ten_gigabit_by_default() -> None:
    abilities = LocalSegment(ManualClock()).partner.describe()["abilities"]
    assert set(abilities["technologies"]) == {"10GBASE-KR", "10GBASE-KX4", "1000BASE-KX"}
    assert abilities["negotiates"]


@pytest.mark.parametrize("settings", [NOT_NEGOTIATING, VARIANTS["detect"].partner])
def test_a_partner_of_a_profile_s(settings: dict[str, object]) -> None:
    segment = LocalSegment(ManualClock(), settings)
    abilities = segment.partner.describe()["abilities"]
    assert abilities["technologies"] == [Technology.KX_1000M.label]
    assert not abilities["negotiates"]


def test_a_profile_that_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="10GBASE-T"):
        LocalSegment(ManualClock(), {"abilities": {"technologies": ["10GBASE-T"]}})
