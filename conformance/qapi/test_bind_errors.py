# SPDX-License-Identifier: GPL-2.0-or-later
"""Bind requests that the kernel must reject: with the right errno, an extack message over netlink, and no side effects."""

from __future__ import annotations

import errno

import pytest
from plugfest.dut.dut import TCP_DATA_SPLIT_DISABLED
from plugfest.queues.memory_provider import BEYOND, DmabufProvider, IoUringProvider
from plugfest.requirements.requirement import requirement

OPS = "include/net/netdev_queues.h, struct netdev_queue_mgmt_ops"
BIND = (
    "Documentation/networking/devmem.rst, NIC Setup (since Linux 6.12); net/core/netdev_rx_queue.c, netif_mp_open_rxq"
)
EXT_ACK = "Documentation/userspace-api/netlink/intro.rst, Ext ACK"
FAULTS = ("program:qapi.error-lost", "program:qapi.other-errno")
HUGE_PAGES = 2
"""Huge pages of 2 MiB, as much as the memory of a provider."""


@pytest.fixture
def check_bind_error(config_unchanged, evidence):
    """``check_bind_error(memory, 3, errno.EINVAL)``: binding fails with this errno, over netlink with an extack message; no effects."""

    def check(memory, queue, *expected):
        with config_unchanged():
            error = memory.try_bind(queue)
        evidence("error", str(error))
        assert error is not None, "expected an error, but the kernel bound the memory"
        assert error.errno in expected, str(error)
        # io_uring's registration has no extended acknowledgement.
        assert error.extack or memory.kind == IoUringProvider.kind, f"the error has no extack message: {error}"

    return check


@pytest.fixture
def huge_pages(guest, defer):
    """True; the guest has reserved huge pages, so that memory can be contiguous beyond one page."""
    path = "/proc/sys/vm/nr_hugepages"
    before = guest.agent.call("files.read", path=path)
    guest.agent.call("files.write", path=path, text=str(int(before) + HUGE_PAGES))
    defer(guest.agent.call, "files.write", path=path, text=before)
    return True


@requirement(
    "QAPI-REFUSE-01",
    level="MUST",
    source=f"{OPS}; net/core/netdev-genl.c, netdev_nl_bind_rx_doit",
    falsified_by=FAULTS,
)
def test_no_queue_management(dut, kind, allocate, config_unchanged, check_traffic, step, skip_unsupported, evidence):
    """If the driver has no queue management operations, binding fails with EOPNOTSUPP, and the interface is unaffected."""
    memory = allocate(kind)
    with step("Ask to bind to a queue that no interface has, which shows whether the driver has the operations"):
        probed = allocate().try_bind(BEYOND)
        if probed is not None and probed.errno in {errno.EINVAL, errno.ERANGE}:
            skip_unsupported("the lack of queue management", evidence=f"binding to queue {BEYOND} gave {probed}")
    with step("Ask to bind memory to the last receive queue: queues, page pools, settings and link stay as they were"):
        with config_unchanged():
            error = memory.try_bind(dut.queues() - 1)
        evidence("error", str(error))
    with step("The kernel returns EOPNOTSUPP"):
        assert error is not None, (
            "expected EOPNOTSUPP, but the kernel bound the memory with the driver's default settings"
        )
        assert error.errno == errno.EOPNOTSUPP, str(error)
    with step("Frames cross the link both ways, once and unchanged"):
        check_traffic()


@requirement("QAPI-REFUSE-02", level="MUST", source=f"{BIND}; {EXT_ACK}", falsified_by=FAULTS)
def test_header_split_off(
    queue_management, kind, allocate, check_bind_error, settings, traffic, step, skip_unsupported
):
    """Without header split, the kernel refuses to bind memory to a queue: EINVAL."""
    memory = allocate(kind)
    rings = queue_management.get("rings") or {}
    with step("Turn header split off, if the driver has it"):
        header_split_off = (0, TCP_DATA_SPLIT_DISABLED)
        if rings.get("tcp-data-split", 0) not in header_split_off and settings.try_set(
            "rings", tcp_data_split=TCP_DATA_SPLIT_DISABLED
        ):
            skip_unsupported("header split that can be turned off", evidence=rings)
    with step("Ask to bind memory to the last receive queue"):
        check_bind_error(memory, queue_management.queues() - 1, errno.EINVAL)
    with step("Frames of every size reach the stack"):
        traffic.check_delivery()


@requirement("QAPI-REFUSE-03", level="MUST", source=f"{BIND}; {EXT_ACK}", falsified_by=FAULTS)
def test_xdp_program_attached(header_split, kind, allocate, check_bind_error, settings, xdp, traffic, step):
    """With an XDP program attached, even a generic one, the kernel refuses to bind memory to a queue: EEXIST."""
    memory = allocate(kind)
    with step("Attach a generic program with fragments support"):
        settings.restore_features()
        xdp.attach("xdp_pass_frags", "generic")
        traffic.ready()
    with step("Ask to bind memory to the last receive queue"):
        check_bind_error(memory, header_split.queues() - 1, errno.EEXIST)


