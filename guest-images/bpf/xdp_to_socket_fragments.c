// SPDX-License-Identifier: GPL-2.0-or-later
/* Hands test frames to AF_XDP sockets, see to_socket.h, of frames in several buffers too. All else passes. */
#include "to_socket.h"

SEC("xdp.frags")
int xdp_to_socket_fragments(struct xdp_md *context)
{
	return to_socket(context);
}

char _license[] SEC("license") = "GPL";
