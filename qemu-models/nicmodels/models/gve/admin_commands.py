# SPDX-License-Identifier: MIT
"""The admin commands: their effects and their errors.

Source: Linux, drivers/net/ethernet/google/gve/gve_adminq.h and gve_adminq.c. The interface defines the statuses, but not
which error has which; this model returns FAILED_PRECONDITION for a command out of order, ALREADY_EXISTS and NOT_FOUND for
objects, OUT_OF_RANGE for a number beyond its limit, UNIMPLEMENTED for what the device does not support, and
INVALID_ARGUMENT for every other error, including an unmapped address.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from nicmodels.models.gve import options, packet_types
from nicmodels.models.gve.commands import CommandError, NeverCompletedError, Status
from nicmodels.models.gve.page_lists import RAW
from nicmodels.models.gve.profiles import QueueFormat
from nicmodels.models.gve.rx_dqo import BUFFER_SIZE, RxQueueDqo
from nicmodels.models.gve.rx_dqo import COMPLETION as RX_COMPLETION
from nicmodels.models.gve.rx_gqi import DESCRIPTOR_SIZE as RX_DESCRIPTOR_SIZE
from nicmodels.models.gve.rx_gqi import SLOT_SIZE, RxQueueGqi
from nicmodels.models.gve.tx_dqo import COMPLETION as TX_COMPLETION
from nicmodels.models.gve.tx_dqo import DESCRIPTOR_SIZE, TxQueueDqo
from nicmodels.models.gve.tx_gqi import TxQueueGqi

if TYPE_CHECKING:
    from nicmodels.models.gve.page_lists import PageList
    from nicmodels.models.gve.resources import Resources

Fields = dict[str, Any]

RESOURCES_SIZE = 64
DRIVER_INFO_SIZE = 304
_CAPABILITIES = 16
"""Offset of the capability flags in struct gve_driver_info."""
_CAPABILITY = {QueueFormat.GQI_QPL: 0, QueueFormat.GQI_RDA: 1, QueueFormat.DQO_RDA: 3}
"""The bit that a driver must set for a format. That of DQO_QPL is "reserved for future use", so it is not checked."""
TIMESTAMP_SIZE = 40
PTYPE_MAP_SIZE = 2 * packet_types.COUNT
RX_BUFFER_SIZES = (2048, 4096)


class AdminCommands:
    """Executes the admin commands.

    Args:
        device: the parts that the commands configure.

    Attributes:
        configured: whether the driver has configured the device's resources.
    """

    def __init__(self, device: Resources) -> None:
        self.configured = False
        self._device = device
        self._memory = device.host.memory
        self._profile = device.profile
        self._counters = (0, 0)
        faults = device.host.faults
        self._create_fails = faults["rx.queue.create-fails"]
        self._destroy_fails = faults["rx.queue.destroy-fails"]
        self._create_hangs = faults["rx.queue.create-hangs"]
        self._destroy_hangs = faults["rx.queue.destroy-hangs"]
        self._wrong = faults["rx.queue.wrong"]
        self._tx_create_fails = faults["tx.queue.create-fails"]
        self._rx_fields: dict[int, Fields] = {}

    def reset(self) -> None:
        """Drop the driver's configuration."""
        self.configured = False
        self._counters = (0, 0)
        self._rx_fields.clear()

    def execute(self, name: str, fields: Fields) -> None:
        """Execute a command.

        Raises:
            CommandError: the command failed.
            DmaError: an address is not in guest memory.
            NeverCompletedError: a fault keeps the command from completing.
        """
        getattr(self, f"_{name}")(fields)

    # The device

    def _verify_driver_compatibility(self, fields: Fields) -> None:
        if fields["length"] < DRIVER_INFO_SIZE:
            raise CommandError(Status.INVALID_ARGUMENT, f"{fields['length']} bytes of driver information")
        info = self._memory.read(fields["address"], DRIVER_INFO_SIZE)
        flags = int.from_bytes(info[_CAPABILITIES : _CAPABILITIES + 8], "big")
        bit = _CAPABILITY.get(self._profile.format)
        if bit is not None and not flags >> bit & 1:
            raise CommandError(Status.FAILED_PRECONDITION, f"the driver cannot do {self._profile.format.name}")

    def _describe_device(self, fields: Fields) -> None:
        if fields["version"] != options.DESCRIPTOR_VERSION:
            raise CommandError(Status.INVALID_ARGUMENT, f"descriptor version {fields['version']}")
        device = self._device
        answer = options.describe(self._profile, device.mac, device.default_queues)
        if fields["available_length"] < len(answer):
            raise CommandError(Status.INVALID_ARGUMENT, f"{fields['available_length']} bytes for {len(answer)}")
        self._memory.write(fields["descriptor_address"], answer)

    def _configure_device_resources(self, fields: Fields) -> None:
        profile = self._profile
        if self.configured:
            raise CommandError(Status.ALREADY_EXISTS, "resources are configured")
        number, stride = fields["num_irq_dbs"], fields["irq_db_stride"]
        if fields["queue_format"] != profile.format:
            raise CommandError(Status.INVALID_ARGUMENT, f"queue format {fields['queue_format']}")
        if not 0 < number <= profile.blocks or fields["first_vector"] > 1:
            raise CommandError(
                Status.OUT_OF_RANGE, f"{number} blocks from vector {fields['first_vector']} on, of {profile.vectors}"
            )
        if stride < 4 or stride % 4:
            raise CommandError(Status.INVALID_ARGUMENT, f"stride of {stride} bytes")
        if fields["num_counters"] > options.counters(profile):
            raise CommandError(Status.OUT_OF_RANGE, f"{fields['num_counters']} counters")
        device = self._device
        self._check_memory(fields["counter_address"], 4 * fields["num_counters"])
        for block in range(number):
            self._memory.write(
                fields["irq_db_address"] + block * stride, device.doorbells.block(block).to_bytes(4, "big")
            )
        self._counters = (fields["counter_address"], fields["num_counters"])
        device.blocks.configure(number, fields["first_vector"])
        for block in range(number):
            device.connect_block(block)
        self.configured = True

    def _deconfigure_device_resources(self, _fields: Fields) -> None:
        self._need_resources()
        device = self._device
        if device.receiver.present() or device.transmitter.present():
            raise CommandError(Status.FAILED_PRECONDITION, "queues exist")
        device.release()
        self.configured = False

    def _register_page_list(self, fields: Fields) -> None:
        self._device.page_lists.register(fields)

    def _unregister_page_list(self, fields: Fields) -> None:
        self._device.page_lists.unregister(fields["page_list"])

    def _set_driver_parameter(self, fields: Fields) -> None:
        """The only parameter is the MTU; the device accepts every value up to its maximum."""
        if fields["parameter"] != 1:
            raise CommandError(Status.INVALID_ARGUMENT, f"parameter {fields['parameter']}")
        if not 68 <= fields["value"] <= self._profile.largest_mtu:
            raise CommandError(Status.OUT_OF_RANGE, f"MTU {fields['value']}")

    def _report_stats(self, fields: Fields) -> None:
        self._need_resources()
        if fields["length"]:
            self._check_memory(fields["address"], fields["length"])
            if not fields["interval"]:
                raise CommandError(Status.INVALID_ARGUMENT, "an interval of 0")
        self._device.statistics.report_to(fields["address"], fields["length"], fields["interval"])

    def _report_link_speed(self, fields: Fields) -> None:
        self._memory.write(fields["address"], self._device.link.reported_speed.to_bytes(8, "big"))

    def _get_ptype_map(self, fields: Fields) -> None:
        if not self._profile.format.is_dqo:
            raise CommandError(Status.UNIMPLEMENTED, "no packet types")
        if fields["length"] < PTYPE_MAP_SIZE:
            raise CommandError(Status.INVALID_ARGUMENT, f"{fields['length']} bytes for {PTYPE_MAP_SIZE}")
        self._memory.write(fields["address"], packet_types.table())

    def _report_nic_timestamp(self, fields: Fields) -> None:
        if not self._profile.timestamps:
            raise CommandError(Status.UNIMPLEMENTED, "no clock")
        if fields["length"] < TIMESTAMP_SIZE:
            raise CommandError(Status.INVALID_ARGUMENT, f"{fields['length']} bytes for {TIMESTAMP_SIZE}")
        now = int(self._device.host.clock.now() * 1e9)
        self._memory.write(fields["address"], now.to_bytes(8, "big") + bytes(TIMESTAMP_SIZE - 8))

    # Steering

    def _configure_rss(self, fields: Fields) -> None:
        self._need_resources()
        self._device.scaling.configure(fields)

    def _query_rss(self, fields: Fields) -> None:
        if not self._profile.rss_option:
            raise CommandError(Status.UNIMPLEMENTED, "RSS cannot be queried")
        answer = self._device.scaling.query()
        if fields["available_length"] < len(answer):
            raise CommandError(Status.INVALID_ARGUMENT, f"{fields['available_length']} bytes for {len(answer)}")
        self._memory.write(fields["address"], answer)

    def _configure_flow_rule(self, fields: Fields) -> None:
        self._device.rules.configure(fields["operation"], fields["rule"], fields["location"])

    def _query_flow_rules(self, fields: Fields) -> None:
        room = min(fields["available_length"], 1 << 16)
        self._memory.write(fields["address"], self._device.rules.query(fields["query"], fields["first"], room))

    # Queues

    def _create_tx_queue(self, fields: Fields) -> None:
        self._describe_queue(fields)
        device, profile = self._device, self._profile
        index = fields["queue"]
        device.link.queue_command()
        self._check_queue(fields, profile.max_tx, device.transmitter.queues)
        if self._tx_create_fails.armed and self._tx_create_fails.fires(queue=index):
            raise CommandError(Status.INTERNAL_ERROR, "fault injection")
        if not profile.tx_ring.has(fields["ring_size"]):
            raise CommandError(Status.INVALID_ARGUMENT, f"ring of {fields['ring_size']}")
        self._check_memory(fields["ring_address"], fields["ring_size"] * DESCRIPTOR_SIZE)
        context = device.queue_context(device.transmitter.faults)
        tx_offload = device.transmitter.tx_offload
        if profile.format.is_dqo:
            size = fields["completion_ring_size"]
            if size & (size - 1) or size < fields["ring_size"]:
                raise CommandError(Status.INVALID_ARGUMENT, f"completion ring of {size}")
            self._check_memory(fields["completion_address"], size * TX_COMPLETION.size)
            self._check_memory(fields["resources_address"], RESOURCES_SIZE)
            listed = self._claim_pages(fields, f"tx {index}")
            self._write_resources(fields, device.doorbells.tx(index), index)
            device.transmitter.add(TxQueueDqo(context, fields, tx_offload, listed))
        else:
            self._check_memory(fields["resources_address"], RESOURCES_SIZE)
            address, number = self._counters
            if index >= number:
                raise CommandError(Status.OUT_OF_RANGE, f"counter {index} of {number}")
            counter = address + 4 * index
            self._memory.write(counter, bytes(4))
            pages = device.page_lists.claim(fields["page_list"], f"tx {index}")
            self._write_resources(fields, device.doorbells.tx(index), index)
            device.transmitter.add(TxQueueGqi(context, fields, tx_offload, pages, counter))
        device.connect_tx(index)
        device.host.events.add("queue.enable", direction="tx", queue=index)

    def _create_rx_queue(self, fields: Fields) -> None:
        self._describe_queue(fields)
        index = fields["queue"]
        self._device.link.queue_command()
        if self._create_fails.armed and self._create_fails.fires(queue=index):
            raise CommandError(Status.INTERNAL_ERROR, "fault injection")
        if self._create_hangs.armed and self._create_hangs.fires(queue=index):
            raise NeverCompletedError("fault injection")
        self._add_rx(fields)
        if self._wrong.armed and self._rx_fields.get(index + 1) and self._wrong.fires(queue=index):
            other = self._rx_fields[index + 1]
            self._remove_rx(index + 1)
            self._add_rx(other)

    def _add_rx(self, fields: Fields) -> None:
        device, profile = self._device, self._profile
        index = fields["queue"]
        self._check_queue(fields, profile.max_rx, device.receiver.queues)
        if not profile.rx_ring.has(fields["ring_size"]):
            raise CommandError(Status.INVALID_ARGUMENT, f"ring of {fields['ring_size']}")
        context = device.queue_context(device.receiver.faults)
        if profile.format.is_dqo:
            self._check_rx_dqo(fields)
            listed = self._claim_pages(fields, f"rx {index}")
            self._write_resources(fields, device.doorbells.rx(index), profile.max_tx + index)
            device.receiver.add(RxQueueDqo(context, fields, stamps=profile.timestamps, pages=listed))
        else:
            if fields["buffer_size"] != RX_BUFFER_SIZES[0]:
                raise CommandError(Status.INVALID_ARGUMENT, f"buffers of {fields['buffer_size']} bytes")
            size = fields["ring_size"]
            self._check_memory(fields["descriptor_address"], size * RX_DESCRIPTOR_SIZE)
            self._check_memory(fields["data_address"], size * SLOT_SIZE)
            self._check_memory(fields["resources_address"], RESOURCES_SIZE)
            pages = device.page_lists.claim(fields["page_list"], f"rx {index}")
            self._write_resources(fields, device.doorbells.rx(index), profile.max_tx + index)
            device.receiver.add(RxQueueGqi(context, fields, pages))
        self._rx_fields[index] = fields
        device.connect_rx(index)
        device.host.events.add("queue.enable", direction="rx", queue=index)

    def _check_rx_dqo(self, fields: Fields) -> None:
        profile = self._profile
        if fields["buffer_size"] not in RX_BUFFER_SIZES or fields["buffer_size"] > profile.packet_buffer:
            raise CommandError(Status.INVALID_ARGUMENT, f"buffers of {fields['buffer_size']} bytes")
        if fields["header_buffer_size"] not in (0, profile.header_buffer):
            raise CommandError(Status.INVALID_ARGUMENT, f"header buffers of {fields['header_buffer_size']} bytes")
        if fields["rsc"] > 1:
            raise CommandError(Status.INVALID_ARGUMENT, f"coalescing {fields['rsc']}")
        if not profile.rx_ring.has(fields["buffer_ring_size"]):
            raise CommandError(Status.INVALID_ARGUMENT, f"buffer ring of {fields['buffer_ring_size']}")
        self._check_memory(fields["descriptor_address"], fields["ring_size"] * RX_COMPLETION.size)
        self._check_memory(fields["data_address"], fields["buffer_ring_size"] * BUFFER_SIZE)
        self._check_memory(fields["resources_address"], RESOURCES_SIZE)

    def _destroy_tx_queue(self, fields: Fields) -> None:
        index = fields["queue"]
        device = self._device
        device.link.queue_command()
        self._find_queue(index, device.transmitter.queues)
        queue = device.transmitter.queues[index]
        if queue is not None and queue.pages is not None:
            queue.pages.user = None
        device.doorbells.disconnect(device.doorbells.tx(index))
        device.transmitter.remove(index)
        device.host.events.add("queue.disable", direction="tx", queue=index)

    def _destroy_rx_queue(self, fields: Fields) -> None:
        index = fields["queue"]
        self._device.link.queue_command()
        self._find_queue(index, self._device.receiver.queues)
        if self._destroy_fails.armed and self._destroy_fails.fires(queue=index):
            raise CommandError(Status.INTERNAL_ERROR, "fault injection")
        if self._destroy_hangs.armed and self._destroy_hangs.fires(queue=index):
            raise NeverCompletedError("fault injection")
        self._remove_rx(index)
        if self._wrong.armed and index + 1 in self._rx_fields and self._wrong.fires(queue=index):
            self._remove_rx(index + 1)

    def _remove_rx(self, index: int) -> None:
        device = self._device
        queue = device.receiver.queues[index]
        if queue is not None and queue.pages is not None:
            queue.pages.user = None
        device.doorbells.disconnect(device.doorbells.rx(index))
        device.receiver.remove(index)
        self._rx_fields.pop(index, None)
        device.host.events.add("queue.disable", direction="rx", queue=index)

    # Checks

    def _need_resources(self) -> None:
        if not self.configured:
            raise CommandError(Status.FAILED_PRECONDITION, "resources are not configured")

    def _describe_queue(self, fields: Fields) -> None:
        """Add the vector to the event log's entry."""
        fields["vector"] = self._device.blocks.vector(fields["ntfy_id"])

    def _check_queue(self, fields: Fields, limit: int, queues: list[Any]) -> None:
        self._need_resources()
        index = fields["queue"]
        if index >= limit:
            raise CommandError(Status.OUT_OF_RANGE, f"queue {index} of {limit}")
        if queues[index] is not None:
            raise CommandError(Status.ALREADY_EXISTS, f"queue {index}")
        if fields["ntfy_id"] >= self._device.blocks.count:
            raise CommandError(Status.OUT_OF_RANGE, f"block {fields['ntfy_id']} of {self._device.blocks.count}")

    def _find_queue(self, index: int, queues: list[Any]) -> None:
        self._need_resources()
        if index >= len(queues):
            raise CommandError(Status.OUT_OF_RANGE, f"queue {index} of {len(queues)}")
        if queues[index] is None:
            raise CommandError(Status.NOT_FOUND, f"queue {index}")

    def _claim_pages(self, fields: Fields, user: str) -> PageList | None:
        """The page list of a DQO queue; None with raw addressing. This is the last check, since nothing releases the list."""
        if self._profile.format is QueueFormat.DQO_QPL:
            return self._device.page_lists.claim(fields["page_list"], user)
        # gve_adminq_create_tx_queue and gve_adminq_create_rx_queue of Linux 6.1 (gve_adminq.c) leave the field at 0 for DQO;
        # those of Linux 6.12 and FreeBSD write RAW. The log of commands has the number.
        if fields["page_list"] not in (0, RAW):
            raise CommandError(Status.INVALID_ARGUMENT, f"page list {fields['page_list']} with raw addressing")
        return None

    def _check_memory(self, address: int, length: int) -> None:
        """Check that a range is writable guest memory; raises DmaError."""
        self._memory.check(address, length, writable=True)

    def _write_resources(self, fields: Fields, doorbell: int, counter: int) -> None:
        answer = struct.pack(">II", doorbell, counter)
        self._memory.write(fields["resources_address"], answer)
