// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames and returns for them what is no verdict, which must drop them; all else passes. */
#include "probe.h"

#define NO_VERDICT 77

SEC("xdp")
int xdp_invalid(struct xdp_md *context)
{
	if (!test_datagram(context))
		return XDP_PASS;
	book(context);
	return NO_VERDICT;
}

char _license[] SEC("license") = "GPL";
