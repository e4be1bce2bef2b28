// SPDX-License-Identifier: GPL-2.0-or-later
/* Hands test frames to AF_XDP sockets; see to_socket.h. All else passes. */
#include "to_socket.h"

SEC("xdp")
int xdp_to_socket(struct xdp_md *context)
{
	return to_socket(context);
}

char _license[] SEC("license") = "GPL";
