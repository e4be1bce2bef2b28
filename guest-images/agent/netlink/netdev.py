# SPDX-License-Identifier: GPL-2.0-or-later
"""The generic netlink family netdev: XDP features, queues, NAPIs, page pools, per-queue statistics. Methods ``netdev.*``.

Source: Documentation/netlink/specs/netdev.yaml; the names are those of the specification.
"""

from __future__ import annotations

from typing import Any

from agent import handle
from agent.methods import exposed
from agent.netlink.attributes import S32, U32, UINT, Attributes, Bits, Choice, Hex
from agent.netlink.connection import NETLINK_GENERIC, Monitor, NetlinkError
from agent.netlink.generic import Family
from agent.system.interface import interface_index

DEV_GET = 1
DEV_CHANGE_NTF = 4
PAGE_POOL_GET = 5
QUEUE_GET = 10
NAPI_GET = 11
QSTATS_GET = 12
BIND_RX = 13
NAPI_SET = 14
BIND_TX = 15
QUEUE_CREATE = 16
NETDEV = Family(
    "netdev",
    {
        DEV_GET: "dev-get",
        PAGE_POOL_GET: "page-pool-get",
        QUEUE_GET: "queue-get",
        NAPI_GET: "napi-get",
        QSTATS_GET: "qstats-get",
        BIND_RX: "bind-rx",
        NAPI_SET: "napi-set",
        BIND_TX: "bind-tx",
        QUEUE_CREATE: "queue-create",
    },
    # Linux 6.12 has the operation, but no driver whose queues receive into bound memory, and none of the checks of the second
    # function: header split, the driver's operations before the queue's number; it even maps memory for a device that has no DMA
    # mask, such as virtio's, and warns. That function had other names in 2025. The first is not built without NET_DEVMEM.
    functions={
        BIND_RX: (
            ("net_devmem_bind_dmabuf",),
            ("netif_mp_open_rxq", "net_mp_open_rxq", "__net_mp_open_rxq"),
        )
    },
)

XDP_FEATURES = Bits(("basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg"))
QUEUE_TYPE = Choice(("rx", "tx"))

DEV = Attributes(
    {
        1: ("ifindex", U32),
        2: ("pad", Hex()),
        3: ("xdp-features", XDP_FEATURES),
        4: ("xdp-zc-max-segs", U32),
        5: ("xdp-rx-metadata-features", Bits(("timestamp", "hash", "vlan-tag"))),
        6: ("xsk-features", Bits(("tx-timestamp", "tx-checksum", "tx-launch-time-fifo"))),
    }
)
IO_URING = Attributes({1: ("rx-buf-len", UINT)})
QUEUE_ID = Attributes({1: ("id", U32), 3: ("type", QUEUE_TYPE)})
LEASE = Attributes({1: ("ifindex", U32), 2: ("queue", QUEUE_ID), 3: ("netns-id", S32)})
DMABUF = Attributes(
    {1: ("ifindex", U32), 2: ("queues", QUEUE_ID), 3: ("fd", U32), 4: ("id", U32), 5: ("rx-page-size", U32)},
    repeated=("queues",),
)
QUEUE = Attributes(
    {
        1: ("id", U32),
        2: ("ifindex", U32),
        3: ("type", QUEUE_TYPE),
        4: ("napi-id", U32),
        5: ("dmabuf", U32),
        6: ("io-uring", IO_URING),
        7: ("xsk", Attributes({})),
        8: ("lease", LEASE),
    }
)
NAPI = Attributes(
    {
        1: ("ifindex", U32),
        2: ("id", U32),
        3: ("irq", U32),
        4: ("pid", U32),
        5: ("defer-hard-irqs", U32),
        6: ("gro-flush-timeout", UINT),
        7: ("irq-suspend-timeout", UINT),
        8: ("threaded", Choice(("disabled", "enabled", "busy-poll"))),
    }
)
PAGE_POOL = Attributes(
    {
        1: ("id", UINT),
        2: ("ifindex", U32),
        3: ("napi-id", UINT),
        4: ("inflight", UINT),
        5: ("inflight-mem", UINT),
        6: ("detach-time", UINT),
        7: ("dmabuf", U32),
        8: ("io-uring", IO_URING),
    }
)
QSTATS = Attributes(
    {
        1: ("ifindex", U32),
        2: ("queue-type", QUEUE_TYPE),
        3: ("queue-id", U32),
        4: ("scope", Bits(("queue",))),
        **{
            number: (name, UINT)
            for number, name in enumerate(
                (
                    "rx-packets",
                    "rx-bytes",
                    "tx-packets",
                    "tx-bytes",
                    "rx-alloc-fail",
                    "rx-hw-drops",
                    "rx-hw-drop-overruns",
                    "rx-csum-complete",
                    "rx-csum-unnecessary",
                    "rx-csum-none",
                    "rx-csum-bad",
                    "rx-hw-gro-packets",
                    "rx-hw-gro-bytes",
                    "rx-hw-gro-wire-packets",
                    "rx-hw-gro-wire-bytes",
                    "rx-hw-drop-ratelimits",
                    "tx-hw-drops",
                    "tx-hw-drop-errors",
                    "tx-csum-none",
                    "tx-needs-csum",
                    "tx-hw-gso-packets",
                    "tx-hw-gso-bytes",
                    "tx-hw-gso-wire-packets",
                    "tx-hw-gso-wire-bytes",
                    "tx-hw-drop-ratelimits",
                    "tx-stop",
                    "tx-wake",
                ),
                8,
            )
        },
    }
)