@requirement("QAPI-REFUSE-04", level="MUST", source=f"{BIND}; {EXT_ACK}", falsified_by=FAULTS)
def test_no_such_queue(header_split, kind, allocate, check_bind_error, step):
    """The kernel refuses to bind memory to a queue that the interface does not have: EINVAL or ERANGE."""
    memory = allocate(kind)
    with step("Ask to bind memory to the queue after the last"):
        check_bind_error(memory, header_split.queues(), errno.EINVAL, errno.ERANGE)


@requirement("QAPI-REFUSE-05", level="MUST", source=f"{BIND}; {EXT_ACK}", falsified_by=FAULTS)
def test_queue_already_bound(last_queue, kind, allocate, check_bind_error, view, step):
    """The kernel refuses to bind memory to a queue that already has some: EEXIST, and the first stays bound."""
    with step("Bind memory to the last receive queue, and ask to bind other memory to it"):
        first, second = DmabufProvider.kind, kind
        allocate(first).bind(last_queue)
        check_bind_error(allocate(second), last_queue, errno.EEXIST)
    with step("The first memory is still bound"):
        assert view.bound() == {last_queue: first}


@requirement("QAPI-REFUSE-06", level="MUST", source=f"{BIND}; {EXT_ACK}", falsified_by=FAULTS)
def test_queue_with_af_xdp(header_split, kind, allocate, check_bind_error, guest, defer, step):
    """The kernel refuses to bind memory to a queue that an AF_XDP socket uses: EBUSY."""
    queue = header_split.queues() - 1
    memory = allocate(kind)
    with step("Bind an AF_XDP socket in copy mode to the last receive queue"):
        socket = guest.agent.call("xsk.bind", ifname=header_split.ifname, queue=queue)
        defer(guest.agent.call, "handle.close", handle=socket)
    with step("Ask to bind memory to the same queue"):
        check_bind_error(memory, queue, errno.EBUSY)


@requirement(
    "QAPI-REFUSE-07",
    level="MUST",
    source="Documentation/netlink/specs/netdev.yaml, bind-rx: uns-admin-perm; io_uring/zcrx.c, CAP_NET_ADMIN",
    falsified_by=("program:qapi.error-lost",),
)
@pytest.mark.parametrize("confinement", ["drop_privileges", "unshare_user"])
def test_no_capability(header_split, kind, allocate, worker, config_unchanged, confinement, step):
    """A process without CAP_NET_ADMIN in the network namespace cannot bind memory: EPERM."""
    process = worker()
    memory = allocate(kind, process)
    with step("Drop the capability in a process, or move the process to a user namespace of its own"):
        process.call(f"confinement.{confinement}")
    with step("Have this process ask to bind memory to the last receive queue"):
        with config_unchanged():
            error = memory.try_bind(header_split.queues() - 1)
        assert error is not None, "expected EPERM, but the kernel bound the memory"
        assert error.errno == errno.EPERM, str(error)


@requirement(
    "QAPI-REFUSE-08",
    level="MUST",
    source=f"{OPS}: ndo_queue_mem_alloc and ndo_queue_mem_free may be called while the interface is closed",
    falsified_by=("program:qapi.not-bound", "program:qapi.other-errno"),
)
def test_interface_down(header_split, kind, allocate, view, settings, traffic, step, evidence):
    """While the interface is down, binding fails without side effects, or takes effect when the interface is up."""
    queue = header_split.queues() - 1
    memory = allocate(kind)
    with step("Take the interface down, and ask to bind memory to the last receive queue"):
        settings.set_link(up=False)
        error = memory.try_bind(queue)
        evidence("error", str(error))
        assert error is None or error.errno in {errno.EAGAIN, errno.ENETDOWN, errno.EBUSY}, str(error)
    with step("Take it up: the memory is bound if, and only if, the kernel accepted the request"):
        header_split.set_link(up=True)
        settings.ready()
        assert view.bound() == ({} if error else {queue: memory.kind})
    with step("With the memory unbound, frames of every size reach the stack"):
        memory.unbind()
        traffic.check_delivery()


@requirement(
    "QAPI-REFUSE-09",
    level="MUST",
    source=f"{OPS}, supported_params, QCFG_RX_PAGE_SIZE; Documentation/netlink/specs/netdev.yaml, rx-page-size",
    falsified_by=FAULTS,
)
@pytest.mark.parametrize(("size", "expected"), [(8192, errno.EOPNOTSUPP), (12288, errno.EINVAL)])
def test_page_size(header_split, huge_pages, allocate, view, size, expected, step, skip_unsupported, evidence):
    """The kernel refuses an rx-page-size that the driver does not support (EOPNOTSUPP) or that is not a power of 2 (EINVAL)."""
    memory = allocate(huge=huge_pages)
    queue, before = header_split.queues() - 1, view.states()
    with step("Ask to bind memory to the last receive queue with another page size"):
        error = memory.try_bind(queue, page_size=size)
        evidence("error", str(error))
    with step(
        "The kernel returns the error and the queues are as before; or the driver supports the size and the memory is bound"
    ):
        if expected == errno.EOPNOTSUPP and error is None:
            assert view.bound() == {queue: memory.kind}, "the kernel accepted the request, and the memory is not bound"
            skip_unsupported("the lack of other page sizes", evidence=f"the kernel accepted pages of {size} bytes")
        assert error is not None, "expected an error, but the kernel accepted the request"
        assert error.errno == expected, str(error)
        assert error.extack, f"the error has no extack message: {error}"
        assert view.states() == before
