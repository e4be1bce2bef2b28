// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames and aborts on them, which drops them and fires xdp:xdp_exception; all else passes. */
#include "probe.h"

SEC("xdp")
int xdp_aborted(struct xdp_md *context)
{
	if (!test_datagram(context))
		return XDP_PASS;
	book(context);
	return XDP_ABORTED;
}

char _license[] SEC("license") = "GPL";
