// SPDX-License-Identifier: GPL-2.0-or-later
/* The second program of a device map: overwrites the head of a test frame's payload on its way out. */
#include "modify.h"

SEC("xdp/devmap")
int xdp_devmap(struct xdp_md *context)
{
	overwritten(context);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