NO_DMABUF = 0x7FFFFFFF
"""A file descriptor that is not open."""


@exposed
def operations() -> list[str]:
    """Return the names of the operations that the kernel has, of those that this module calls.

    Raises:
        KernelLacksError: the kernel has no such family.
    """
    NETDEV.resolve()
    return [name for number, name in NETDEV.operations.items() if number in NETDEV.present]


@exposed
def dev_get(ifname: str) -> dict[str, Any]:
    """Return xdp-features, xdp-rx-metadata-features and xsk-features as lists of names, and xdp-zc-max-segs."""
    return NETDEV.call(DEV_GET, DEV.encode({"ifindex": interface_index(ifname)}), DEV)[0]


@exposed
def monitor_open() -> int:
    """Subscribe to the notifications of devices (multicast group ``mgmt``); returns a handle."""
    NETDEV.resolve()
    return handle.keep(Monitor(NETLINK_GENERIC, NETDEV.groups["mgmt"]))


@exposed
def monitor_read(monitor: int, ifname: str, timeout: float = 0) -> list[dict[str, Any]]:
    """Return the device's dev-change-ntf since the last read; where there is no message, wait up to `timeout` seconds for one.

    Each has the attributes that `netdev.dev_get` returns.

    Raises:
        OSError: ENOBUFS, notifications were lost.
    """
    index = interface_index(ifname)
    received = handle.get(monitor, Monitor).read(timeout)
    changes = [
        DEV.decode(each.body[4:]) for each in received if each.type == NETDEV.number and each.body[0] == DEV_CHANGE_NTF
    ]
    return [each for each in changes if each["ifindex"] == index]


@exposed
def queue_get(ifname: str, type: str | None = None, id: int | None = None) -> list[dict[str, Any]]:  # noqa: A002
    """Return the device's queues: type (rx, tx), id, napi-id, and dmabuf, io-uring, xsk, lease where the queue has one.

    With both `type` and `id`, only that queue; a queue that does not exist is an error then (ENOENT).
    """
    ifindex = interface_index(ifname)
    if type is not None and id is not None:
        return NETDEV.call(QUEUE_GET, QUEUE.encode({"ifindex": ifindex, "type": type, "id": id}), QUEUE)
    found = NETDEV.call(QUEUE_GET, QUEUE.encode({"ifindex": ifindex}), QUEUE, dump=True)
    return [queue for queue in found if type in {None, queue["type"]}]


@exposed
def queue_create(ifname: str, lender: str, queue: int) -> int:
    """Create a receive queue of a virtual device (netkit), leased from queue `queue` of the device `lender`; returns its id."""
    lease = {"ifindex": interface_index(lender), "queue": {"id": queue, "type": "rx"}}
    request = QUEUE.encode({"ifindex": interface_index(ifname), "type": "rx", "lease": lease})
    return int(NETDEV.call(QUEUE_CREATE, request, QUEUE)[0]["id"])


@exposed
def napi_get(ifname: str) -> list[dict[str, Any]]:
    """Return the device's NAPI instances: id, irq, pid, and the settings of `napi_set`."""
    return NETDEV.call(NAPI_GET, NAPI.encode({"ifindex": interface_index(ifname)}), NAPI, dump=True)


@exposed
def napi_set(id: int, settings: dict[str, Any]) -> None:  # noqa: A002
    """Set defer-hard-irqs, gro-flush-timeout, irq-suspend-timeout or threaded of a NAPI instance."""
    NETDEV.call(NAPI_SET, NAPI.encode({"id": id, **settings}), NAPI)


@exposed
def page_pool_get(ifname: str | None = None) -> list[dict[str, Any]]:
    """Return the page pools of the device, or all: id, napi-id, inflight, inflight-mem, dmabuf or io-uring.

    A pool whose queue is gone and that waits for its last buffers has detach-time.
    """
    found = NETDEV.call(PAGE_POOL_GET, b"", PAGE_POOL, dump=True)
    ifindex = interface_index(ifname) if ifname else None
    return [pool for pool in found if ifindex in {None, pool.get("ifindex")}]


@exposed
def qstats_get(ifname: str, scope: str = "device") -> list[dict[str, Any]]:
    """Return the statistics of `scope` ``device`` (one entry) or ``queue`` (one per queue, with queue-type and queue-id).

    Where the driver has none the kernel returns no entry, or EOPNOTSUPP, which is raised.
    """
    request = {"ifindex": interface_index(ifname), "scope": ["queue"] if scope == "queue" else None}
    return NETDEV.call(QSTATS_GET, QSTATS.encode(request), QSTATS, dump=True)


@exposed
def queue_api_error(ifname: str, queue: int = 0) -> dict[str, Any]:
    """Request bind-rx with a descriptor that is no dma-buf, which must fail, and return errno and text of the error.

    EOPNOTSUPP means that the driver cannot restart single queues (struct netdev_queue_mgmt_ops), any other error that it can.
    """
    request = {"ifindex": interface_index(ifname), "queues": [{"id": queue, "type": "rx"}], "fd": NO_DMABUF}
    try:
        NETDEV.call(BIND_RX, DMABUF.encode(request), DMABUF)
    except NetlinkError as error:
        return {"errno": error.errno, "text": str(error.strerror)}
    raise RuntimeError("the kernel bound a queue to a descriptor that is not open")
