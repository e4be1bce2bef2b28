# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns the calls of a test (`plugfest.machine.call_log`) into commands that anyone can type.

What a command of ip, ethtool, bpftool or the shell does, becomes that command. What none does (AF_XDP sockets, memory providers,
statistics by netlink), becomes a line for the guest's agent, which is what the test itself sent.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scapy.layers import inet, inet6  # noqa: F401 - what is imported is what Ether dissects
from scapy.layers.l2 import Ether

_Params = Mapping[str, Any]

_BPF = "/usr/lib/plugfest/bpf"
_PINS = "/sys/fs/bpf"
_QUIET = frozenset(
    {"agent.ping", "agent.list_methods", "system.speed", "system.log_write", "control.methods", "model.describe"}
)
"""Calls that do nothing to the driver, and show nothing of it."""
_LONGEST_FRAME = 300
"""Characters of scapy's way to write a frame; a longer one is given in hexadecimal."""
_READ = {
    "link.get": "ip -d -s link show dev {ifname}",
    "link.list_all": "ip link",
    "link.stats64": "ip -s -s link show dev {ifname}",
    "link.addresses": "ip address show dev {ifname}",
    "link.xdp": "ip link show dev {ifname}",
    "link.delete": "ip link delete dev {ifname}",
    "link.add_pair": "ip link add {name} type veth peer name {peer}",
    "link.delete_address": "ip address delete {address} dev {ifname}",
    "ethtool.stats": "ethtool -S {ifname}",
    "ethtool.stats_list": "ethtool -S {ifname}",
    "ethtool.driver_info": "ethtool -i {ifname}",
    "ethtool.restart_negotiation": "ethtool -r {ifname}",
    "ethtool.rss": "ethtool -x {ifname}",
    "features.get": "ethtool -k {ifname}",
    "flow_rules.add": "ethtool -N {ifname} flow-type {protocol}{version} dst-port {port} action {queue}",
    "flow_rules.delete": "ethtool -N {ifname} delete {location}",
    "files.read": "cat {path}",
    "files.exists": "ls -d {path}",
    "files.resolve": "readlink -f {path}",
    "system.kernel": "uname -a",
    "system.meminfo": "cat /proc/meminfo",
    "system.slab": "cat /proc/slabinfo",
    "system.interrupts": "cat /proc/interrupts",
    "system.modules": "lsmod",
    "system.log": "dmesg",
}
"""By method: the command, with its parameters in braces."""
_GET = {
    "features": "-k", "rings": "-g", "channels": "-l", "coalesce": "-c", "pause": "-a", "linkinfo": "", "linkmodes": "",
    "linkstate": "", "privflags": "--show-priv-flags", "tsinfo": "-T", "fec": "--show-fec", "rss": "-x",
}  # fmt: skip
_SET = {
    "rings": "-G", "channels": "-L", "coalesce": "-C", "pause": "-A", "linkmodes": "-s", "privflags": "--set-priv-flags", "features": "-K",
}  # fmt: skip
_NAMES = {"rx-count": "rx", "tx-count": "tx", "other-count": "other", "combined-count": "combined"}
"""ethtool(8)'s words for netlink's, where they differ and no rule makes them."""
_SWITCHES = frozenset({"autoneg", "rx", "tx", "use-adaptive-rx", "use-adaptive-tx"})
"""Settings that ethtool(8) takes as on and off; rx and tx of pause alone."""


@dataclass(frozen=True)
class CommandLine:
    """One line to type.

    Attributes:
        place: where: ``guest``, ``agent`` (a session with the guest's agent), ``host`` (the other end of the wire) or ``model`` (a session
            with the model's control socket).
        text: the line.
        result: what it returned in the test, in one line; empty if nothing.
    """

    place: str
    text: str
    result: str = ""


@dataclass(frozen=True)
class Sentence:
    """A step of the test begins.

    Attributes:
        text: the step's sentence.
        depth: 0 for a step of the test, 1 for a step within one.
    """

    text: str
    depth: int


def translate(calls: Iterable[Mapping[str, Any]]) -> Iterator[CommandLine | Sentence]:
    """Yield the steps and commands of a test, in their order; a command that follows itself, as in a wait, comes once.

    Args:
        calls: the lines of ``calls.txt``, parsed.
    """
    listed = list(calls)
    translator = _Translator(listed)
    before: CommandLine | None = None
    for call in listed:
        if "step" in call:
            before = None
            yield Sentence(str(call["step"]), int(call["depth"]))
        for command in translator.commands(call):
            # What a test polls, people look at once.
            if before is None or (command.place, command.text) != (before.place, before.text):
                yield command
            before = command


