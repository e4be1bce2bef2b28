/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moves the two ends of a test frame, and the beginning of its metadata, as told by the map `adjustment`, fills what was put before and behind it with the
 * octets of that map, and returns the verdict that stands there; a redirection goes to the first entry of `target`. What
 * the kernel or the driver answered to each move is counted in `answers`. A move that is refused is left out: the frame
 * must be unharmed.
 */
#ifndef PLUGFEST_ADJUST_H
#define PLUGFEST_ADJUST_H

#include "probe.h"

#define FILLER 256

struct adjustment {
	__s32 head;	/* as bpf_xdp_adjust_head: below zero puts octets before the frame */
	__s32 tail;	/* as bpf_xdp_adjust_tail: above zero puts octets behind it */
	__u32 verdict;
	__s32 meta;	/* as bpf_xdp_adjust_meta: below zero makes room for metadata before the frame */
	__u8 before[FILLER];
	__u8 behind[FILLER];
};

enum { HEAD, TAIL, META, MOVES };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct adjustment);
} adjustment SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MOVES);
	__type(key, __u32);
	__type(value, struct answer);
} answers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} target SEC(".maps");

static __always_inline int adjusted(struct xdp_md *context)
{
	struct adjustment *wanted;
	__u32 first = 0, grown;

	if (!test_datagram(context))
		return XDP_PASS;
	wanted = bpf_map_lookup_elem(&adjustment, &first);
	if (!wanted)
		return XDP_ABORTED;
	book(context);
	if (wanted->head && accepted(&answers, HEAD, bpf_xdp_adjust_head(context, wanted->head)) && wanted->head < 0) {
		grown = -wanted->head;
		if (grown > 0 && grown <= FILLER && bpf_xdp_store_bytes(context, 0, wanted->before, grown))
			return XDP_ABORTED;
	}
	if (wanted->tail && accepted(&answers, TAIL, bpf_xdp_adjust_tail(context, wanted->tail)) && wanted->tail > 0) {
		__u32 length = bpf_xdp_get_buff_len(context);

		grown = wanted->tail;
		if (grown > 0 && grown <= FILLER &&
		    bpf_xdp_store_bytes(context, length - grown, wanted->behind, grown))
			return XDP_ABORTED;
	}
	if (wanted->meta)
		accepted(&answers, META, bpf_xdp_adjust_meta(context, wanted->meta));
	if (wanted->verdict == XDP_REDIRECT)
		return bpf_redirect_map(&target, 0, 0);
	return wanted->verdict;
}

#endif
