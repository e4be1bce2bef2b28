// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Adds 16 bytes before a test frame, removes them, trims 4 bytes from its tail and passes the frame: the stack must receive
 * the shorter frame with its head intact. Needs XDP_PACKET_HEADROOM, which every native driver must provide.
 */
#include "probe.h"

#define HEAD 16
#define TAIL 4

SEC("xdp")
int xdp_trim(struct xdp_md *context)
{
	if (!test_datagram(context))
		return XDP_PASS;
	count_frame(context);
	if (bpf_xdp_adjust_head(context, -HEAD) || bpf_xdp_adjust_head(context, HEAD))
		return XDP_DROP;
	if (bpf_xdp_adjust_tail(context, -TAIL))
		return XDP_DROP;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
