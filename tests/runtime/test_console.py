# SPDX-License-Identifier: GPL-2.0-or-later
"""The console: every byte is kept, and the kernel's warnings, oopses and panics are found."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugfest.deadline import Deadline
from plugfest.machine import qemu
from plugfest.machine.console import Console, find_problems

OOPS = """\
[   12.1] ixgbe 0000:01:00.0 eth0: NIC Link is Up 10 Gbps
[   13.000000] BUG: kernel NULL pointer dereference, address: 0000000000000010
[   13.000010] #PF: supervisor read access in kernel mode
[   13.000020] Oops: Oops: 0000 [#1] SMP NOPTI
[   13.000030] CPU: 0 UID: 0 PID: 1 Comm: ethtool Not tainted 7.3.4+deb13-amd64 #1
[   13.000040] Call Trace:
[   13.000050]  <TASK>
[   13.000060]  ixgbe_get_ethtool_stats+0x10/0x20 [ixgbe]
[   13.000070]  </TASK>
[   13.000080] ---[ end trace 0000000000000000 ]---
[   13.000090] Kernel panic - not syncing: Fatal exception
[   13.000100] Kernel Offset: disabled
[   13.000110] ---[ end Kernel panic - not syncing: Fatal exception ]---"""

WARNING = """\
[   20.000000] ------------[ cut here ]------------
[   20.000010] WARNING: drivers/net/ethernet/intel/ixgbe/ixgbe_main.c:3137 at ixgbe_irq_enable+0x10/0x20 [ixgbe], CPU#1: ip/512
[   20.000020] Modules linked in: ixgbe mdio dca
[   20.000030] Call Trace:
[   20.000040]  <TASK>
[   20.000050]  ixgbe_up_complete+0x1/0x2 [ixgbe]
[   20.000060]  </TASK>
[   20.000070] ---[ end trace 0000000000000000 ]---
[   21.000000] ixgbe 0000:01:00.0: after it"""

ONE_LINERS = [
    ("panic", True, "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"),
    ("oops", True, "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP"),
    ("oops", True, "BUG: unable to handle page fault for address: ffffc90000000000"),
    ("oops", True, "Oops: invalid opcode: 0000 [#1] SMP"),
    ("BUG", True, "kernel BUG at net/core/skbuff.c:211!"),
    ("BUG", True, "BUG: scheduling while atomic: ip/512/0x00000002"),
    ("BUG", True, "BUG: sleeping function called from invalid context at mm/slab.h:2"),
    ("BUG", True, "BUG: KASAN: slab-use-after-free in ixgbe_clean_rx_irq+0x1/0x2"),
    ("BUG", True, "BUG: Bad page state in process ip  pfn:1234"),
    ("WARNING", False, "WARNING: CPU: 1 PID: 33 at net/core/dev.c:6100 dev_disable_lro+0x1/0x2"),
    ("WARNING", False, "WARNING: at ixgbe_irq_enable+0x10/0x20 [ixgbe], CPU#1: ip/512"),
    ("hung task", True, "INFO: task ip:512 blocked for more than 120 seconds."),
    ("hung task", True, "INFO: task kworker/u4:0:11 blocked in I/O wait for more than 241 seconds."),
    ("soft lockup", True, "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [ip:512]"),
    ("soft lockup", True, "watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 0"),
    ("rcu stall", True, "rcu: INFO: rcu_preempt self-detected stall on CPU"),
    ("rcu stall", True, "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"),
    ("NETDEV WATCHDOG", False, "ixgbe 0000:01:00.0 eth0: NETDEV WATCHDOG: CPU: 1: transmit queue 0 timed out 5376 ms"),
    ("lockdep", False, "WARNING: possible circular locking dependency detected"),
    ("UBSAN", False, "UBSAN: array-index-out-of-bounds in drivers/net/ethernet/intel/ixgbe/ixgbe_main.c:1:2"),
    ("refcount", False, "refcount_t: underflow; use-after-free."),
    ("leaked reference", False, "unregister_netdevice: waiting for eth0 to become free. Usage count = 2"),
    ("checksum", False, "eth0: hw csum failure"),
    ("call trace", False, "Call Trace:"),
]

HARMLESS = [
    "ixgbe 0000:01:00.0: Multiqueue Enabled: Rx Queue count = 2",
    "tsc: Unable to calibrate against PIT",
    "random: crng reseeded due to virtual machine fork",
    "ixgbe 0000:01:00.0 eth0: Reset adapter",
    "warning: `ip' uses wireless extensions which will stop working",
    "Debugging bugs is no oops",
    "plugfest: mark 1234",
]


@pytest.mark.parametrize("stamp", ["", "[   12.345678] ", "<4>[   12.345678] ", "[   12.345678][ T1234] "])
@pytest.mark.parametrize(("kind", "fatal", "line"), ONE_LINERS)
def test_each_kind_is_found(kind: str, fatal: bool, line: str, stamp: str) -> None:
    found = find_problems(["before", stamp + line, "after"])
    assert [(problem.kind, problem.fatal, problem.title, problem.line) for problem in found] == [(kind, fatal, line, 1)]
    assert stamp + line in found[0].excerpt


@pytest.mark.parametrize("line", HARMLESS)
def test_harmless_lines(line: str) -> None:
    assert find_problems([f"[   12.345678] {line}"]) == []


def test_an_oops_its_trace_and_its_panic_are_one_problem() -> None:
    (problem,) = find_problems(OOPS.splitlines())
    assert (problem.kind, problem.fatal, problem.line) == ("oops", True, 1)
    assert problem.title == "BUG: kernel NULL pointer dereference, address: 0000000000000010"
    assert problem.excerpt == "\n".join(OOPS.splitlines()[1:])


TRACE = """\
[   13.000000] BUG: kernel NULL pointer dereference, address: 0000000000000480
[   13.000010] Oops: Oops: 0000 [#1] SMP NOPTI
[   13.000020] RIP: 0010:eth_type_trans+0x1b/0x1a0
[   13.000030] Code: 0f 1f 44 00 00
[   13.000040] Call Trace:
[   13.000050]  <IRQ>
[   13.000060]  ? show_regs+0x1/0x2
[   13.000070]  xdp_build_skb_from_buff+0x9f/0x160
[   13.000080]  gve_rx_poll_dqo.isra.0+0x5d0/0xa40 [gve]
[   13.000090]  gve_napi_poll_dqo+0x1/0x2 [gve]
[   13.000100]  __napi_poll+0x1/0x2
[   13.000110]  net_rx_action+0x1/0x2
[   13.000120]  </IRQ>
[   13.000130] RIP: 0033:0x7f0123456789
[   13.000140] ---[ end trace 0000000000000000 ]---
[   13.000150] RIP: 0010:eth_type_trans+0x1b/0x1a0"""


@pytest.mark.parametrize(
    ("report", "where"),
    [
        (TRACE, "eth_type_trans < xdp_build_skb_from_buff < gve_rx_poll_dqo.isra.0 < gve_napi_poll_dqo < __napi_poll"),
        (OOPS, "ixgbe_get_ethtool_stats"),
        (WARNING, "ixgbe_up_complete"),
    ],
)
def test_a_summary_says_where(report: str, where: str) -> None:
    (problem,) = find_problems(report.splitlines())
    assert problem.summary == f"{problem.title} in {where}"


def test_a_summary_without_a_trace_is_the_title() -> None:
    (problem,) = find_problems(
        ["eth0: NETDEV WATCHDOG: CPU: 1: transmit queue 1 timed out 5000 ms", "eth0: Reset adapter"]
    )
    assert problem.summary == problem.title


def test_two_warnings_are_two_problems_each_with_its_excerpt() -> None:
    first, second = find_problems((WARNING + "\n" + WARNING.replace("3137", "3138")).splitlines())
    assert "3137" in first.title
    assert "3138" in second.title
    assert first.excerpt == "\n".join(WARNING.splitlines()[:-1])
    assert (first.kind, first.fatal) == ("WARNING", False)


@given(st.lists(st.text()))
def test_any_lines_are_accepted(lines: list[str]) -> None:
    for problem in find_problems(lines):
        assert lines[problem.line]


class Port:
    """The guest's end of a console."""

    def __init__(self, folder: Path) -> None:
        self.ours, theirs = socket.socketpair()
        self.console = Console(theirs, folder / "console.log")

    def write(self, text: str) -> None:
        """Write, and wait until it was read."""
        mark = self.console.mark()
        self.ours.sendall(text.encode() + b"\r\n")
        last = text.splitlines()[-1]
        assert self.console.wait_for(lambda line: line == last, Deadline.after(5), mark=mark) is not None


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    made = Port(tmp_path)
    yield made
    made.ours.close()
    made.console.close()


def test_log_holds_every_byte(port: Port) -> None:
    data = bytes(range(256)) * 500
    port.ours.sendall(data)
    port.ours.close()
    port.console.join()
    assert port.console.log.read_bytes() == data
    assert port.console.ended


def test_problems_since_a_mark(port: Port) -> None:
    port.write(WARNING)
    mark = port.console.mark()
    port.write("[   30.0] all is well")
    assert port.console.problems_since(mark) == []
    assert port.console.text_since(mark) == "[   30.0] all is well\n"
    assert len(port.console.problems_since(0)) == 1
    port.write(WARNING)
    (problem,) = port.console.problems_since(mark)
    assert port.console.lines_since(0)[problem.line].endswith(problem.title)


def test_panic_is_noticed(port: Port) -> None:
    assert port.console.panic is None
    port.write(OOPS)
    assert port.console.panic == "Kernel panic - not syncing: Fatal exception"


def test_escape_sequences_of_the_firmware_are_left_out(port: Port) -> None:
    port.write("\x1bc\x1b[?7l\x1b[2JSeaBIOS (version 1.17)\n[    0.0] Linux")
    assert port.console.lines_since(0) == ["SeaBIOS (version 1.17)", "[    0.0] Linux"]


def test_wait_ends_with_the_deadline_and_with_the_console(port: Port) -> None:
    assert port.console.wait_for(lambda _: False, Deadline.after(0.01)) is None
    port.ours.sendall(b"last output without an end of line")
    port.ours.close()
    assert port.console.wait_for(lambda line: line == "never", Deadline.after(60)) is None
    assert port.console.tail() == "last output without an end of line"


def test_several_guests_share_a_log(tmp_path: Path) -> None:
    for number in range(2):
        port = Port(tmp_path)
        port.write(f"guest {number}")
        port.ours.close()
        port.console.close()
        port.console.close()
    assert (tmp_path / "console.log").read_bytes() == b"guest 0\r\nguest 1\r\n"


def test_close_does_not_wait_for_a_guest_that_lives(tmp_path: Path) -> None:
    port = Port(tmp_path)
    port.console.close()
    port.ours.close()


def test_close_reads_what_a_pipe_still_holds(tmp_path: Path) -> None:
    reader, writer = qemu._console_pipe()
    lines = [f"line {number:05}" for number in range(90_000)]
    data = "".join(f"{line}\n" for line in lines).encode()
    assert len(data) > 900_000
    os.set_blocking(writer.fileno(), False)
    assert writer.write(data) == len(data), "it has room for as much while nobody reads"
    writer.close()
    console = Console(reader, tmp_path / "console.log")
    console.close()
    assert (tmp_path / "console.log").read_bytes() == data
    assert console.lines_since(0) == lines


def test_what_was_written_before_the_close_is_read_though_the_writer_lives(port: Port) -> None:
    port.ours.sendall(b"last words\r\n")
    port.console.close()
    assert port.console.tail() == "last words"
