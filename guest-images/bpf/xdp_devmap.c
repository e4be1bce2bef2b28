// SPDX-License-Identifier: GPL-2.0-or-later
/* The program of a devmap entry: overwrites the head of a test frame's payload before the frame is sent. */
#include "modify.h"

SEC("xdp/devmap")
int xdp_devmap(struct xdp_md *context)
{
	overwrite(context);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
