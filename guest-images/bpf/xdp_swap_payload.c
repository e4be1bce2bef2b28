// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Goes through the whole payload of a test frame, in however many buffers it lies, and exchanges the two halves of each
 * stretch of STRETCH octets by bpf_xdp_load_bytes and bpf_xdp_store_bytes. The Internet checksum does not change.
 */
#include "probe.h"

#define HALF 30
#define STRETCH (2 * HALF)
#define MOST 160

SEC("xdp.frags")
int xdp_swap_payload(struct xdp_md *context)
{
	struct udphdr *udp = test_datagram(context);
	__u8 stretch[STRETCH], other[STRETCH];
	__u32 at, length, index;

	if (!udp)
		return XDP_PASS;
	book(context);
	at = (void *)(udp + 1) - (void *)(long)context->data;
	length = bpf_xdp_get_buff_len(context);
	for (index = 0; index < MOST; index++) {
		if (at + STRETCH > length)
			break;
		if (bpf_xdp_load_bytes(context, at, stretch, STRETCH))
			return XDP_ABORTED;
		__builtin_memcpy(other, stretch + HALF, HALF);
		__builtin_memcpy(other + HALF, stretch, HALF);
		if (bpf_xdp_store_bytes(context, at, other, STRETCH))
			return XDP_ABORTED;
		at += STRETCH;
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
