# SPDX-License-Identifier: GPL-2.0-or-later
"""The calls of a test as commands that people type."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
from plugfest.findings.commands import CommandLine, Sentence, translate
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether


def call(
    method: str, result: Any = None, error: str | None = None, /, end: str = "agent", **params: Any
) -> dict[str, Any]:
    line = {"end": end, "method": method, "params": params}
    return {**line, **({} if result is None else {"result": result}), **({} if error is None else {"error": error})}


def typed(*calls: dict[str, Any]) -> list[str]:
    return [each.text if isinstance(each, Sentence) else f"{each.place}: {each.text}" for each in translate(calls)]


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (call("link.set", ifname="eth0", up=False), "ip link set dev eth0 down"),
        (
            call("link.set", ifname="eth0", mtu=9000, promisc=True, allmulti=False, txqlen=10),
            "ip link set dev eth0 mtu 9000 promisc on allmulticast off txqueuelen 10",
        ),
        (call("link.add_vlan", ifname="eth0", vlan=7, name="v7"), "ip link add link eth0 name v7 type vlan id 7 protocol 802.1Q"),
        (call("link.add_address", ifname="eth0", address="2001:db8::2/64"), "ip address add 2001:db8::2/64 dev eth0 nodad"),
        (call("link.add_address", ifname="eth0", address="192.0.2.2/24"), "ip address add 192.0.2.2/24 dev eth0"),
        (call("link.wait", ifname="eth0", wanted={"carrier": [1]}, timeout=5), "ip -d link show dev eth0   # until carrier is 1"),
        (call("ethtool.get", ifname="eth0", what="channels"), "ethtool -l eth0"),
        (call("ethtool.get", ifname="eth0", what="linkmodes"), "ethtool eth0"),
        (call("ethtool.set", ifname="eth0", what="channels", settings={"combined-count": 4}), "ethtool -L eth0 combined 4"),
        (call("ethtool.set", ifname="eth0", what="rings", settings={"rx": 512, "tx": 256}), "ethtool -G eth0 rx 512 tx 256"),
        (call("ethtool.set", ifname="eth0", what="rings", settings={"tcp-data-split": 2}), "ethtool -G eth0 tcp-data-split on"),
        (
            call("ethtool.set", ifname="eth0", what="coalesce", settings={"rx-usecs": 8, "rx-max-frames": 4, "use-adaptive-rx": 1}),
            "ethtool -C eth0 rx-usecs 8 rx-frames 4 adaptive-rx on",
        ),
        (
            call("ethtool.set", ifname="eth0", what="pause", settings={"autoneg": True, "rx": False, "tx": True}),
            "ethtool -A eth0 autoneg on rx off tx on",
        ),
        (
            call("ethtool.set", ifname="eth0", what="linkmodes", settings={"autoneg": 1, "advertised": ["10000baseKR/Full"]}),
            "ethtool -s eth0 autoneg on advertise 10000baseKR/Full on",
        ),
        (call("ethtool.set", ifname="eth0", what="privflags", settings={"a-flag": False}), "ethtool --set-priv-flags eth0 a-flag off"),
        (call("ethtool.set_rss", ifname="eth0", indir=[0, 1, 2, 0, 1, 2]), "ethtool -X eth0 equal 3"),
        (call("ethtool.set_rss", ifname="eth0", indir=[]), "ethtool -X eth0 default"),
        (call("ethtool.set_rss", ifname="eth0", hkey="6d5a56"), "ethtool -X eth0 hkey 6d:5a:56"),
        (call("features.set", ifname="eth0", wanted={"rx-lro": False}), "ethtool -K eth0 rx-lro off"),
        (
            call("flow_rules.add", 3, ifname="eth0", protocol="tcp", version=4, port=80, queue=1),
            "ethtool -N eth0 flow-type tcp4 dst-port 80 action 1",
        ),
        (call("files.write", path="/proc/sys/net/a b", text="1\n"), "echo 1 >'/proc/sys/net/a b'"),
        (call("process.run", command=["sh", "-c", "ip link; true"]), "sh -c 'ip link; true'"),
        (call("ip maddress show", end="shell"), "ip maddress show"),
    ],
)  # fmt: skip
def test_a_command_of_the_guest(made: dict[str, Any], text: str) -> None:
    assert typed(made) == [f"guest: {text}"]


@pytest.mark.parametrize(
    "made",
    [
        call("netdev.qstats_get", ifname="eth0", scope="queue"),
        call("ethtool.set_rss", ifname="eth0", indir=[1, 1, 0]),
        call("ethtool.set", ifname="eth0", what="fec", settings={"modes": ["RS"]}),
        call("af_xdp.start", 5),
    ],
)
def test_what_no_command_does_is_a_line_for_the_agent(made: dict[str, Any]) -> None:
    (line,) = typed(made)
    assert line.startswith('agent: {"id": 1, "method": "' + made["method"])


def test_a_program_is_loaded_and_attached_by_its_pin() -> None:
    pin = "/sys/fs/bpf/xdp_pass-3"
    load = f"bpftool prog load /usr/lib/plugfest/bpf/xdp_pass.o {pin} type xdp pinmaps {pin}-maps"
    assert typed(
        call("bpf.load", {"program": 3, "id": 17, "maps": {"count": 4}}, object="xdp_pass"),
        call("link.xdp_attach", ifname="eth0", program=3),
        call("bpf.map_counters", [[1]], map=4, keys=1),
        call("link.xdp_attach", ifname="eth0", program=None, mode="native"),
        call("handle.close", handle=3),
    ) == [
        f"guest: mkdir -p {pin}-maps; {load}",
        f"guest: ip -force link set dev eth0 xdpdrv pinned {pin}",
        f"guest: bpftool map dump pinned {pin}-maps/count",
        "guest: ip link set dev eth0 xdpdrv off",
        f"guest: rm {pin}",
    ]


def test_a_program_whose_map_the_agent_needs_is_the_agents() -> None:
    lines = typed(
        call("bpf.load", {"program": 3, "id": 17, "maps": {"sockets": 4}}, object="xdp_redirect_xsk"),
        call("link.xdp_attach", ifname="eth0", program=3),
        call("af_xdp.start", 5, map=4),
    )
    assert [line.partition(":")[0] for line in lines] == ["agent", "agent", "agent"]


def test_a_frame_is_sent_by_scapy() -> None:
    frame = bytes(
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(dport=9)
    )
    (line,) = typed({"end": "wire", "method": "send", "params": {"frame": frame.hex()}})
    assert line.startswith("host: sendp(")
    assert line.endswith(", iface='wire0')")
    expression = line.removeprefix("host: sendp(").removesuffix(", iface='wire0')")
    assert bytes(eval(expression, {"Ether": Ether, "IP": IP, "UDP": UDP, "bytes": bytes})) == frame


def test_a_long_frame_is_sent_as_its_bytes() -> None:
    frame = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x1234)) + bytes(range(256)) * 2
    (line,) = typed({"end": "wire", "method": "send", "params": {"frame": frame.hex()}})
    assert line == f"host: sendp(Ether(bytes.fromhex('{frame.hex()}')), iface='wire0')"


def test_steps_polls_and_results() -> None:
    get = call("link.get", {"carrier": 0}, ifname="eth0")
    found = list(
        translate(
            [
                {"step": "Take it down", "depth": 0},
                call("link.set", None, "Operation not permitted", ifname="eth0", up=False),
                {"step": "It is down", "depth": 1},
                get,
                get,
                get,
                call("link.partner", {"up": False}, end="model", up=False),
                {"note": "3 more frames were put on the wire"},
            ]
        )
    )
    assert found == [
        Sentence("Take it down", 0),
        CommandLine("guest", "ip link set dev eth0 down", "error: Operation not permitted"),
        Sentence("It is down", 1),
        CommandLine("guest", "ip -d -s link show dev eth0", '{"carrier": 0}'),
        CommandLine(
            "model", '{"jsonrpc": "2.0", "id": 1, "method": "link.partner", "params": {"up": false}}', '{"up": false}'
        ),
        CommandLine("guest", "# 3 more frames were put on the wire"),
    ]


def test_the_output_of_a_program_is_its_result() -> None:
    made = call(
        "process.run", {"exit_status": 2, "stdout": "", "stderr": "Cannot find device\nsorry\n"}, command=["ip", "link"]
    )
    (found,) = translate([made])
    assert found == CommandLine("guest", "ip link", "exit status 2; Cannot find device | sorry")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_commands_are_words_of_a_shell() -> None:
    lines = typed(
        call("process.run", command=["echo", "a'b", "$HOME", "x y"]),
        call("files.write", path="/tmp/it's", text="$(reboot)"),
    )
    script = "\n".join(line.removeprefix("guest: ") for line in lines[:1])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "a'b $HOME x y\n"
    assert lines[1] == "guest: echo '$(reboot)' >'/tmp/it'\"'\"'s'"