class _Translator:
    """Translates calls in their order; knows which handle of the agent is which pinned program or map."""

    def __init__(self, calls: Sequence[Mapping[str, Any]]) -> None:
        """Look which handles are used where only the agent can use them: those objects must be the agent's."""
        self._pins: dict[int, str] = {}
        self._numbers = 0
        self._of_agent = {
            value
            for call in calls
            if call.get("end") == "agent"
            and call["method"] not in ("link.xdp_attach", "bpf.map_counters", "handle.close")
            for key, value in _unwrapped(call)[1].items()
            if key in ("program", "map", "expected") and isinstance(value, int)
        }

    def commands(self, call: Mapping[str, Any]) -> Iterator[CommandLine]:
        """Yield the commands of one call."""
        if "note" in call:
            yield CommandLine("guest", f"# {call['note']}")
        if "end" not in call or call["method"] in _QUIET:
            return
        result = _shown(call)
        if call["end"] == "shell":
            yield CommandLine("guest", call["method"], result)
        elif call["end"] == "wire":
            yield CommandLine("host", _scapy(bytes.fromhex(call["params"]["frame"])))
        elif call["end"] == "model":
            self._numbers += 1
            yield CommandLine(
                "model",
                _json({"jsonrpc": "2.0", "id": self._numbers, "method": call["method"], "params": call["params"]}),
                result,
            )
        else:
            text = self._guest(call["method"], call["params"], call.get("result"))
            if text is None:
                self._numbers += 1
                yield CommandLine(
                    "agent", _json({"id": self._numbers, "method": call["method"], "params": call["params"]}), result
                )
            elif text:
                yield CommandLine("guest", text, result)

    def _guest(self, method: str, params: _Params, result: Any) -> str | None:
        """Return the command of a method; empty if it needs none, None if there is none."""
        template = _READ.get(method)
        if template is not None:
            return template.format_map({key: shlex.quote(str(value)) for key, value in params.items()})
        special: dict[str, Callable[[_Params], str | None]] = {
            "link.set": _link_set,
            "link.wait": _link_wait,
            "link.add_vlan": _add_vlan,
            "link.add_address": _add_address,
            "ethtool.get": lambda params: _words("ethtool", _GET.get(params["what"]), params["ifname"]),
            "ethtool.set": _ethtool_set,
            "ethtool.set_rss": _set_rss,
            "ethtool.self_test": lambda params: (
                f"ethtool -t {params['ifname']} {'offline' if params.get('offline', True) else 'online'}"
            ),
            "features.set": lambda params: _words("ethtool -K", params["ifname"], *_switches(params["wanted"])),
            "files.write": lambda params: f"echo {shlex.quote(params['text'].rstrip())} >{shlex.quote(params['path'])}",
            "files.read_many": lambda params: _words("grep -s .", *map(shlex.quote, params["paths"])),
            "files.glob": lambda params: f"ls -d {params['path']}",
            "process.run": _process,
            "process.start": lambda params: f"{shlex.join(params['command'])} &",
            "bpf.load": lambda params: self._load(params, result),
            "link.xdp_attach": self._attach,
            "bpf.map_counters": lambda params: self._pinned("bpftool map dump pinned {}", params["map"]),
            "handle.close": lambda params: self._close(params["handle"]),
        }
        return special[method](params) if method in special else None

    def _load(self, params: _Params, result: Any) -> str | None:
        if not isinstance(result, Mapping):  # it failed: the same command fails the same way
            return self._loading(params, "failed")
        handles = [result["program"], *result["maps"].values()]
        if self._of_agent.intersection(handles):
            return None
        name = f"{params['object'].rpartition('/')[2].removesuffix('.o')}-{result['program']}"
        self._pins[result["program"]] = f"{_PINS}/{name}" + (f"/{params['program']}" if params.get("program") else "")
        self._pins |= {handle: f"{_PINS}/{name}-maps/{each}" for each, handle in result["maps"].items()}
        return self._loading(params, name)

    @staticmethod
    def _loading(params: _Params, name: str) -> str:
        path = params["object"] if "/" in params["object"] else f"{_BPF}/{params['object']}.o"
        kind = params.get("type", "xdp")
        return _words(
            f"mkdir -p {_PINS}/{name}-maps; bpftool prog",
            "loadall" if params.get("program") else "load",
            shlex.quote(path),
            f"{_PINS}/{name}",
            f"type {kind}" if kind else None,
            f"xdpmeta_dev {params['device']}" if params.get("device") else None,
            f"pinmaps {_PINS}/{name}-maps",
        )

    def _attach(self, params: _Params) -> str | None:
        mode = {"native": "xdpdrv", "generic": "xdpgeneric", "offload": "xdpoffload", "any": "xdp"}[
            params.get("mode", "native")
        ]
        program = params.get("program")
        if program is None:
            return f"ip link set dev {params['ifname']} {mode} off"
        if params.get("expected") is not None or program not in self._pins:
            return None
        force = "" if params.get("if_none") else "-force "
        return f"ip {force}link set dev {params['ifname']} {mode} pinned {self._pins[program]}"

    def _pinned(self, template: str, handle: int) -> str | None:
        return template.format(self._pins[handle]) if handle in self._pins else None

    def _close(self, handle: int) -> str | None:
        pin = self._pins.pop(handle, None)
        return None if pin is None else f"rm {pin}"


