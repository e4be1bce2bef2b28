// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Gives each test frame the verdict that its number asks for: the number modulo how many verdicts stand in `kinds`, which
 * are enum xdp_action's from 0; XDP_REDIRECT goes to the first entry of `target`. Counts by verdict. All else passes.
 */
#include "probe.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} kinds SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} target SEC(".maps");

SEC("xdp")
int xdp_mixed_verdicts(struct xdp_md *context)
{
	__u32 first = 0, number, *most = bpf_map_lookup_elem(&kinds, &first), verdict;

	if (!most || !*most || !numbered(context, &number))
		return XDP_PASS;
	verdict = number % *most;
	book_in(context, verdict);
	if (verdict == XDP_REDIRECT)
		return bpf_redirect_map(&target, 0, 0);
	return verdict;
}

char _license[] SEC("license") = "GPL";
