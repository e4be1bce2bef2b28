# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest's root gets besides packages."""

import subprocess
import sys

from plugfest.location import recipes_root
from plugfest.provision.root import agent_digest, furnish


def furnished(tmp_path):
    root = tmp_path / "root"
    for name in ("root/usr/bin", "root/usr/sbin", "bpf", "programs"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "bpf" / "xdp_pass.o").touch()
    furnish(root, recipes_root(), bpf=tmp_path / "bpf", programs=tmp_path / "programs")
    return root / "usr/lib/plugfest"


def test_the_agent_is_shipped_with_all_its_packages(tmp_path):
    """Each method can be imported from the root alone."""
    home = furnished(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(home)!r}); from agent import methods; print(len(methods.load_all()))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    sources = (recipes_root() / "agent").rglob("*.py")
    assert int(done.stdout) == sum(source.read_text().count("\n@exposed\n") for source in sources) > 90
    assert not list(home.rglob("*.md"))
    assert (home / "bpf/xdp_pass.o").exists()


def test_programs_have_the_names_that_debians_alternatives_give_them(tmp_path):
    for name in ("gawk", "which.debianutils"):
        program = tmp_path / "root/usr/bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch()
    furnished(tmp_path)
    links = {name: (tmp_path / "root/usr/bin" / name).readlink().name for name in ("awk", "which", "vi")}
    assert links == {"awk": "gawk", "which": "which.debianutils", "vi": "busybox"}


def test_without_another_program_busybox_is_awk(tmp_path):
    furnished(tmp_path)
    assert (tmp_path / "root/usr/bin/awk").readlink().name == "busybox"


def test_a_change_in_the_agent_is_another_root(tmp_path):
    home = furnished(tmp_path)
    before = agent_digest(home)
    assert before == agent_digest(recipes_root())
    with (home / "agent/netlink/link.py").open("a") as file:
        file.write("\n")
    assert agent_digest(home) != before
