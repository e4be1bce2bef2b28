/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counts test frames and redirects them to the AF_XDP socket of their receive queue, or passes them to the stack without one. */
#ifndef PLUGFEST_REDIRECT_XSK_H
#define PLUGFEST_REDIRECT_XSK_H

#include "probe.h"

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

static __always_inline int redirect_xsk(struct xdp_md *context)
{
	if (!test_datagram(context))
		return XDP_PASS;
	count_frame(context);
	return bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);
}

#endif
