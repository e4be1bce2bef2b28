# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages, fetched and unpacked into a folder of our own: never installed, no chroot, no maintainer script."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from plugfest.errors import InfrastructureError, UsageError
from plugfest.provision.progress import activity, say
from plugfest.provision.settings import ProvisionSettings

APT = Path("/etc/apt")
KEYRINGS = ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")
KEYRING_FOLDERS = (Path("/usr/share/keyrings"), APT / "trusted.gpg.d")
_ONE_LINE = re.compile(r"^deb\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$")
UNUSED = (
    *("dev", "etc/apt", "var/lib/apt", "var/lib/dpkg", "var/cache"),
    *(f"usr/share/{name}" for name in ("doc", "info", "lintian", "locale", "man")),
    *("usr/lib/x86_64-linux-gnu/gconv", "usr/lib/gcc", "usr/include/c++"),
)
"""Folders of unpacked packages that nothing here reads: devices, apt's own state, documents, what only C++ needs."""

_NOT_THE_ARCHIVE = re.compile(r"security|debug|ports")


@dataclass(frozen=True)
class Packages:
    """What is fetched.

    Attributes:
        names: the packages; what they depend on comes along.
        suite: release, as ``trixie``.
        backports: prefer that release's backports for them and for what they depend on.
    """

    names: tuple[str, ...]
    suite: str = "trixie"
    backports: bool = False

    def recipe(self) -> str:
        """Return what identifies this choice, for the cache's key; the mirror is no part of it."""
        return f"{self.suite} backports={self.backports} {' '.join(sorted(self.names))}"


def mirror(settings: ProvisionSettings, apt: Path = APT) -> str:
    """Return the address of the Debian mirror: the user's, or the one that the host's apt is configured with.

    Raises:
        UsageError: the user's is no address.
        InfrastructureError: neither.
    """
    if settings.mirror:
        if urlsplit(settings.mirror).scheme not in ("http", "https", "file", "copy"):
            raise UsageError(
                f"mirror {settings.mirror!r}: expected an address that begins with http:, https: or file:, found none; mend --mirror"
            )
        return settings.mirror.rstrip("/")
    for uri in configured(apt):
        return uri.rstrip("/")
    raise InfrastructureError(f"expected a Debian mirror in {apt}, found none; name one with --mirror ADDRESS")


def configured(apt: Path = APT) -> Iterator[str]:
    """Yield the addresses of the Debian archives in apt's configuration, in its order (sources.list(5), both formats)."""
    lists = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
    for path in lists:
        for line in _lines(path):
            found = _ONE_LINE.match(line.partition("#")[0].strip())
            if found and "main" in found["components"].split():
                yield from _archives([found["uri"]])
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", "\n".join(line for line in _lines(path) if not line.startswith("#"))):
            fields = _fields(stanza)
            enabled = fields.get("enabled", "yes").lower() not in ("no", "false", "0")
            if enabled and "deb" in fields.get("types", "").split() and "main" in fields.get("components", "").split():
                yield from _archives(fields.get("uris", "").split())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1].isspace():
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _archives(addresses: Sequence[str]) -> Iterator[str]:
    for address in addresses:
        path = urlsplit(address).path.rstrip("/")
        # A vendor's archive beside Debian's also has a component "main"; Debian's own path ends in "debian".
        if path.rsplit("/", 1)[-1].startswith("debian") and not _NOT_THE_ARCHIVE.search(path):
            yield address


def keyring() -> Path:
    """Return the file with the archive's keys.

    Raises:
        InfrastructureError: it is not on this machine; nothing is fetched without it.
    """
    for folder in KEYRING_FOLDERS:
        for name in KEYRINGS:
            if (folder / name).is_file():
                return folder / name
    raise InfrastructureError(
        f"expected the Debian archive's keys at {KEYRING_FOLDERS[0] / KEYRINGS[0]}, found none; install the package debian-archive-keyring"
    )


