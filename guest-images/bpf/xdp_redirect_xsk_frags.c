// SPDX-License-Identifier: GPL-2.0-or-later
/* Hands test frames to AF_XDP sockets, see redirect_xsk.h, of frames in several buffers too. All else passes. */
#include "redirect_xsk.h"

SEC("xdp.frags")
int xdp_redirect_xsk_frags(struct xdp_md *context)
{
	return redirect_xsk(context);
}

char _license[] SEC("license") = "GPL";
