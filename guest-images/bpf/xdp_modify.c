// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Overwrites the head of a test frame's payload and passes the frame: the stack must receive what the program wrote, also
 * where the driver copies the head of a frame.
 */
#include "modify.h"

SEC("xdp")
int xdp_modify(struct xdp_md *context)
{
	overwrite(context);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
