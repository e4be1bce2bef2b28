# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run tests, as far as known issues depend on it."""

from __future__ import annotations

from plugfest.provision.modules import base_name, module_info
from plugfest.requirements import drivers
from plugfest.requirements.known_issues import Subject
from plugfest.run.plan import HardwarePlan, Plan


def subject_of(plan: Plan) -> Subject:
    """Return what the run tests. With ``--module`` the driver is the module of its name, or else the one loaded last."""
    module = version = None
    if plan.extra_modules and not plan.in_tree:
        name = drivers.find(plan.driver).module
        path = next(
            (each for each in plan.extra_modules if base_name(each.name) == name.replace("-", "_")),
            plan.extra_modules[-1],
        )
        module, version = base_name(path.name), module_info(path.read_bytes()).get("version")
    hardware = isinstance(plan, HardwarePlan)
    if isinstance(plan, HardwarePlan) and plan.device["out-of-tree"]:
        module, version = base_name(str(plan.device["module"])), plan.device["driver-version"]
    return Subject(plan.driver, plan.release, plan.profile, module, version, hardware)
