# SPDX-License-Identifier: GPL-2.0-or-later
"""`nicmodels new`, and docs/adding-a-nic.md: the NIC that the page makes, driven by a driver that shares nothing with it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import nicmodels
import pytest
from nicmodels import new_model
from nicmodels.__main__ import main
from nicmodels.wire import PairWire
from plugfest.requirements import drivers
from vfio_client import MSIX, VfioClient
from wire_peer import MAC, PEER, RAM, WirePeer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vfio_client import GuestRam

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-nic.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LIMIT = 150
BAR = 0
UNMAPPED = 0xDEAD000


def page_files() -> dict[str, str]:
    """File name to the text that the page gives it; the blocks of one file follow each other."""
    files: dict[str, str] = {}
    for name, code in BLOCKS:
        files[name] = f"{files[name]}\n{code}" if name in files else code
    return files


class Checkout:
    """A copy of `nicmodels` that a test may add models to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "qemu-models"
        package = Path(nicmodels.__file__).parent
        shutil.copytree(package, self.source / "nicmodels", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", root)

    def command(self, *arguments: str) -> list[str]:
        """The command line of a Python module."""
        return [sys.executable, "-m", *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        """The environment in which `nicmodels` is this copy."""
        return {**os.environ, "PYTHONPATH": str(self.source), **more}

    def run(self, *arguments: str, **more: str) -> str:
        """Run a Python module, which must succeed; returns its output."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def model(self, name: str) -> Path:
        """The folder of a model."""
        return self.source / "nicmodels" / "models" / name


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy with three models: `blank` and `my_nic` as they are written, `acme` as the page makes it."""
    made = Checkout(tmp_path_factory.mktemp("checkout"))
    for name in ("blank", "my_nic", "acme"):
        made.run("nicmodels", "new", name)
    for name, text in page_files().items():
        if name != "drivers.py":
            (made.model("acme") / name).write_text(text, encoding="utf-8")
    return made


class Served:
    """A model in a process, as `nicmodels serve` runs it."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 20)[0], "not ready within 20 s"
        assert process.stdout.readline() == "ready\n"
        self.client = VfioClient(folder / "device")
        self.client.negotiate()
        self._control = socket.socket(socket.AF_UNIX)
        self._control.connect(str(folder / "control"))
        self._answers = self._control.makefile()

    def call(self, method: str, **params: object) -> object:
        """Call a control method."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self._control.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self._answers.readline())
        assert "result" in answer, answer
        return answer["result"]

    def close(self) -> None:
        """Disconnect."""
        self.client.close()
        self._answers.close()
        self._control.close()


@pytest.fixture
def serve(checkout: Checkout, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serve a model of the checkout: `serve(name, wire)`."""
    running: list[tuple[subprocess.Popen[str], Served]] = []

    def start(name: str, wire: str = "null") -> Served:
        options = ("--socket", str(tmp_path / "device"), "--control", str(tmp_path / "control"), "--wire", wire)
        process = subprocess.Popen(
            checkout.command("nicmodels", "serve", name, *options),
            env=checkout.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            served = Served(process, tmp_path)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        running.append((process, served))
        return served

    yield start
    for process, served in running:
        served.close()
        process.terminate()
        process.communicate(timeout=10)
        assert process.returncode == 0


def until(condition: Callable[[], object], what: str, timeout: float = 10.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"expected within {timeout} s: {what}"


# The model that nicmodels new writes


def test_a_new_model_is_listed(checkout: Checkout) -> None:
    listed = {model["name"]: model for model in json.loads(checkout.run("nicmodels", "list", "--json"))}
    assert listed["blank"]["default_profile"] in listed["blank"]["profiles"]
    assert {fault["name"] for fault in listed["blank"]["faults"]} == {
        "interrupt.vector.lost",
        "interrupt.vector.repeated",
    }
    assert "ixgbe" in listed


def test_a_new_model_runs(serve: Callable[..., Served]) -> None:
    served = serve("my_nic")
    client = served.client
    client.enable()
    client.enable_irqs(MSIX, 3)
    assert client.config_read(0) == 0x10F0_1AF4
    address = client.read(BAR, 0x08).to_bytes(4, "little") + client.read(BAR, 0x0C).to_bytes(4, "little")
    assert address == MAC + bytes(2)
    until(lambda: client.read(BAR, 0x04) == 1, "the link is up")
    served.call("link.set", up=False)
    until(lambda: client.read(BAR, 0x04) == 0, "the link is down")
    assert client.wait_irq(MSIX, 2) >= 1
    client.write(BAR, 0x00, 1)
    assert client.read(BAR, 0x00) == 0, "RESET clears itself"
    assert served.call("model.counters")["resets"]["software"] == 1
    assert served.call("model.describe")["queues"] == {"rx": 0, "tx": 0}


@pytest.mark.parametrize("name", ["", "2nic", "Nic", "my-nic", "my nic", "nic_", "../nic", "class", "x" * 21])
def test_a_name_that_is_no_package(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", name, "--into", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nicmodels: name {name!r}: expected up to 20 of a-z, 0-9 and _")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ixgbe", "registry"])
def test_a_name_that_is_taken(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", name, "--into", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"nicmodels: name {name!r}: nicmodels.models has it already; choose another\n"


def test_a_folder_that_exists_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "acme").mkdir()
    assert main(["new", "acme", "--into", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"nicmodels: {tmp_path / 'acme'} exists; choose another name or folder\n"
    assert list((tmp_path / "acme").iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["new", "acme", "--into", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"nicmodels: {tmp_path / 'file' / 'acme'}: Not a directory\n"


def test_an_installed_package_is_not_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_model, "__file__", str(tmp_path / "site-packages" / "nicmodels" / "new_model.py"))
    assert main(["new", "acme"]) == 2
    expected = (
        f"nicmodels: {tmp_path / 'site-packages' / 'nicmodels'} is not in a checkout; choose a folder by --into\n"
    )
    assert capsys.readouterr().err == expected


def test_a_model_in_another_folder(checkout: Checkout, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    printed = checkout.run("nicmodels", "new", "elsewhere", "--into", str(folder))
    assert f"export NICMODELS_PATH={folder}  # so that it is found\n" in printed
    assert "elsewhere:" not in checkout.run("nicmodels", "list")
    assert checkout.run("nicmodels", "list", NICMODELS_PATH=f"{tmp_path}:{folder}").count("elsewhere:") == 1


@pytest.mark.parametrize("name", ["blank", "my_nic", "acme"])
def test_it_passes_ruff(checkout: Checkout, name: str) -> None:
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    checkout.run("ruff", "check", "--no-cache", str(checkout.model(name)))
    checkout.run("ruff", "format", "--no-cache", "--check", str(checkout.model(name)))


def test_they_pass_mypy(checkout: Checkout) -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    packages = [word for name in ("blank", "my_nic", "acme") for word in ("-p", f"nicmodels.models.{name}")]
    checkout.run("mypy", "--strict", *packages)


# The NIC of the page


def test_the_page_is_short() -> None:
    assert sum(code.count("\n") for _, code in BLOCKS) < LIMIT
    assert list(page_files()) == ["registers.py", "fault_points.py", "engine.py", "drivers.py"]


def test_the_pages_driver_fits_its_model(checkout: Checkout, serve: Callable[..., Served]) -> None:
    driver = eval(page_files()["drivers.py"], dict(vars(drivers)))
    (listed,) = json.loads(checkout.run("nicmodels", "list", "--json", driver.subject.model))
    assert driver.subject.profile in listed["profiles"]
    ids = serve(driver.subject.model).client.config_read(0)
    assert driver.pci_ids == ((ids & 0xFFFF, ids >> 16),)
    assert driver.areas == drivers.find("ixgbe").areas


class AcmeDriver:
    """A driver for the page's NIC, written from the page's list of registers alone."""

    COUNT = 8
    TX, RX = 0x20, 0x30
    BASE_LOW, BASE_HIGH, SIZE, DOORBELL = 0x0, 0x4, 0x8, 0xC
    BUFFER = 2048

    def __init__(self, client: VfioClient, ram: GuestRam) -> None:
        self.client = client
        self.ram = ram
        self.posted = 0
        self.rings = {ring: ram.allocate(16 * self.COUNT) for ring in (self.TX, self.RX)}
        self.buffers = {ring: [ram.allocate(self.BUFFER) for _ in range(self.COUNT)] for ring in self.rings}

    def start(self, post: int = COUNT - 1) -> None:
        """Start both rings, with `post` receive buffers, and wait for the link."""
        self.client.enable()
        self.client.enable_irqs(MSIX, 3)
        for ring, base in self.rings.items():
            self.client.write(BAR, ring + self.BASE_LOW, base & 0xFFFF_FFFF)
            self.client.write(BAR, ring + self.BASE_HIGH, base >> 32)
            self.client.write(BAR, ring + self.SIZE, self.COUNT)
        for index in range(post):
            self.describe(self.RX, index, self.buffers[self.RX][index], self.BUFFER)
        self.client.write(BAR, self.RX + self.DOORBELL, post)
        until(lambda: self.client.read(BAR, 0x04) & 1, "the link is up")

    def describe(self, ring: int, index: int, address: int, length: int) -> None:
        """Write a descriptor."""
        self.ram.write(self.rings[ring] + 16 * index, struct.pack("<QII", address, length, 0))

    def descriptor(self, ring: int, index: int) -> tuple[int, bool]:
        """The length of a descriptor, and whether it is done."""
        _, length, flags = struct.unpack("<QII", self.ram.read(self.rings[ring] + 16 * index, 16))
        return length, bool(flags & 1)

    def send(self, *frames: bytes) -> None:
        """Transmit frames, with one doorbell, when the ring has room: full, it would look empty."""
        assert len(frames) < self.COUNT
        last = self.posted + len(frames) - self.COUNT
        until(lambda: last < 0 or self.descriptor(self.TX, last % self.COUNT)[1], "the ring has room")
        for frame in frames:
            index = self.posted % self.COUNT
            address = self.buffers[self.TX][index]
            self.ram.write(address, frame)
            self.describe(self.TX, index, address, len(frame))
            self.posted += 1
        self.client.write(BAR, self.TX + self.DOORBELL, self.posted % self.COUNT)

    def received(self, index: int) -> bytes:
        """The frame in a receive descriptor, which must be done."""
        length, done = self.descriptor(self.RX, index)
        assert done
        return self.ram.read(self.buffers[self.RX][index], length)


@pytest.fixture
def acme(serve: Callable[..., Served], tmp_path: Path) -> Iterator[tuple[Served, AcmeDriver, WirePeer]]:
    served = serve("acme", f"pair:{tmp_path / 'cable'}")
    driver = AcmeDriver(served.client, served.client.add_ram(RAM, 1 << 20))
    wire = PairWire.at(tmp_path / "cable")
    until(lambda: wire.receive() is None and wire.connected, "the cable has two ends")
    yield served, driver, WirePeer(wire, lambda: served.client.read(BAR, 0x04))
    wire.close()


def frame(length: int, number: int = 0) -> bytes:
    return MAC + PEER + b"\x88\xb5" + bytes((number + each) & 0xFF for each in range(length - 14))


def test_it_resets(acme: tuple[Served, AcmeDriver, WirePeer]) -> None:
    served, driver, _ = acme
    driver.start()
    served.client.function_level_reset()
    assert served.call("model.queues")["rx"] == [{"enabled": False, "size": 0, "head": 0, "tail": 0}]
    assert served.client.read(BAR, driver.RX + driver.SIZE) == 0
    driver.start()
    served.client.write(BAR, 0x00, 1)
    assert [queue["enabled"] for queue in (*served.call("model.queues")["rx"], *served.call("model.queues")["tx"])] == [
        False,
        False,
    ]
    assert served.call("model.counters")["unknown"] == {}


def test_it_transmits(acme: tuple[Served, AcmeDriver, WirePeer]) -> None:
    served, driver, peer = acme
    driver.start()
    frames = [frame(length, number) for number, length in enumerate((1514, 60, 14, 333))]
    driver.send(*frames)
    assert peer.take(4) == [each.ljust(60, b"\0") for each in frames]
    assert served.client.wait_irq(MSIX, 0) == 1
    assert [driver.descriptor(driver.TX, index)[1] for index in range(5)] == [True] * 4 + [False]
    driver.send(*frames)
    driver.send(*frames)
    assert peer.take(8) == [each.ljust(60, b"\0") for each in frames] * 2, "the ring wraps"
    (counted,) = served.call("model.counters")["tx"]
    assert counted == {"frames": 12, "bytes": 3 * 1921, "segments": 12, "segment_bytes": 3 * (1921 + 46)}


def test_it_receives(acme: tuple[Served, AcmeDriver, WirePeer]) -> None:
    served, driver, peer = acme
    driver.start(post=3)
    frames = [frame(length, number) for number, length in enumerate((60, 1514, 61))]
    for index, each in enumerate(frames):
        peer.send(each)
        assert served.client.wait_irq(MSIX, 1) >= 1
        assert driver.received(index) == each
    peer.send(frame(60))
    until(lambda: served.call("model.counters")["rx"][0]["dropped"] == 1, "the fourth frame is dropped")
    assert served.call("model.counters")["rx"] == [{"frames": 4, "bytes": 60 + 1514 + 61 + 60, "dropped": 1}]


def test_frames_pass_only_while_the_link_is_up(acme: tuple[Served, AcmeDriver, WirePeer]) -> None:
    served, driver, peer = acme
    driver.start()
    served.call("link.set", up=False)
    assert served.client.wait_irq(MSIX, 2) >= 1
    peer.send(frame(60))
    driver.send(frame(60))
    assert served.client.wait_irq(MSIX, 0) == 1
    assert peer.rest() == []
    until(lambda: served.call("wire.counters")["received"] == 1, "the frame is taken from the wire")
    assert served.call("model.counters")["rx"] == [{"frames": 0, "bytes": 0, "dropped": 0}]


@pytest.mark.parametrize("what", ["buffer", "ring"])
def test_an_address_that_is_not_mapped(acme: tuple[Served, AcmeDriver, WirePeer], what: str) -> None:
    """It stops the ring; the other ring goes on."""
    served, driver, peer = acme
    driver.start(post=1)
    if what == "buffer":
        driver.describe(driver.TX, 0, UNMAPPED, 60)
    else:
        served.client.write(BAR, driver.TX + driver.BASE_LOW, UNMAPPED)
        served.client.write(BAR, driver.TX + driver.SIZE, driver.COUNT)
    served.client.write(BAR, driver.TX + driver.DOORBELL, 1)
    until(lambda: served.call("model.counters")["dma_errors"] == 1, "a DMA error")
    assert served.client.read(BAR, driver.TX + driver.SIZE) == 0
    assert [event["direction"] for event in served.call("events.read") if event["event"] == "dma.error"] == ["tx"]
    peer.send(frame(60))
    assert served.client.wait_irq(MSIX, 1) >= 1
    assert driver.received(0) == frame(60)


def test_a_receive_buffer_that_is_not_mapped(acme: tuple[Served, AcmeDriver, WirePeer]) -> None:
    served, driver, peer = acme
    driver.start(post=2)
    driver.describe(driver.RX, 0, UNMAPPED, driver.BUFFER)
    peer.send(frame(60))
    peer.send(frame(60))
    until(lambda: served.call("model.counters")["rx"][0]["frames"] == 2, "both frames are received")
    assert served.call("model.counters")["dma_errors"] == 1
    assert served.call("model.counters")["rx"][0]["dropped"] == 2
    assert served.call("model.queues")["rx"][0]["enabled"] is False


def test_its_faults(acme: tuple[Served, AcmeDriver, WirePeer]) -> None:
    served, driver, peer = acme
    driver.start()
    served.call("faults.arm", name="tx.queue.stuck", times=1)
    driver.send(frame(60))
    served.call("faults.arm", name="rx.length.wrong")
    peer.send(frame(60))
    assert served.client.wait_irq(MSIX, 1) >= 1
    assert len(driver.received(0)) == 61
    assert peer.rest() == []
    driver.send(frame(60, 1))
    assert peer.take(2) == [frame(60), frame(60, 1)]
    assert served.call("faults.fired", name="tx.queue.stuck") == {"tx.queue.stuck": 1}
