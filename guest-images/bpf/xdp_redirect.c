// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames and redirects them to the interface that they came by, the two hardware addresses swapped. */
#include "probe.h"

SEC("xdp")
int xdp_redirect(struct xdp_md *context)
{
	return turned(context) ? bpf_redirect(context->ingress_ifindex, 0) : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
