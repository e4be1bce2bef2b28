// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Overwrites the head of a test frame's payload and passes it: the stack must see what the program wrote, wherever the
 * driver copies a frame's head from.
 */
#include "modify.h"

SEC("xdp")
int xdp_modify(struct xdp_md *context)
{
	overwritten(context);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
