// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames and passes all frames; supports multi-buffer frames (BPF_F_XDP_HAS_FRAGS). */
#include "probe.h"

SEC("xdp.frags")
int xdp_pass_frags(struct xdp_md *context)
{
	if (test_datagram(context))
		count_frame(context);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
