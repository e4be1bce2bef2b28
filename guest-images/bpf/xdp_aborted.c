// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames and returns XDP_ABORTED, which drops them and triggers xdp:xdp_exception; other frames pass. */
#include "probe.h"

SEC("xdp")
int xdp_aborted(struct xdp_md *context)
{
	if (!test_datagram(context))
		return XDP_PASS;
	count_frame(context);
	return XDP_ABORTED;
}

char _license[] SEC("license") = "GPL";
