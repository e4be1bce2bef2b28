// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts test frames and redirects them to the CPU in the map `chosen`; other frames pass. */
#include "probe.h"

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, QUEUES);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} target SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} chosen SEC(".maps");

SEC("xdp")
int xdp_redirect_cpu(struct xdp_md *context)
{
	__u32 first = 0, *cpu = bpf_map_lookup_elem(&chosen, &first);

	if (!cpu || !test_datagram(context))
		return XDP_PASS;
	count_frame(context);
	return bpf_redirect_map(&target, *cpu, 0);
}

char _license[] SEC("license") = "GPL";
