// SPDX-License-Identifier: GPL-2.0-or-later
/* The program of a cpumap entry: counts test frames by the CPU that it runs on, and passes all frames. */
#include "probe.h"

SEC("xdp/cpumap")
int xdp_cpumap(struct xdp_md *context)
{
	if (test_datagram(context))
		count_frame_in(context, bpf_get_smp_processor_id());
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
