# SPDX-License-Identifier: GPL-2.0-or-later
"""The remote host, and one of upstream's tests through a real guest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from plugfest import cli
from plugfest.errors import InfrastructureError
from plugfest.location import recipes_root
from plugfest.machine.tap import DUT_IPV4, IPV4
from plugfest.provision.kernel import ensure_kernel
from plugfest.provision.toolchain import ensure_bwrap
from plugfest.report import document
from plugfest.run import sandbox
from plugfest.selftests.image import ensure_image
from plugfest.selftests.remote_host import RemoteHost, configuration
from plugfest.selftests.selftest import ensure_tests


def test_the_configuration_is_that_of_the_readme() -> None:
    found = configuration("eth0")
    assert (found["NETIF"], found["LOCAL_V4"], found["REMOTE_V4"]) == ("eth0", DUT_IPV4, IPV4)
    assert not any(set(value) & set(" \"'") for value in found.values())


def test_a_remote_host_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(
        InfrastructureError, match="expected the tests' remote host to listen, found that it ended: no such root"
    ):
        RemoteHost(("sh", "-c", "echo no such root >&2"), tmp_path, tmp_path / "remote")


def test_it_has_the_networks_capabilities_and_limited_memory(tmp_path: Path) -> None:
    """As bubblewrap is called: a real one is in the next test."""
    fake = f'echo "$@" >>{tmp_path}/called; echo listening; exec sleep 60'
    host = RemoteHost(("sh", "-c", fake, "bwrap"), tmp_path, tmp_path / "remote")
    host.close()
    words = (tmp_path / "called").read_text().split()
    assert words.index("--cap-drop") < words.index("--cap-add")
    assert words[words.index("--cap-drop") + 1] == "ALL"
    places = [number for number, word in enumerate(words) if word == "--tmpfs"]
    assert places
    assert all(words[number - 2] == "--size" for number in places)
    assert {"--seccomp", "prlimit", "--core=0", "--nproc=4096"} <= set(words)


@pytest.fixture
def private() -> None:
    """Skip where the host allows no network namespace of one's own."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        pytest.skip("it needs root, and network namespaces")


LEFT = """
ip link set dev lo up
ip link add kept type veth peer name other
show() { ip -o link show | sed 's/state.*//'; ip -o address; for f in -4 -6; do ip $f rule; ip $f route show table all; done; }
show
ip link set dev lo mtu 1500
ip link add left type veth peer name right
ip link set dev left up
ip -4 rule add fwmark 1 lookup 5
ip -6 rule add fwmark 1 lookup 5
ip address add 192.0.2.1/32 dev lo
ip address add 2001:db8:9::1/128 dev lo
ip -4 route add blackhole 192.0.2.128/25
ip -6 route add unreachable 2001:db8:7::/64
ip -4 route add 203.0.113.0/24 dev lo
sleep 0.1
echo ---
show
echo ---
sh "$0" lo kept other
show
"""


def test_what_a_test_left_in_the_remote_hosts_network_is_removed(private: None) -> None:
    script = recipes_root() / "remote/remove-leftovers"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-ec", LEFT, script], capture_output=True, text=True, check=True, timeout=30
    )
    before, meanwhile, after = (part.split("\n") for part in done.stdout.split("---\n"))
    assert len(meanwhile) > len(before) + 8
    assert after == [line for line in before if line or line == after[-1]]


CONFINED = """
touch /x /usr/x /dev/x /proc/sys/net/x; touch /tmp/x /root/x /var/x /dev/shm/x && echo written
head -c 20000000 /dev/zero >/run/full; stat -c %s /run/full
mount -t tmpfs none /tmp && echo mounted; unshare --user true && echo unshared
for each in /home/* /root/.ssh /run/user /etc/ssh/*key; do test -e $each && echo $each; done
sed -n 's/^Cap\\(Prm\\|Eff\\):\t//p' /proc/self/status
ls -d /proc/[1-9]* | wc -l; ulimit -n; uname -n
"""


def test_its_commands_are_confined(provisioning, tmp_path: Path) -> None:
    tests = ensure_tests(provisioning, ensure_kernel(provisioning))
    root = ensure_image(provisioning, tests).folder
    bwrap = ensure_bwrap(provisioning)
    assert root is not None

    def payload() -> int:
        host = RemoteHost(bwrap, root, tmp_path / "remote")
        host.restart()
        with (tmp_path / "errors").open("wb") as errors:
            process = host.start(["sh", "-c", CONFINED], errors)
            (tmp_path / "said").write_bytes(process.communicate(timeout=30)[0])
        host.close()
        return 0

    assert sandbox.enter(payload, folder=tmp_path / "run", grace=5).status == 0
    said = (tmp_path / "said").read_text().split()
    networks = f"{1 << 12 | 1 << 13 | 1 << 10:016x}"  # CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE
    assert said[:4] == ["written", str(16 << 20), networks, networks]
    assert int(said[4]) < 8  # its own processes
    assert said[5:] == ["4096", "remote"]
    errors = (tmp_path / "errors").read_text()
    assert [errors.count(f"'{name}': Read-only file system") for name in ("/x", "/usr/x", "/dev/x")] == [1, 1, 1]
    assert "No space left on device" in errors


def test_ping_over_the_wire(provisioning, tmp_path: Path) -> None:
    arguments = [
        "selftests",
        "ixgbe",
        "--cache-dir",
        str(provisioning.cache),
        "--output",
        str(tmp_path / "out"),
        "--",
        "ping.py",
    ]
    done = CliRunner().invoke(cli.commands, arguments, standalone_mode=False)
    report = document.load(tmp_path / "out")
    verdicts = {each["test"]: each["verdict"] for each in report["results"]}
    assert verdicts["drivers/net/ping.py[test_default_v4]"] == "pass", done.output
