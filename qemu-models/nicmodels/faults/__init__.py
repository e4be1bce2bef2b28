# SPDX-License-Identifier: MIT
"""Fault injection: named points where a model misbehaves on request, the groups that models share, and what they do to frames."""
