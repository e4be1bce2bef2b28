# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run found, as plain text that kernel developers can read, retype and act on."""
