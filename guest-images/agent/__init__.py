# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's resident agent: carries out what a test asks for, without starting a process each time.

``PYTHONPATH=/usr/lib/plugfest python3 -m agent`` serves JSON lines on TCP port 2223. The modules here serve
the protocol; what the agent can do is in folders, listed in `agent.methods` from the lowest to the
highest: a folder imports from itself and from lower ones only. Standard library only: the guest has nothing else.
"""
