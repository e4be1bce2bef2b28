// SPDX-License-Identifier: GPL-2.0-or-later
/* Redirects test frames to AF_XDP sockets; see redirect_xsk.h. Other frames pass. */
#include "redirect_xsk.h"

SEC("xdp")
int xdp_redirect_xsk(struct xdp_md *context)
{
	return redirect_xsk(context);
}

char _license[] SEC("license") = "GPL";
