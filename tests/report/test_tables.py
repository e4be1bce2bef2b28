# SPDX-License-Identifier: GPL-2.0-or-later
"""Register traces and captures become pages with a table."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from nicmodels.wire.pcap import INBOUND, INTERFACE, OUTBOUND, PACKET, PACKET_END, SECTION_HEADER
from plugfest.plugin.artifacts import format_trace
from plugfest.report import html, tables
from plugfest.report.artifact import Artifact
from scapy.error import Scapy_Exception
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

FRAME = bytes(Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / IP(src="192.0.2.1", dst="192.0.2.2") / UDP())


def pcapng(*frames: tuple[bytes, int], start: int = 1_790_000_000_000_000_000) -> bytes:
    """A capture as the models record it, a millisecond between frames."""
    blocks = [SECTION_HEADER, INTERFACE]
    for number, (data, direction) in enumerate(frames):
        padded = data + bytes(-len(data) % 4)
        length = PACKET.size + len(padded) + PACKET_END.size
        high, low = divmod(start + number * 1_000_000, 1 << 32)
        blocks += [PACKET.pack(6, length, 0, high, low, len(data), len(data)), padded]
        blocks.append(PACKET_END.pack(2, 4, direction, 0, 0, length))
    return b"".join(blocks)


def pcap(*frames: bytes) -> bytes:
    """A capture as the runner records it for a subject that cannot, a millisecond between frames."""
    header = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    return header + b"".join(
        struct.pack("=IIII", 1_790_000_000, number * 1_000_000, len(data), len(data)) + data
        for number, data in enumerate(frames)
    )


class TestCapture:
    def test_of_a_model(self, tmp_path) -> None:
        (tmp_path / "wire.pcap").write_bytes(pcapng((FRAME, INBOUND), (FRAME + bytes(100), OUTBOUND)))
        first, second = tables.read_capture(tmp_path / "wire.pcap")
        assert (first.number, first.seconds, first.direction, first.length) == (1, 0, "to the DUT", len(FRAME))
        assert (second.number, second.direction, second.length) == (2, "from the DUT", len(FRAME) + 100)
        assert second.seconds == pytest.approx(0.001, abs=1e-6)
        assert "192.0.2.1" in first.summary
        assert "UDP" in first.summary
        assert first.head.startswith("0000  02 00 00 00 00 01 02 00 00 00 00 02 08 00 45 00\n0010  ")

    def test_of_the_runner(self, tmp_path) -> None:
        (tmp_path / "wire.pcap").write_bytes(pcap(FRAME, FRAME))
        frames = tables.read_capture(tmp_path / "wire.pcap")
        assert [frame.direction for frame in frames] == ["", ""]
        assert frames[1].seconds == pytest.approx(0.001, abs=1e-6)

    def test_one_that_was_cut_off_is_read_up_to_there(self, tmp_path) -> None:
        whole = pcapng((FRAME, INBOUND), (FRAME, INBOUND))
        for cut in range(1, 60):
            (tmp_path / "wire.pcap").write_bytes(whole[:-cut])
            assert len(tables.read_capture(tmp_path / "wire.pcap")) == 1

    def test_the_last_frames_are_shown(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(tables, "FRAME_LIMIT", 3)
        (tmp_path / "wire.pcap").write_bytes(pcap(*[FRAME] * 10))
        assert [frame.number for frame in tables.read_capture(tmp_path / "wire.pcap")] == [8, 9, 10]

    def test_a_frame_of_any_bytes_has_a_row(self, tmp_path) -> None:
        (tmp_path / "wire.pcap").write_bytes(pcap(b"", b"\x00", bytes(range(256)), b"\xff" * 14))
        assert len(tables.read_capture(tmp_path / "wire.pcap")) == 4

    @pytest.mark.parametrize("content", [b"", b"pcap", bytes(range(256))])
    def test_no_capture(self, tmp_path, content: bytes) -> None:
        (tmp_path / "wire.pcap").write_bytes(content)
        with pytest.raises(Scapy_Exception):
            tables.read_capture(tmp_path / "wire.pcap")


class TestTrace:
    def test_of_a_model(self) -> None:
        entry = {"time": 12.5, "op": "R", "offset": 8, "register": "STATUS", "index": 0, "value": 128}
        text = format_trace(
            [
                {**entry, "decoded": "STATUS 0x00000080 LINK_UP=1 NUM_VFS=0"},
                {**entry, "time": 12.500004, "op": "W", "register": "RDT", "index": 3, "decoded": "RDT[3] 0x00000080"},
                {**entry, "register": None, "offset": 0x1234, "decoded": None},
            ]
        )
        first, second, unknown = tables.read_trace(text.splitlines())
        assert (first.seconds, first.microseconds, first.op) == (0, 0, "R")
        assert (first.register, first.value, first.fields) == ("STATUS", "0x00000080", "LINK_UP=1 NUM_VFS=0")
        assert (second.register, second.fields) == ("RDT[3]", "")
        assert second.microseconds == pytest.approx(4, abs=0.01)
        assert unknown.register.startswith("0x01234")


@pytest.fixture
def folder(history, tmp_path) -> Path:
    artifacts = tmp_path / "artifacts" / "a"
    artifacts.mkdir(parents=True)
    (artifacts / "trace.txt").write_text("    1.000000 R STATUS[0]: STATUS 0x00000080 NOTE=<b>\n")
    (artifacts / "wire.pcap").write_bytes(pcapng((FRAME, INBOUND)))
    kept = {name: f"artifacts/a/{name}" for name in ("trace.txt", "wire.pcap")}
    history.result(history.plan("LINK-A-01"), "fail", "no", artifacts=kept)
    history.end()
    html.write(history.document(), tmp_path)
    return tmp_path


def test_each_has_a_page_that_the_report_links_to(folder) -> None:
    report = (folder / "report.html").read_text()
    for name in ("trace", "wire"):
        assert f'href="artifacts/a/{name}.html"' in report
        page = (folder / "artifacts" / "a" / f"{name}.html").read_text()
        assert 'href="../../report.html#LINK-A-01"' in page
        assert "The driver does what LINK-A-01 requires." in page


def test_the_pages_have_the_rows(folder) -> None:
    trace = (folder / "artifacts" / "a" / "trace.html").read_text()
    assert "<td>R<td>STATUS<td>0x00000080<td>NOTE=&lt;b&gt;" in trace
    assert "192.0.2.1" in (folder / "artifacts" / "a" / "wire.html").read_text()


def test_a_capture_that_cannot_be_read_has_its_error(history, tmp_path) -> None:
    (tmp_path / "wire.pcap").write_bytes(b"nonsense")
    history.result(history.plan("LINK-A-01"), "fail", "no", artifacts={"wire.pcap": "wire.pcap"})
    history.end()
    tables.write(history.document(), tmp_path)
    assert "wire.pcap cannot be read as a capture" in (tmp_path / "wire.html").read_text()


def test_nothing_outside_the_folder_is_read_or_written(history, tmp_path) -> None:
    (tmp_path / "trace.txt").write_text("    1.000000 R STATUS: 0x00000080\n")
    (tmp_path / "out").mkdir()
    history.result(history.plan("LINK-A-01"), "fail", "no", artifacts={"trace.txt": "../trace.txt"})
    history.end()
    html.write(history.document(), tmp_path / "out")
    assert not (tmp_path / "trace.html").exists()
    assert Artifact.find(tmp_path / "out", "trace.txt", "../trace.txt").page is None
