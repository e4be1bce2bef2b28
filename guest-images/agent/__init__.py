# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent that lives in the guest: what a test wants done there, without starting a process for it.

``PYTHONPATH=/usr/lib/plugfest python3 -m agent`` serves JSON lines on ``/run/plugfest/agent.sock``. A method
``module.function`` is the function of that name in `agent.module`, if it carries the `exposed` decorator; a module is
imported when first asked for. Standard library only: the guest has nothing else.
"""
