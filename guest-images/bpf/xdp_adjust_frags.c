// SPDX-License-Identifier: GPL-2.0-or-later
/* Adjusts test frames, multi-buffer frames included; see adjust.h. Other frames pass. */
#include "adjust.h"

SEC("xdp.frags")
int xdp_adjust_frags(struct xdp_md *context)
{
	return adjust(context);
}

char _license[] SEC("license") = "GPL";
