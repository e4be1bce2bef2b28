# SPDX-License-Identifier: GPL-2.0-or-later
"""One run: its plan, its journal, its namespaces on the host."""
