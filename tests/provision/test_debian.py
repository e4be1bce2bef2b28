# SPDX-License-Identifier: GPL-2.0-or-later
"""The mirror is the host's own, and each of its errors is one line."""

import os
import re
import shutil
import stat
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError, UsageError
from plugfest.provision import debian
from plugfest.provision.debian import MissingPackageError, Packages, configured, mirror, unpack
from plugfest.provision.settings import ProvisionSettings

SOURCES = """\
# a comment
Types: deb deb-src
URIs: http://one.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://one.example/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_deb822(apt):
    (apt / "sources.list.d/debian.sources").write_text(SOURCES)
    assert list(configured(apt)) == ["http://one.example/debian/"]
    assert mirror(ProvisionSettings(), apt) == "http://one.example/debian"


def test_disabled_stanza_does_not_count(apt):
    (apt / "sources.list.d/debian.sources").write_text(SOURCES.replace("Types: deb deb-src", "Enabled: no\nTypes: deb"))
    assert not list(configured(apt))


def test_one_line_format(apt):
    (apt / "sources.list").write_text(
        "# deb http://off.example/debian bookworm main\n"
        "deb-src http://source.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k] http://two.example/debian bookworm main # why\n"
    )
    assert list(configured(apt)) == ["http://two.example/debian"]


def test_a_vendors_archive_is_not_debians(apt):
    (apt / "sources.list.d/vendor.list").write_text("deb http://packages.example/apt some-tool main\n")
    (apt / "sources.list.d/ports.list").write_text("deb http://ports.example/debian-ports sid main\n")
    with pytest.raises(InfrastructureError, match="specify one with --mirror"):
        mirror(ProvisionSettings(), apt)


def test_the_users_mirror_wins(apt):
    (apt / "sources.list.d/debian.sources").write_text(SOURCES)
    assert mirror(ProvisionSettings(mirror="file:///srv/debian/"), apt) == "file:///srv/debian"


def test_a_mirror_must_be_an_address(apt):
    with pytest.raises(UsageError, match="correct --mirror"):
        mirror(ProvisionSettings(mirror="somewhere"), apt)


def test_no_keyring_no_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(debian, "KEYRING_FOLDERS", (tmp_path,))
    with pytest.raises(InfrastructureError, match="debian-archive-keyring"):
        debian.keyring()


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("E: Unable to locate package nosuch", "package nosuch is not in trixie"),
        (
            "E: Version '7.3.4-1' for 'linux-source-7.3' was not found",
            "package linux-source-7.3 7.3.4-1 is not in trixie",
        ),
        (
            "Err:1 http://x Could not resolve 'x'\nE: Unable to locate package nosuch",
            "expected http://mirror.example/debian to respond",
        ),
        ("Err:1 http://x Could not resolve 'x'", "expected http://mirror.example/debian to respond"),
        ("E: Failed to fetch http://x  Hash Sum mismatch", "failed"),
        ("E: Failed to fetch http://x  File has unexpected size (1 != 2). Mirror sync in progress?", "failed"),
        ("dpkg-deb: error: No space left on device", "No space left on device while unpacking"),
        ("W: GPG error: NO_PUBKEY 0123456789ABCDEF", "not signed with a key that this machine has"),
        ("E: The repository 'x' does not have a Release file.", "has no trixie"),
        ("E: something new", "E: something new"),
    ],
)
def test_failures_are_one_line(monkeypatch, tmp_path, output, expected):
    (tmp_path / "output").write_text(output)
    program(tmp_path / "bin", "mmdebstrap", f"cat {tmp_path}/output >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(debian, "keyring", lambda: Path("/keys"))
    with pytest.raises(InfrastructureError) as found:
        unpack(Packages(("nosuch",)), tmp_path / "target", ProvisionSettings(mirror="http://mirror.example/debian"))
    assert expected in str(found.value)
    assert "\n" not in str(found.value)
    assert isinstance(found.value, MissingPackageError) == ("is not in" in expected)


def test_arguments_of_mmdebstrap(monkeypatch, tmp_path):
    fetched = "bash_5.2.37-2+b10_amd64.deb busybox-static_1%3a1.37.0-6_amd64.deb lock partial"
    script = f'for argument; do echo "$argument"; done >{tmp_path}/arguments; echo "{fetched}" >"$TMPDIR/fetched"'
    program(tmp_path / "bin", "mmdebstrap", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(debian, "keyring", lambda: Path("/keys"))
    versions = unpack(
        Packages(("one", "two"), backports=True),
        tmp_path / "target",
        ProvisionSettings(mirror="http://mirror.example/debian"),
    )
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert "--variant=extract" in arguments
    assert "--include=one,two" in arguments
    assert "deb [signed-by=/keys] http://mirror.example/debian trixie-backports main" in arguments
    assert '--aptopt=APT::Default-Release "trixie-backports"' in arguments
    assert versions == {"bash": "5.2.37-2+b10", "busybox-static": "1:1.37.0-6"}


def test_missing_mmdebstrap_names_the_package(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(InfrastructureError, match="install the package mmdebstrap"):
        debian.ensure_mmdebstrap()


@pytest.mark.parametrize(
    ("apt", "expected"),
    [
        ("case $2 in update) exit 100;; esac; echo '#!/bin/sh' >{bin}/mmdebstrap; chmod +x {bin}/mmdebstrap", None),
        ("echo 'E: Unable to locate package mmdebstrap' >&2; exit 100", "E: Unable to locate package mmdebstrap"),
        ("exit 0", "it is not in PATH"),
    ],
    ids=["installed, though a source does not answer", "not to be had", "not in PATH"],
)
def test_root_gets_mmdebstrap_installed_with_a_message(monkeypatch, tmp_path, capsys, apt, expected):
    folder = tmp_path / "bin"
    program(folder, "apt-get", apt.format(bin=folder))
    for name in ("sh", "chmod"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if expected is None:
        assert debian.ensure_mmdebstrap() == str(folder / "mmdebstrap")
    else:
        with pytest.raises(InfrastructureError, match=re.escape(expected)) as found:
            debian.ensure_mmdebstrap()
        assert "install the package mmdebstrap yourself" in str(found.value)
    assert "mmdebstrap is missing; installing it with apt-get" in capsys.readouterr().err
