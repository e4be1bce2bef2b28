# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's view of interfaces, against a veth pair and iproute2's view of it."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from agent_connection import AgentError, Client

if TYPE_CHECKING:
    from collections.abc import Callable

ETHER_TYPE_TEST = 0x88B5


def frame(length: int, mark: int = 0) -> str:
    head = b"\xff" * 6 + b"\x02\0\0\0\0\x09" + ETHER_TYPE_TEST.to_bytes(2, "big") + mark.to_bytes(4, "big")
    return base64.b64encode(head.ljust(length, b"\x5a")).decode()


def shown_by_ip(agent: Client, ifname: str) -> dict[str, Any]:
    text = agent.call("process.run", command=["ip", "-s", "-d", "-j", "link", "show", ifname])["stdout"]
    return json.loads(text)[0]  # type: ignore[no-any-return]


def test_link_get_agrees_with_iproute2(agent: Client) -> None:
    ours, theirs = agent.call("link.get", ifname="left"), shown_by_ip(agent, "left")
    assert ours["ifindex"] == theirs["ifindex"]
    assert ours["mtu"] == theirs["mtu"]
    assert ours["address"] == theirs["address"]
    assert ours["operstate"] == theirs["operstate"].lower()
    assert ours["linkinfo"]["kind"] == "veth"
    assert {flag.upper().replace("-", "_") for flag in ours["flags"]} - {"RUNNING"} == set(theirs["flags"])
    assert ours["num-rx-queues"] == theirs["num_rx_queues"]
    assert ours["max-mtu"] == theirs["max_mtu"]


def test_stats64_count_frames_and_bytes(agent: Client) -> None:
    packet = agent.call("packet.open", ifname="left", protocol=ETHER_TYPE_TEST)
    before_left, before_right = (agent.call("link.stats64", ifname=name) for name in ("left", "right"))
    agent.call("packet.send", packet=packet, frames=[frame(60), frame(1514)], repeat=5)
    left, right = (agent.call("link.stats64", ifname=name) for name in ("left", "right"))
    assert left["tx_packets"] - before_left["tx_packets"] == 10
    assert left["tx_bytes"] - before_left["tx_bytes"] == 5 * (60 + 1514)
    assert right["rx_packets"] - before_right["rx_packets"] == 10
    theirs = shown_by_ip(agent, "right")["stats64"]
    assert right["rx_bytes"] == theirs["rx"]["bytes"]
    agent.call("handle.close", handle=packet)


def test_settings_are_made_and_errors_carry_the_kernels_text(agent: Client) -> None:
    agent.call("link.set", ifname="left", mtu=1400)
    assert agent.call("link.get", ifname="left")["mtu"] == 1400
    agent.call("link.set", ifname="left", mtu=1500)
    with pytest.raises(AgentError, match="mtu greater than device maximum") as caught:
        agent.call("link.set", ifname="left", mtu=90_000)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(AgentError) as caught:
        agent.call("link.get", ifname="absent")
    assert caught.value.errno == errno.ENODEV


def test_addresses_come_and_go(agent: Client) -> None:
    for address in ("192.0.2.2/24", "2001:db8::2/64"):
        agent.call("link.add_address", ifname="left", address=address)
        assert {"address": address, "tentative": False} in agent.call("link.addresses", ifname="left")
        with pytest.raises(AgentError) as caught:
            agent.call("link.add_address", ifname="left", address=address)
        assert caught.value.errno == errno.EEXIST
        agent.call("link.delete_address", ifname="left", address=address)
        assert address not in [each["address"] for each in agent.call("link.addresses", ifname="left")]


def test_notifications_are_kept_until_read(agent: Client) -> None:
    monitor = agent.call("link.monitor_open")
    assert agent.call("link.monitor_read", monitor=monitor) == []
    agent.call("link.set", ifname="left", mtu=1300)
    agent.call("link.set", ifname="left", mtu=1500)
    events = agent.call("link.monitor_read", monitor=monitor, ifname="left", timeout=5)
    assert [event["mtu"] for event in events if event["type"] == "new"][-1] == 1500
    assert 1300 in [event["mtu"] for event in events]
    agent.call("handle.close", handle=monitor)


