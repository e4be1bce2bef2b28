// SPDX-License-Identifier: GPL-2.0-or-later
/* Moves the ends of test frames as it is told, see adjust.h, of frames in several buffers too. All else passes. */
#include "adjust.h"

SEC("xdp.frags")
int xdp_adjust_frags(struct xdp_md *context)
{
	return adjusted(context);
}

char _license[] SEC("license") = "GPL";
