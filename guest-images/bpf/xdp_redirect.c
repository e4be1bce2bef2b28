// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames and redirects them to the interface that they came by, the two hardware addresses swapped. */
#include "probe.h"

SEC("xdp")
int xdp_redirect(struct xdp_md *context)
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
	return bpf_redirect(context->ingress_ifindex, 0);
}

char _license[] SEC("license") = "GPL";
