// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames and returns an invalid verdict, which must drop them; other frames pass. */
#include "probe.h"

#define INVALID_VERDICT 77

SEC("xdp")
int xdp_invalid(struct xdp_md *context)
{
	if (!test_datagram(context))
		return XDP_PASS;
	count_frame(context);
	return INVALID_VERDICT;
}

char _license[] SEC("license") = "GPL";
