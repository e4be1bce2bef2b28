// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames and sends them back where they came from, the two hardware addresses swapped and nothing else. */
#include "probe.h"

SEC("xdp")
int xdp_tx(struct xdp_md *context)
{
	struct ethhdr *ethernet = (void *)(long)context->data;
	__u8 address[ETH_ALEN];

	if (!test_datagram(context))
		return XDP_PASS;
	if ((void *)(ethernet + 1) > (void *)(long)context->data_end)
		return XDP_PASS;
	book(context);
	__builtin_memcpy(address, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, address, ETH_ALEN);
	return XDP_TX;
}

char _license[] SEC("license") = "GPL";
