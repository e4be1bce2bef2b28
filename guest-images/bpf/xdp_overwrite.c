// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Overwrites the first eight bytes of a test frame's payload with "plugfest", leaves the UDP checksum as it is, and passes
 * the frame: a frame that was sent with the checksum of the new payload becomes valid.
 */
#include "probe.h"

#define LENGTH 8

SEC("xdp")
int xdp_overwrite(struct xdp_md *context)
{
	static const char text[LENGTH] = { 'p', 'l', 'u', 'g', 'f', 'e', 's', 't' };
	struct udphdr *udp = test_datagram(context);
	void *body;

	if (!udp)
		return XDP_PASS;
	body = udp + 1;
	if (body + LENGTH > (void *)(long)context->data_end)
		return XDP_PASS;
	count_frame(context);
	__builtin_memcpy(body, text, LENGTH);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