def _unwrapped(call: Mapping[str, Any]) -> tuple[str, _Params]:
    """Return the method and parameters of a call, of one that a worker carries out the inner ones."""
    if call["method"] == "worker.call":
        return call["params"]["method"], call["params"]["params"]
    return call["method"], call["params"]


def _words(*words: str | None) -> str:
    return " ".join(word for word in words if word)


def _on(value: object) -> str:
    return "on" if value else "off"


def _switches(settings: Mapping[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        yield f"{name} {_on(value)}"


def _link_set(params: _Params) -> str | None:
    words = ["ip link set dev", params["ifname"]]
    for key, value in params.items():
        match key:
            case "up":
                words.append("up" if value else "down")
            case "promisc":
                words.append(f"promisc {_on(value)}")
            case "allmulti":
                words.append(f"allmulticast {_on(value)}")
            case "mtu" | "address" | "name":
                words.append(f"{key} {value}")
            case "txqlen":
                words.append(f"txqueuelen {value}")
            case "netns_pid":
                words.append(f"netns {value}")
            case "ifname":
                pass
            case _:
                return None
    return " ".join(words)


def _link_wait(params: _Params) -> str:
    wanted = ", ".join(f"{key} is {' or '.join(map(str, values))}" for key, values in params["wanted"].items())
    return f"ip -d link show dev {params['ifname']}   # until {wanted}"


def _add_vlan(params: _Params) -> str:
    protocol = "802.1ad" if params.get("protocol") == 0x88A8 else "802.1Q"
    return (
        f"ip link add link {params['ifname']} name {params['name']} type vlan id {params['vlan']} protocol {protocol}"
    )


def _add_address(params: _Params) -> str:
    return _words(
        "ip address add", params["address"], "dev", params["ifname"], "nodad" if ":" in params["address"] else None
    )


def _ethtool_set(params: _Params) -> str | None:
    what, settings = params["what"], params["settings"]
    if what not in _SET:
        return None
    words = [f"ethtool {_SET[what]} {params['ifname']}"]
    for name, value in settings.items():
        if what in ("privflags", "features"):
            words.append(f"{name} {_on(value)}")
        elif what == "linkmodes" and name == "advertised":
            words.append(" ".join(["advertise", *(f"{mode} on" for mode in value)]))
        elif what == "linkmodes" and name == "duplex":
            words.append(f"duplex {'full' if value else 'half'}")
        elif name == "tcp-data-split":
            words.append(f"tcp-data-split {'on' if value == 2 else 'off'}")
        elif name in _SWITCHES and (what == "pause" or name not in ("rx", "tx")):
            words.append(f"{name.replace('use-adaptive', 'adaptive')} {_on(value)}")
        elif isinstance(value, bool | int | str):
            # ethtool(8) says rx-frames for netlink's rx-max-frames.
            words.append(
                f"{_NAMES.get(name, name).replace('max-frames', 'frames')} {int(value) if isinstance(value, bool) else value}"
            )
        else:
            return None
    return " ".join(words)


def _set_rss(params: _Params) -> str | None:
    """Return ``ethtool -X``, which takes a table that deals the queues out in turn, but not any table."""
    table, key = params.get("indir"), params.get("hkey")
    words = [f"ethtool -X {params['ifname']}"]
    if table == []:  # the kernel's way to say: as the driver had it
        words.append("default")
    elif table is not None:
        count = max(table) + 1
        if table != [index % count for index in range(len(table))]:
            return None
        words.append(f"equal {count}")
    if key is not None:
        words.append(f"hkey {':'.join(key[place : place + 2] for place in range(0, len(key), 2))}")
    return " ".join(words)


def _process(params: _Params) -> str:
    text = params.get("input")
    command = shlex.join(params["command"])
    return command if text is None else f"{command} <<< {shlex.quote(text)}"


def _scapy(frame: bytes) -> str:
    """Return the line that sends a frame, in scapy's own words if they are not too long."""
    made = Ether(frame)
    text = made.command()
    if len(text) > _LONGEST_FRAME or bytes(made) != frame:
        text = f"Ether(bytes.fromhex('{frame.hex()}'))"
    return f"sendp({text}, iface='wire0')"


def _json(value: object) -> str:
    return json.dumps(value, separators=(", ", ": "))


def _shown(call: Mapping[str, Any]) -> str:
    """Return what a call returned, in one line."""
    if "error" in call:
        return f"error: {call['error']}"
    found = call.get("result")
    if isinstance(found, Mapping) and "exit_status" in found:
        output = str(found.get("stdout", found.get("output", ""))).strip() or str(found.get("stderr", "")).strip()
        status = f"exit status {found['exit_status']}" if found["exit_status"] else ""
        return "; ".join(filter(None, (status, " | ".join(output.splitlines()))))
    return "" if found is None else _json(found)
