# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's kernel outside its network stack: files, clocks, the log, tracepoints; and the calls to libc that all folders share."""
