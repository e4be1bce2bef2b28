# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages, fetched and unpacked into a folder: never installed, without chroot or maintainer scripts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from plugfest.errors import InfrastructureError, UsageError
from plugfest.provision.progress import activity, print_line
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
"""Folders of unpacked packages that are not used: devices, apt's state, documentation, files for C++ only."""

_ABSENT = re.compile(r"Unable to locate package (\S+)|Version '(\S+)' for '(\S+)' was not found")
"""What apt says of a package, or of a version of one, that the mirror does not have."""

_NOT_THE_ARCHIVE = re.compile(r"security|debug|ports")


class MissingPackageError(InfrastructureError):
    """The mirror does not have a package, or not this version of it."""


@dataclass(frozen=True)
class Packages:
    """The packages to fetch.

    Attributes:
        names: the packages, each perhaps with ``=VERSION``; their dependencies are fetched too.
        suite: release, as ``trixie``.
        backports: prefer that release's backports for them and their dependencies.
        unused: folders that are deleted once the packages are unpacked.
    """

    names: tuple[str, ...]
    suite: str = "trixie"
    backports: bool = False
    unused: tuple[str, ...] = UNUSED

    def recipe(self) -> str:
        """Return a description for the cache's key; it does not include the mirror."""
        return f"{self.suite} backports={self.backports} {' '.join(sorted(self.names))}"


def mirror(settings: ProvisionSettings, apt: Path = APT) -> str:
    """Return the URL of the Debian mirror: the user's, or the one in the host's apt configuration.

    Raises:
        UsageError: the user's is not a URL.
        InfrastructureError: there is neither.
    """
    if settings.mirror:
        if urlsplit(settings.mirror).scheme not in ("http", "https", "file", "copy"):
            raise UsageError(
                f"mirror {settings.mirror!r}: expected a URL that begins with http:, https: or file:; correct --mirror"
            )
        return settings.mirror.rstrip("/")
    for uri in configured(apt):
        return uri.rstrip("/")
    raise InfrastructureError(f"expected a Debian mirror in {apt}, found none; specify one with --mirror URL")


def configured(apt: Path = APT) -> Iterator[str]:
    """Yield the URLs of the Debian archives in apt's configuration, in order (sources.list(5), both formats)."""
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
        # A third-party archive may also have a component "main"; the path of Debian's ends in "debian".
        if path.rsplit("/", 1)[-1].startswith("debian") and not _NOT_THE_ARCHIVE.search(path):
            yield address


