// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counts test frames, puts each one's number into the metadata before it, and passes it: tc_meta finds it there. Whether
 * the driver has room for metadata is counted in `answers`: accepted, refused.
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

	if (!numbered(context, &number))
		return XDP_PASS;
	book(context);
	if (!accepted(&answers, 0, bpf_xdp_adjust_meta(context, -(int)sizeof(*mark))))
		return XDP_PASS;
	mark = (void *)(long)context->data_meta;
	if ((void *)(mark + 1) > (void *)(long)context->data)
		return XDP_ABORTED;
	mark->magic = MARK;
	mark->number = number;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