def test_wait_ends_with_the_change(agent: Client, connect: Callable[[], Client]) -> None:
    agent.call("link.set", ifname="left", mtu=1500)
    begin = time.monotonic()
    now = agent.call("link.wait", ifname="left", wanted={"mtu": [1400]}, timeout=0.2)
    assert now["mtu"] == 1500
    assert 0.2 <= time.monotonic() - begin < 2
    waiting = connect()
    waiting.send("link.wait", ifname="left", wanted={"mtu": [1400, 1401]}, timeout=15)
    agent.call("link.set", ifname="left", mtu=1400)
    assert waiting.receive()["mtu"] == 1400
    assert time.monotonic() - begin < 10
    agent.call("link.set", ifname="left", mtu=1500)


def test_wait_for_what_is_so_already_takes_no_time(agent: Client) -> None:
    begin = time.monotonic()
    assert agent.call("link.wait", ifname="left", wanted={"mtu": [1500]}, timeout=20)["mtu"] == 1500
    assert time.monotonic() - begin < 5


def test_local_routes_are_waited_for(agent: Client) -> None:
    """An address of IPv6 is there before the kernel accepts what is sent to it; while the interface is down it does not."""

    def accepts(timeout: float) -> bool:
        wanted = {"local-routes": [True]}
        return bool(agent.call("link.wait", ifname="alone", wanted=wanted, timeout=timeout)["local-routes"])

    agent.call("link.add_pair", name="alone", peer="other")
    try:
        assert accepts(0)  # it has no address
        agent.call("files.write", path="/proc/sys/net/ipv6/conf/alone/keep_addr_on_down", text="1")
        for name in ("alone", "other"):
            agent.call("link.set", ifname=name, up=True)
        agent.call("link.add_address", ifname="alone", address="2001:db8:1::1/64")
        assert accepts(10)
        agent.call("link.set", ifname="alone", up=False)
        assert not accepts(0)
        agent.call("link.set", ifname="alone", up=True)
        assert accepts(10)
    finally:
        agent.call("link.delete", ifname="alone")


def test_the_two_ends_of_a_new_pair_are_one_wire(agent: Client) -> None:
    agent.call("link.add_pair", name="near", peer="far")
    try:
        for name in ("near", "far"):
            agent.call("link.set", ifname=name, up=True)
        # The end that is up first has no queue before link_watch has seen its carrier, and drops what it is to send.
        assert agent.call("link.wait", ifname="near", wanted={"operstate": ["up"]}, timeout=10)["operstate"] == "up"
        back = agent.call("packet.open", ifname="far", protocol=ETHER_TYPE_TEST)
        out = agent.call("packet.open", ifname="near", protocol=ETHER_TYPE_TEST)
        agent.call("packet.send", packet=out, frames=[frame(60)])
        assert [each["frame"] for each in agent.call("packet.receive", packet=back)] == [frame(60)]
        for each in (out, back):
            agent.call("handle.close", handle=each)
    finally:
        agent.call("link.delete", ifname="near")
    assert not {"near", "far"} & set(agent.call("link.list_all"))


def test_a_change_of_xdp_features_is_announced(agent: Client) -> None:
    try:
        monitor = agent.call("netdev.monitor_open")
    except AgentError as error:
        if error.type != "KernelLacksError":
            raise
        pytest.skip("this kernel has no netdev netlink")
    program = agent.call("bpf.load_return", verdict=2)["program"]
    # A veth can be redirected to once the other end has a program (drivers/net/veth.c).
    assert "ndo-xmit" not in agent.call("netdev.dev_get", ifname="left")["xdp-features"]
    agent.call("link.xdp_attach", ifname="right", program=program)
    try:
        changes = agent.call("netdev.monitor_read", monitor=monitor, ifname="left", timeout=5)
        assert "ndo-xmit" in changes[-1]["xdp-features"]
        assert agent.call("netdev.monitor_read", monitor=monitor, ifname="left") == []
    finally:
        agent.call("link.xdp_attach", ifname="right", program=None)
        for each in (monitor, program):
            agent.call("handle.close", handle=each)


