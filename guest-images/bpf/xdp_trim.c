// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Puts 16 bytes before a test frame, takes them off again, cuts 4 bytes from its end and passes it: the stack must see the
 * shorter frame, with its head intact. Needs XDP_PACKET_HEADROOM as every native driver must leave.
 */
#include "probe.h"

#define HEAD 16
#define TAIL 4

SEC("xdp")
int xdp_trim(struct xdp_md *context)
{
	if (!test_datagram(context))
		return XDP_PASS;
	book(context);
	if (bpf_xdp_adjust_head(context, -HEAD) || bpf_xdp_adjust_head(context, HEAD))
		return XDP_DROP;
	if (bpf_xdp_adjust_tail(context, -TAIL))
		return XDP_DROP;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
