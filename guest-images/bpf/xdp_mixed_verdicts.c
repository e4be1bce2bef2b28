// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Returns for each test frame the verdict (enum xdp_action) that is the number of the frame modulo `verdicts`; XDP_REDIRECT
 * goes to the first entry of `target`. Counts by verdict. Other frames pass.
 */
#include "probe.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} target SEC(".maps");

SEC("xdp")
int xdp_mixed_verdicts(struct xdp_md *context)
{
	__u32 first = 0, number, *verdict_count = bpf_map_lookup_elem(&verdicts, &first), verdict;

	if (!verdict_count || !*verdict_count || !read_number(context, &number))
		return XDP_PASS;
	verdict = number % *verdict_count;
	count_frame_in(context, verdict);
	if (verdict == XDP_REDIRECT)
		return bpf_redirect_map(&target, 0, 0);
	return verdict;
}

char _license[] SEC("license") = "GPL";
