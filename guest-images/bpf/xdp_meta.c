// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counts test frames, puts each one's number into the metadata before it, and passes it: tc_meta finds it there. Whether
 * the driver has room for metadata is counted in `answers`: accepted, refused.
 */
#include "probe.h"
#include "metadata.h"

struct answer {
	__u64 accepted;
	__u64 refused;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct answer);
} answers SEC(".maps");

SEC("xdp")
int xdp_meta(struct xdp_md *context)
{
	struct udphdr *udp = test_datagram(context);
	struct identity *identity;
	struct answer *answer;
	struct mark *mark;
	__u32 first = 0, number;

	if (!udp)
		return XDP_PASS;
	identity = (void *)(udp + 1);
	if ((void *)(identity + 1) > (void *)(long)context->data_end)
		return XDP_PASS;
	number = bpf_ntohl(identity->number);
	book(context);
	answer = bpf_map_lookup_elem(&answers, &first);
	if (!answer)
		return XDP_ABORTED;
	if (bpf_xdp_adjust_meta(context, -(int)sizeof(*mark))) {
		answer->refused++;
		return XDP_PASS;
	}
	answer->accepted++;
	mark = (void *)(long)context->data_meta;
	if ((void *)(mark + 1) > (void *)(long)context->data)
		return XDP_ABORTED;
	mark->magic = MARK;
	mark->number = number;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
