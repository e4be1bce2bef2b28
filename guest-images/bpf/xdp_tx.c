// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames and sends them back where they came from, the two hardware addresses swapped and nothing else. */
#include "probe.h"

SEC("xdp")
int xdp_tx(struct xdp_md *context)
{
	return turned(context) ? XDP_TX : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
