// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counts test frames, writes the number of each to the metadata before it, for tc_meta, and passes the frame. `answers`
 * counts how often bpf_xdp_adjust_meta accepted and refused.
 */
#include "probe.h"
#include "metadata.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct answer);
} answers SEC(".maps");

SEC("xdp")
int xdp_meta(struct xdp_md *context)
{
	struct mark *mark;
	__u32 number;

	if (!read_number(context, &number))
		return XDP_PASS;
	count_frame(context);
	if (!count_result(&answers, 0, bpf_xdp_adjust_meta(context, -(int)sizeof(*mark))))
		return XDP_PASS;
	mark = (void *)(long)context->data_meta;
	if ((void *)(mark + 1) > (void *)(long)context->data)
		return XDP_ABORTED;
	mark->magic = MARK;
	mark->number = number;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
