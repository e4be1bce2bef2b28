# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be refused: with an errno, with words where the kernel has a place for them, and with nothing changed."""

from __future__ import annotations

import errno

import pytest
from plugfest.dut.dut import TCP_DATA_SPLIT_DISABLED
from plugfest.queues.memory_provider import BEYOND, DmabufProvider, IoUringProvider
from plugfest.requirements.requirement import requirement

OPS = "include/net/netdev_queues.h, struct netdev_queue_mgmt_ops"
BIND = "Documentation/networking/devmem.rst, NIC Setup; net/core/netdev_rx_queue.c, netif_mp_open_rxq"
WORDS = "Documentation/userspace-api/netlink/intro.rst, Ext ACK"
FAULTS = ("program:qapi.error-lost", "program:qapi.other-errno")
HUGE_PAGES = 2
"""As many of 2 MiB as the memory is long."""


@pytest.fixture
def check_refused(unchanged, evidence):
    """``check_refused(memory, 3, errno.EINVAL)``: the refusal has this errno, netlink's has words, nothing has changed."""

    def check(memory, queue, *wanted):
        with unchanged():
            refused = memory.try_bind(queue)
        evidence("refusal", str(refused))
        assert refused is not None, "it was accepted"
        assert refused.errno in wanted, str(refused)
        # io_uring's registration has no extended acknowledgement.
        assert refused.extack or memory.kind == IoUringProvider.kind, f"only the errno came: {refused}"

    return check


@pytest.fixture
def huge_pages(guest, defer):
    """Memory of the guest that is contiguous over more than a page: True."""
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
def test_no_queue_management(dut, kind, allocate, unchanged, check_traffic, step, skip_unsupported, evidence):
    """A driver that does not stop and start single queues refuses to bind memory, with EOPNOTSUPP, and stays intact."""
    memory = allocate(kind)
    with step("Find out, by a queue that no interface has, whether the driver has the operations"):
        probed = allocate().try_bind(BEYOND)
        if probed is not None and probed.errno in {errno.EINVAL, errno.ERANGE}:
            skip_unsupported("the lack of queue management", evidence=f"binding to queue {BEYOND} gave {probed}")
    with step("Ask to bind memory to the last receive queue: queues, page pools, settings and link stay as they were"):
        with unchanged():
            refused = memory.try_bind(dut.queues() - 1)
        evidence("refusal", str(refused))
    with step("It is refused with EOPNOTSUPP"):
        assert refused is not None, "it was accepted with the settings that the driver starts with"
        assert refused.errno == errno.EOPNOTSUPP, str(refused)
    with step("Frames cross the link both ways, once and unchanged"):
        check_traffic()


@requirement("QAPI-REFUSE-02", level="MUST", source=f"{BIND}; {WORDS}", falsified_by=FAULTS)
def test_header_split_off(managed, kind, allocate, check_refused, settings, traffic, step, skip_unsupported):
    """Without header split, memory is not bound to a queue: EINVAL."""
    memory = allocate(kind)
    rings = managed.get("rings") or {}
    with step("Turn header split off, where there is any"):
        whole = (0, TCP_DATA_SPLIT_DISABLED)
        if rings.get("tcp-data-split", 0) not in whole and settings.try_set("rings", tcp_data_split=whole[1]):
            skip_unsupported("header split that can be turned off", evidence=rings)
    with step("Ask to bind memory to the last receive queue"):
        check_refused(memory, managed.queues() - 1, errno.EINVAL)
    with step("Frames of every size reach the stack"):
        traffic.check_delivery()


@requirement("QAPI-REFUSE-03", level="MUST", source=f"{BIND}; {WORDS}", falsified_by=FAULTS)
def test_program_attached(splitting, kind, allocate, check_refused, settings, xdp, traffic, step):
    """With an XDP program attached, even a generic one, memory is not bound to a queue: EEXIST."""
    memory = allocate(kind)
    with step("Attach a generic program that takes frames in several buffers"):
        settings.restore_features()
        xdp.attach("xdp_pass_frags", "generic")
        traffic.ready()
    with step("Ask to bind memory to the last receive queue"):
        check_refused(memory, splitting.queues() - 1, errno.EEXIST)


@requirement("QAPI-REFUSE-04", level="MUST", source=f"{BIND}; {WORDS}", falsified_by=FAULTS)
def test_no_such_queue(splitting, kind, allocate, check_refused, step):
    """Memory is not bound to a queue that the interface does not have: EINVAL or ERANGE."""
    memory = allocate(kind)
    with step("Ask to bind memory to the queue after the last"):
        check_refused(memory, splitting.queues(), errno.EINVAL, errno.ERANGE)


