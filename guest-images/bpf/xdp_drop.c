// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts and drops test frames; other frames pass. */
#include "probe.h"

SEC("xdp")
int xdp_drop(struct xdp_md *context)
{
	if (!test_datagram(context))
		return XDP_PASS;
	count_frame(context);
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