def test_raw_frames_are_received_with_what_the_driver_said(agent: Client) -> None:
    out = agent.call("packet.open", ifname="left", protocol=ETHER_TYPE_TEST)
    back = agent.call("packet.open", ifname="right", protocol=ETHER_TYPE_TEST)
    agent.call("packet.send", packet=out, frames=[frame(60, 1), frame(1000, 2)])
    first, second = agent.call("packet.receive", packet=back, count=2)
    assert first["frame"] == frame(60, 1)
    assert second["frame"] == frame(1000, 2)
    assert second["length"] == 1000
    assert first["type"] == "broadcast"
    assert first["vlan"] is None
    assert agent.call("packet.receive", packet=back, count=1, timeout=0) == []
    for each in (out, back):
        agent.call("handle.close", handle=each)


def test_receiving_ends_with_the_last_frame(agent: Client) -> None:
    out = agent.call("packet.open", ifname="left", protocol=ETHER_TYPE_TEST)
    back = agent.call("packet.open", ifname="right", protocol=ETHER_TYPE_TEST)
    agent.call("packet.send", packet=out, frames=[frame(60, 1), frame(60, 2), frame(60, 3)])
    begin = time.monotonic()
    found = agent.call("packet.receive", packet=back, count=9, timeout=15, last=frame(60, 2))
    assert [each["frame"] for each in found] == [frame(60, 1), frame(60, 2)]
    assert time.monotonic() - begin < 10
    assert len(agent.call("packet.receive", packet=back, count=1)) == 1
    for each in (out, back):
        agent.call("handle.close", handle=each)


def test_a_stripped_vlan_tag_is_reported(agent: Client) -> None:
    out = agent.call("packet.open", ifname="left")
    back = agent.call("packet.open", ifname="right")
    plain = base64.b64decode(frame(64))
    tagged = plain[:12] + bytes.fromhex("81000123") + plain[12:]
    agent.call("packet.send", packet=out, frames=[base64.b64encode(tagged).decode()])
    received = agent.call("packet.receive", packet=back, count=8, timeout=0.5)
    found = [each for each in received if base64.b64decode(each["frame"]) == plain]
    assert [each["vlan"] for each in found] == [{"tci": 0x123, "tpid": 0x8100}]


def test_frames_that_a_packet_socket_had_no_room_for_are_an_error(agent: Client) -> None:
    out = agent.call("packet.open", ifname="left", protocol=0)
    back = agent.call("packet.open", ifname="right", protocol=ETHER_TYPE_TEST)
    many = {"packet": out, "frames": [frame(1500)] * 100, "repeat": 200}  # its buffer is 32 MiB
    agent.call("packet.send", **many)
    with pytest.raises(AgentError, match="found the socket's receive buffer full") as caught:
        agent.call("packet.receive", packet=back, count=1)
    assert caught.value.errno is None
    agent.call("packet.send", **many)
    assert agent.call("packet.drain", packet=back) > 0
    agent.call("packet.send", packet=out, frames=[frame(60)])
    assert [each["frame"] for each in agent.call("packet.receive", packet=back)] == [frame(60)]
    for each in (out, back):
        agent.call("handle.close", handle=each)


def test_datagrams_that_a_socket_had_no_room_for_are_counted(agent: Client) -> None:
    server = agent.call("udp.open", address="::1")
    client = agent.call("udp.open", address="::1")
    assert client["overflows"] == server["overflows"]
    send = {"socket_handle": client["handle"], "address": "::1", "port": server["port"], "length": 1000}
    agent.call("udp.send", **send, count=10)
    assert agent.call("udp.overflows") == server["overflows"]
    agent.call("udp.send", **send, count=20_000)  # its buffer is 16 MiB
    lost = agent.call("udp.overflows") - server["overflows"]
    assert agent.call("udp.drain", socket_handle=server["handle"]) + lost == 20_010
    assert lost > 0
    for each in (client, server):
        agent.call("handle.close", handle=each["handle"])