def ensure_mmdebstrap() -> str:
    """Return the path of mmdebstrap, installing it with apt if we are root on a Debian-like host.

    Raises:
        InfrastructureError: it is missing and cannot be installed from here.
    """
    found = shutil.which("mmdebstrap")
    if found:
        return found
    advice = "install the package mmdebstrap"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise InfrastructureError(f"expected mmdebstrap in PATH, found none; {advice}")
    say("mmdebstrap is missing: installing it with apt-get")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with activity("apt-get install mmdebstrap"):
        for words in (["update"], ["install", "--yes", "--no-install-recommends", "mmdebstrap"]):
            done = subprocess.run(
                ["apt-get", "-qq", *words], capture_output=True, text=True, env=environment, check=False
            )
        # A third-party source that does not answer fails "update" and hurts nobody: only what was wanted counts.
        if done.returncode != 0:
            raise InfrastructureError(
                f"expected apt-get to install mmdebstrap, found: {_last_error(done.stderr)}; {advice} yourself"
            )
    found = shutil.which("mmdebstrap")
    if not found:
        raise InfrastructureError(f"apt-get installed mmdebstrap, but it is not in PATH; {advice} yourself")
    return found


def unpack(packages: Packages, target: Path, settings: ProvisionSettings) -> None:
    """Fetch packages with all that they depend on, check their signatures and unpack them into an empty folder.

    Raises:
        InfrastructureError: no mirror, no such package, a download that broke off or whose checksum is wrong, no space.
    """
    program = ensure_mmdebstrap()
    source = mirror(settings)
    signed = f"[signed-by={keyring()}]"
    lines = [f"deb {signed} {source} {packages.suite} main"]
    # It must not outlive us: its folder is no longer locked then.
    words = ["setpriv", "--pdeathsig", "TERM", program]
    # A user's files stay the user's: where there are subordinate ids mmdebstrap would give the files to one of them.
    words.append("--mode=root" if os.geteuid() == 0 else "--mode=chrootless")
    words += ["--variant=extract", "--quiet", f"--include={','.join(packages.names)}"]
    if packages.backports:
        lines.append(f"deb {signed} {source} {packages.suite}-backports main")
        # Backports are not taken by themselves: they have the lowest priority, but for the release that is preferred.
        words.append(f'--aptopt=APT::Default-Release "{packages.suite}-backports"')
    words += ['--aptopt=Acquire::Retries "3"', packages.suite, str(target), *lines]
    # mmdebstrap wants its own scratch folder readable by apt's user.
    with tempfile.TemporaryDirectory(prefix="plugfest-") as scratch:
        Path(scratch).chmod(0o755)
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": scratch, "LC_ALL": "C.UTF-8"},
            check=False,
        )
    if done.returncode != 0:
        raise InfrastructureError(_explain(done.stderr, packages, source))
    for rest in UNUSED:
        shutil.rmtree(target / rest, ignore_errors=True)


def _explain(text: str, packages: Packages, source: str) -> str:
    patterns = {
        r"Unable to locate package (\S+)": "package {0} is not in {suite} of {source}; name a complete mirror with --mirror",
        r"(Could not resolve|Temporary failure resolving|Could not connect|Connection (?:refused|timed out)|Network is unreachable)": (
            "expected {source} to answer, found: {0}; mend the network or name another mirror by --mirror"
        ),
        r"(Hash Sum mismatch|File has unexpected size|Undetermined Error|Connection failed|Error reading from server)": (
            "a download from {source} broke off ({0}); try again, or name another mirror by --mirror"
        ),
        r"(No space left on device)": "{0} while packages of {suite} were unpacked; free some (plugfest cache prune)",
        r"(NO_PUBKEY \S+|is not signed|EXPKEYSIG|BADSIG)": (
            "{source} is not signed with a key of this machine ({0}); update the package debian-archive-keyring"
        ),
        r"(404\s+Not Found|does not have a Release file)": "{source} has no {suite} ({0}); name a complete mirror with --mirror",
    }
    for pattern, message in patterns.items():
        found = re.search(pattern, text)
        if found:
            return message.format(found[1], suite=packages.suite, source=source)
    return f"mmdebstrap did not unpack {packages.suite} from {source}: {_last_error(text)}; try again, or name another mirror by --mirror"


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err:", "error"))]
    return (errors or lines or ["no message"])[-1]
