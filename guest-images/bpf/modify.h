/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Overwrites the first eight bytes of a test frame's payload with "plugfest" and updates the UDP checksum.
 */
#ifndef PLUGFEST_MODIFY_H
#define PLUGFEST_MODIFY_H

#include "probe.h"

#define LENGTH 8

/* Count and overwrite a test frame; false for any other frame. */
static __always_inline int overwrite(struct xdp_md *context)
{
	static const char text[LENGTH] = { 'p', 'l', 'u', 'g', 'f', 'e', 's', 't' };
	struct udphdr *udp = test_datagram(context);
	__be32 before[LENGTH / 4], after[LENGTH / 4];
	__s64 sum;
	void *body;

	if (!udp)
		return 0;
	body = udp + 1;
	if (body + LENGTH > (void *)(long)context->data_end)
		return 0;
	count_frame(context);
	__builtin_memcpy(before, body, LENGTH);
	__builtin_memcpy(after, text, LENGTH);
	__builtin_memcpy(body, text, LENGTH);
	if (!udp->check)
		return 1;
	sum = bpf_csum_diff(before, LENGTH, after, LENGTH, ~udp->check & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	udp->check = ~sum;
	if (!udp->check)
		udp->check = 0xffff;
	return 1;
}

#endif