@requirement("QAPI-REFUSE-05", level="MUST", source=f"{BIND}; {WORDS}", falsified_by=FAULTS)
def test_bound_already(spare, kind, allocate, check_refused, view, step):
    """Memory is not bound to a queue that has some: EEXIST, and the first stays bound."""
    with step("Bind memory to the last receive queue, and ask to bind other memory to it"):
        first, second = DmabufProvider.kind, kind
        allocate(first).bind(spare)
        check_refused(allocate(second), spare, errno.EEXIST)
    with step("The first is still bound"):
        assert view.bound() == {spare: first}


@requirement("QAPI-REFUSE-06", level="MUST", source=f"{BIND}; {WORDS}", falsified_by=FAULTS)
def test_queue_with_af_xdp(splitting, kind, allocate, check_refused, guest, defer, step):
    """Memory is not bound to a queue that an AF_XDP socket has: EBUSY."""
    queue = splitting.queues() - 1
    memory = allocate(kind)
    with step("Bind an AF_XDP socket in copy mode to the last receive queue"):
        socket = guest.agent.call("xsk.bind", ifname=splitting.ifname, queue=queue)
        defer(guest.agent.call, "handle.close", handle=socket)
    with step("Ask to bind memory to it"):
        check_refused(memory, queue, errno.EBUSY)


@requirement(
    "QAPI-REFUSE-07",
    level="MUST",
    source="Documentation/netlink/specs/netdev.yaml, bind-rx: uns-admin-perm; io_uring/zcrx.c, CAP_NET_ADMIN",
    falsified_by=("program:qapi.error-lost",),
)
@pytest.mark.parametrize("confinement", ["drop_privileges", "unshare_user"])
def test_no_capability(splitting, kind, allocate, worker, unchanged, confinement, step):
    """A process without CAP_NET_ADMIN in the network namespace cannot bind memory: EPERM."""
    process = worker()
    memory = allocate(kind, process)
    with step("Take the capability from a process, altogether or by a user namespace of its own"):
        process.call(f"confinement.{confinement}")
    with step("Have it ask to bind memory to the last receive queue"):
        with unchanged():
            refused = memory.try_bind(splitting.queues() - 1)
        assert refused is not None, "it was accepted"
        assert refused.errno == errno.EPERM, str(refused)


@requirement(
    "QAPI-REFUSE-08",
    level="MUST",
    source=f"{OPS}: ndo_queue_mem_alloc and ndo_queue_mem_free may be called while the interface is closed",
    falsified_by=("program:qapi.not-bound", "program:qapi.other-errno"),
)
def test_interface_down(splitting, kind, allocate, view, settings, traffic, step, evidence):
    """While the interface is down, binding is refused for that and changes nothing, or shows when it is up."""
    queue = splitting.queues() - 1
    memory = allocate(kind)
    with step("Take the interface down, and ask to bind memory to the last receive queue"):
        settings.set_link(up=False)
        refused = memory.try_bind(queue)
        evidence("refusal", str(refused))
        assert refused is None or refused.errno in {errno.EAGAIN, errno.ENETDOWN, errno.EBUSY}, str(refused)
    with step("Take it up: the memory is bound if it was accepted, and only then"):
        splitting.set_link(up=True)
        settings.ready()
        assert view.bound() == ({} if refused else {queue: memory.kind})
    with step("With the memory unbound, frames of every size reach the stack"):
        memory.unbind()
        traffic.check_delivery()


@requirement(
    "QAPI-REFUSE-09",
    level="MUST",
    source=f"{OPS}, supported_params, QCFG_RX_PAGE_SIZE; Documentation/netlink/specs/netdev.yaml, rx-page-size",
    falsified_by=FAULTS,
)
@pytest.mark.parametrize(("size", "wanted"), [(8192, errno.EOPNOTSUPP), (12288, errno.EINVAL)])
def test_page_size(splitting, huge_pages, allocate, view, size, wanted, step, skip_unsupported, evidence):
    """Pages of another size are refused with EOPNOTSUPP where the driver has none, and such as are no power of 2 always."""
    memory = allocate(huge=huge_pages)
    queue, before = splitting.queues() - 1, view.states()
    with step("Ask to bind memory to the last receive queue in pages of another size"):
        refused = memory.try_bind(queue, page_size=size)
        evidence("refusal", str(refused))
    with step("It is refused and the queues are as before, or the driver has such pages and it is bound"):
        if wanted == errno.EOPNOTSUPP and refused is None:
            assert view.bound() == {queue: memory.kind}, "it was accepted, and is not bound"
            skip_unsupported("the lack of other page sizes", evidence=f"pages of {size} octets were accepted")
        assert refused is not None, "it was accepted"
        assert refused.errno == wanted, str(refused)
        assert refused.extack, f"only the errno came: {refused}"
        assert view.states() == before
