# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything a run needs that is fetched or built, once, into the cache."""
