// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames and passes all frames. */
#include "probe.h"

SEC("xdp")
int xdp_pass(struct xdp_md *context)
{
	if (test_datagram(context))
		count_frame(context);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
