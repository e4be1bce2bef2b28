// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Swaps the two halves of each block of BLOCK bytes in the whole payload of a test frame, multi-buffer frames included, by
 * bpf_xdp_load_bytes and bpf_xdp_store_bytes. The Internet checksum does not change.
 */
#include "probe.h"

#define HALF 30
#define BLOCK (2 * HALF)
#define BLOCKS 160

SEC("xdp.frags")
int xdp_swap_payload(struct xdp_md *context)
{
	struct udphdr *udp = test_datagram(context);
	__u8 block[BLOCK], swapped[BLOCK];
	__u32 at, length, index;

	if (!udp)
		return XDP_PASS;
	count_frame(context);
	at = (void *)(udp + 1) - (void *)(long)context->data;
	length = bpf_xdp_get_buff_len(context);
	for (index = 0; index < BLOCKS; index++) {
		if (at + BLOCK > length)
			break;
		if (bpf_xdp_load_bytes(context, at, block, BLOCK))
			return XDP_ABORTED;
		__builtin_memcpy(swapped, block + HALF, HALF);
		__builtin_memcpy(swapped + HALF, block, HALF);
		if (bpf_xdp_store_bytes(context, at, swapped, BLOCK))
			return XDP_ABORTED;
		at += BLOCK;
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
