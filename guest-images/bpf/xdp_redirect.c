// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames, swaps their MAC addresses and redirects them to the interface that received them. */
#include "probe.h"

SEC("xdp")
int xdp_redirect(struct xdp_md *context)
{
	return swap_addresses(context) ? bpf_redirect(context->ingress_ifindex, 0) : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
