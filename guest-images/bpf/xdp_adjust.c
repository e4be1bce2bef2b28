// SPDX-License-Identifier: GPL-2.0-or-later
/* Adjusts test frames; see adjust.h. Other frames pass. */
#include "adjust.h"

SEC("xdp")
int xdp_adjust(struct xdp_md *context)
{
	return adjust(context);
}

char _license[] SEC("license") = "GPL";
