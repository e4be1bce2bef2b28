// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames, swaps their MAC addresses and sends them back with XDP_TX; other frames pass. */
#include "probe.h"

SEC("xdp")
int xdp_tx(struct xdp_md *context)
{
	return swap_addresses(context) ? XDP_TX : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