def keyring() -> Path:
    """Return the keyring of the Debian archive.

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
    """Return the path of mmdebstrap; install it with apt if running as root on a host with apt.

    Raises:
        InfrastructureError: it is missing and cannot be installed.
    """
    found = shutil.which("mmdebstrap")
    if found:
        return found
    advice = "install the package mmdebstrap"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise InfrastructureError(f"expected mmdebstrap in PATH, found none; {advice}")
    print_line("mmdebstrap is missing; installing it with apt-get")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with activity("apt-get install mmdebstrap"):
        for argv in (["update"], ["install", "--yes", "--no-install-recommends", "mmdebstrap"]):
            done = subprocess.run(
                ["apt-get", "-qq", *argv], capture_output=True, text=True, env=environment, check=False
            )
        # "update" fails if any third-party source does not respond; only the result of "install" matters.
        if done.returncode != 0:
            raise InfrastructureError(
                f"expected apt-get to install mmdebstrap, found: {_last_error(done.stderr)}; {advice} yourself"
            )
    found = shutil.which("mmdebstrap")
    if not found:
        raise InfrastructureError(f"apt-get installed mmdebstrap, but it is not in PATH; {advice} yourself")
    return found


def unpack(packages: Packages, target: Path, settings: ProvisionSettings) -> dict[str, str]:
    """Fetch packages and their dependencies, check the signatures, and unpack them into an empty folder.

    Args:
        packages: to fetch.
        target: the folder.
        settings: cache and mirror.

    Returns:
        The version of each package that was unpacked, by name.

    Raises:
        InfrastructureError: no mirror, no such package, an interrupted or corrupt download, no space.
    """
    program = ensure_mmdebstrap()
    source = mirror(settings)
    signed = f"[signed-by={keyring()}]"
    lines = [f"deb {signed} {source} {packages.suite} main"]
    # It must not outlive this process, which holds the lock of its folder.
    argv = ["setpriv", "--pdeathsig", "TERM", program]
    # For an ordinary user chrootless mode keeps the files the user's; with subordinate ids, mmdebstrap would give them to one of those.
    argv.append("--mode=root" if os.geteuid() == 0 else "--mode=chrootless")
    argv += ["--variant=extract", "--quiet", f"--include={','.join(packages.names)}"]
    if packages.backports:
        lines.append(f"deb {signed} {source} {packages.suite}-backports main")
        # Backports have the lowest priority, unless they are the default release.
        argv.append(f'--aptopt=APT::Default-Release "{packages.suite}-backports"')
    argv.append('--aptopt=Acquire::Retries "3"')
    # mmdebstrap's scratch folder must be readable by apt's user.
    with tempfile.TemporaryDirectory(prefix="plugfest-") as scratch:
        Path(scratch).chmod(0o755)
        fetched = Path(scratch) / "fetched"
        # mmdebstrap removes the packages' files when it has unpacked them; dpkg knows nothing of what was not installed.
        argv.append(f'--extract-hook=ls "$1/var/cache/apt/archives" >{shlex.quote(str(fetched))}')
        done = subprocess.run(
            [*argv, packages.suite, str(target), *lines],
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": scratch, "LC_ALL": "C.UTF-8"},
            check=False,
        )
        if done.returncode != 0:
            raise _failure(done.stderr, packages, source)
        names = [line.split("_") for line in fetched.read_text().split() if line.endswith(".deb")]
    for rest in packages.unused:
        shutil.rmtree(target / rest, ignore_errors=True)
    # NAME_VERSION_ARCHITECTURE.deb, with the colon of an epoch as %3a
    return {name: unquote(version) for name, version, _ in names}


def _failure(text: str, packages: Packages, source: str) -> InfrastructureError:
    patterns = {
        r"(Could not resolve|Temporary failure resolving|Could not connect|Connection (?:refused|timed out)|Network is unreachable)": (
            "expected {source} to respond, found: {0}; check the network, or specify another mirror with --mirror"
        ),
        r"(Hash Sum mismatch|File has unexpected size|Undetermined Error|Connection failed|Error reading from server)": (
            "a download from {source} failed ({0}); try again, or specify another mirror with --mirror"
        ),
        r"(No space left on device)": "{0} while unpacking packages of {suite}; free some space (plugfest cache prune)",
        r"(NO_PUBKEY \S+|is not signed|EXPKEYSIG|BADSIG)": (
            "{source} is not signed with a key that this machine has ({0}); update the package debian-archive-keyring"
        ),
        r"(404\s+Not Found|does not have a Release file)": "{source} has no {suite} ({0}); specify a complete mirror with --mirror",
    }
    for pattern, message in patterns.items():
        found = re.search(pattern, text)
        if found:
            return InfrastructureError(message.format(found[1], suite=packages.suite, source=source))
    # Last: a mirror that does not respond has no packages either.
    absent = _ABSENT.search(text)
    if absent:
        package = absent[1] or f"{absent[3]} {absent[2]}"
        return MissingPackageError(
            f"package {package} is not in {packages.suite} of {source}; specify a complete mirror with --mirror"
        )
    return InfrastructureError(
        f"mmdebstrap did not unpack {packages.suite} from {source}: {_last_error(text)}; try again, or use another --mirror"
    )


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err:", "error"))]
    return (errors or lines or ["no message"])[-1]