def test_events_that_a_trace_had_no_room_for_are_an_error(agent: Client) -> None:
    out = agent.call("packet.open", ifname="left", protocol=0)
    trace = agent.call("trace.open", events=["net:net_dev_start_xmit"], kilobytes=4)
    agent.call("packet.send", packet=out, frames=[frame(60)])
    assert len([each for each in agent.call("trace.read", trace=trace) if each["fields"]["dev"] == "left"]) == 1
    agent.call("packet.send", packet=out, frames=[frame(60)], repeat=1000)
    with pytest.raises(AgentError, match="open a larger one"):
        agent.call("trace.read", trace=trace)
    for each in (out, trace):
        agent.call("handle.close", handle=each)


def test_udp_payloads_match_the_generator(agent: Client) -> None:
    server = agent.call("udp.open", address="127.0.0.1")
    client = agent.call("udp.open", address="127.0.0.1")
    agent.call(
        "udp.send",
        socket_handle=client["handle"],
        address="127.0.0.1",
        port=server["port"],
        length=100,
        count=3,
        seed=5,
    )
    datagrams = agent.call("udp.receive", socket_handle=server["handle"], count=3)
    whole = b"".join(base64.b64decode(each["data"]) for each in datagrams)
    # the generator's rule, written out a second time
    assert whole == hashlib.shake_128(b"5").digest(300)
    assert datagrams[0]["peer"] == ["127.0.0.1", client["port"]]
    assert agent.call("udp.receive", socket_handle=server["handle"], count=1, timeout=0) == []


@pytest.mark.parametrize("segment", [None, 100])
def test_datagrams_in_pieces_have_the_generators_payload(agent: Client, segment: int | None) -> None:
    server = agent.call("udp.open", address="127.0.0.1")
    sent = agent.call(
        "pieces.send_datagrams",
        address="127.0.0.1",
        port=server["port"],
        datagrams=[[1] * 17, [100, 3, 97], [4096]] if segment is None else [[1] * 16 + [121]],
        seed=5,
        segment=segment,
    )
    datagrams = agent.call("udp.receive", socket_handle=server["handle"], count=3, timeout=0.5)
    found = [base64.b64decode(each["data"]) for each in datagrams]
    assert [len(each) for each in found] == ([17, 200, 4096] if segment is None else [100, 37])
    assert b"".join(found) == hashlib.shake_128(b"5").digest(sum(map(len, found)))
    assert {each["peer"][1] for each in datagrams} == {sent["port"]}


