// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Overwrites the first eight bytes of a test frame's payload with "plugfest" and passes it: the stack must see what the
 * program wrote, wherever the driver copies a frame's head from. The UDP checksum is mended for the change.
 */
#include "probe.h"

#define LENGTH 8

SEC("xdp")
int xdp_modify(struct xdp_md *context)
{
	static const char text[LENGTH] = { 'p', 'l', 'u', 'g', 'f', 'e', 's', 't' };
	struct udphdr *udp = test_datagram(context);
	__be32 before[LENGTH / 4], after[LENGTH / 4];
	__s64 sum;
	void *body;

	if (!udp)
		return XDP_PASS;
	body = udp + 1;
	if (body + LENGTH > (void *)(long)context->data_end)
		return XDP_PASS;
	book(context);
	__builtin_memcpy(before, body, LENGTH);
	__builtin_memcpy(after, text, LENGTH);
	__builtin_memcpy(body, text, LENGTH);
	if (!udp->check)
		return XDP_PASS;
	sum = bpf_csum_diff(before, LENGTH, after, LENGTH, ~udp->check & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	udp->check = ~sum;
	if (!udp->check)
		udp->check = 0xffff;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