def test_a_stream_in_pieces_has_the_generators_payload(agent: Client, connect: Any) -> None:
    listener = agent.call("tcp.listen", address="127.0.0.1")
    other = connect()
    other.send("tcp.receive", listener=listener["handle"], timeout=15)
    packets = [[1] * 17, [3000, 1, 4096] * 5] * 30  # more notifications than the kernel holds
    sent = agent.call("pieces.send_stream", address="127.0.0.1", port=listener["port"], packets=packets, seed=3)
    received = other.receive()
    assert received["bytes"] == sent["bytes"] == sum(map(sum, packets))
    period = hashlib.shake_128(b"3").digest(65521)
    whole = (period * (received["bytes"] // 65521 + 1))[: received["bytes"]]
    assert received["sha256"] == hashlib.sha256(whole).hexdigest()


def test_tcp_serves_the_other_direction(agent: Client, connect: Any) -> None:
    listener = agent.call("tcp.listen", address="::1")
    other = connect()
    other.send("tcp.receive", listener=listener["handle"], timeout=15)
    sent = agent.call("tcp.send", address="::1", port=listener["port"], length=0)
    assert other.receive()["bytes"] == sent["bytes"] == 0
    with pytest.raises(AgentError) as caught:
        agent.call("tcp.send", address="::1", port=1, length=1)
    assert caught.value.errno == errno.ECONNREFUSED


def test_ethtool_reads_and_sets_features(agent: Client) -> None:
    before = agent.call("ethtool.get", ifname="left", what="features")
    assert "tx-tcp-segmentation" in before["active"]
    agent.call("ethtool.set", ifname="left", what="features", settings={"tx-tcp-segmentation": False})
    assert "tx-tcp-segmentation" not in agent.call("ethtool.get", ifname="left", what="features")["active"]
    agent.call("ethtool.set", ifname="left", what="features", settings={"tx-tcp-segmentation": True})
    assert agent.call("ethtool.get", ifname="left", what="features") == before


def test_ethtool_errors_carry_errno_and_text(agent: Client) -> None:
    with pytest.raises(AgentError) as caught:
        agent.call("ethtool.get", ifname="left", what="rings")
    assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(AgentError, match="exceeds maximum") as caught:
        agent.call("ethtool.set", ifname="left", what="channels", settings={"rx-count": 9999})
    assert caught.value.errno == errno.EINVAL


def test_ethtool_statistics_have_the_drivers_names_in_its_order(agent: Client) -> None:
    listed = agent.call("ethtool.stats_list", ifname="left")
    assert listed[0][0] == "peer_ifindex"
    assert listed[0][1] == agent.call("link.get", ifname="right")["ifindex"]
    assert agent.call("ethtool.stats", ifname="left")["peer_ifindex"] == listed[0][1]
    assert agent.call("ethtool.driver_info", ifname="left")["driver"] == "veth"


def test_features_are_those_of_the_verbose_reply(agent: Client) -> None:
    """Also once their names are known, of either state of a feature."""
    for wanted in (False, True):
        agent.call("features.set", ifname="left", wanted={"tx-tcp-segmentation": wanted})
        found = agent.call("features.get", ifname="left")
        assert {"tx-tcp-segmentation", "rx-checksum", *found["active"], *found["hw"]} <= set(found.pop("known"))
        assert found == agent.call("ethtool.get", ifname="left", what="features")
        assert ("tx-tcp-segmentation" in found["active"]) is wanted


def test_the_netdev_family_reports_features_and_queues(agent: Client) -> None:
    device = agent.call("netdev.dev_get", ifname="left")
    assert {"basic", "redirect"} <= set(device["xdp-features"])
    queues = agent.call("netdev.queue_get", ifname="left")
    assert {(queue["type"], queue["id"]) for queue in queues} == {("rx", 0), ("tx", 0)}
    assert [queue["type"] for queue in agent.call("netdev.queue_get", ifname="left", type="tx")] == ["tx"]
    with pytest.raises(AgentError) as caught:
        agent.call("netdev.queue_get", ifname="left", type="rx", id=77)
    assert caught.value.errno in {errno.EINVAL, errno.ENOENT, errno.ERANGE}


def test_qstats_of_a_driver_without_any_are_refused(agent: Client) -> None:
    with pytest.raises(AgentError) as caught:
        agent.call("netdev.qstats_get", ifname="left", scope="queue")
    assert caught.value.errno == errno.EOPNOTSUPP


def test_binding_a_queue_of_a_driver_without_the_queue_api_is_refused(agent: Client) -> None:
    try:
        found = agent.call("netdev.queue_api_error", ifname="left")
    except AgentError as error:
        if error.type != "KernelLacksError":
            raise
        pytest.skip(str(error))
    assert found["errno"] == errno.EOPNOTSUPP


def test_an_interface_without_a_hardware_clock(agent: Client) -> None:
    """It reports none, timestamps nothing, and refuses the request to."""
    tsinfo = agent.call("ethtool.get", ifname="left", what="tsinfo")
    assert "hardware-receive" not in tsinfo["timestamping"]
    assert "phc-index" not in tsinfo
    with pytest.raises(AgentError):
        agent.call("phc.set_hwtstamp", ifname="lo", sent=1, received=1)
    packet = agent.call("packet.open", ifname="left", stamps="sent")
    agent.call("packet.send", packet=packet, frames=[frame(60)])
    assert agent.call("packet.tx_timestamp", packet=packet, timeout=0.2) is None
    agent.call("handle.close", handle=packet)
