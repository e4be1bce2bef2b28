/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moves the head, the tail and the metadata of a test frame by the offsets in the map `adjustment`, fills added bytes with
 * those of that map, and returns its verdict; XDP_REDIRECT goes to the first entry of `target`. `answers` counts how often
 * each helper accepted and refused. The program continues after a refusal, which must leave the frame unchanged.
 */
#ifndef PLUGFEST_ADJUST_H
#define PLUGFEST_ADJUST_H

#include "probe.h"

#define FILLER 256

struct adjustment {
	__s32 head;	/* as bpf_xdp_adjust_head: a negative one adds bytes before the frame */
	__s32 tail;	/* as bpf_xdp_adjust_tail: a positive one adds bytes after it */
	__u32 verdict;
	__s32 meta;	/* as bpf_xdp_adjust_meta: a negative one makes room for metadata */
	__u8 before[FILLER];
	__u8 after[FILLER];
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

/*
 * Write `length` bytes at offset `at`, unless there are none or too many; 0, or an error.
 *
 * Written so that the verifiers of Linux 6.1 and 6.12 follow the length, too: they know nothing about a register after a negation,
 * so that the checks must come behind it, in 64 bits; they learn nothing from both checks in one, as the compiler would merge
 * them; and 6.1 learns nothing from a comparison for equality with 0.
 */
static __always_inline long fill(struct xdp_md *context, __u32 at, void *bytes, __s64 length)
{
	barrier_var(length);
	if (length > FILLER)
		return 0;
	barrier_var(length);
	if (length <= 0)
		return 0;
	return bpf_xdp_store_bytes(context, at, bytes, length);
}

static __always_inline int adjust(struct xdp_md *context)
{
	struct adjustment *wanted;
	__u32 first = 0;

	if (!test_datagram(context))
		return XDP_PASS;
	wanted = bpf_map_lookup_elem(&adjustment, &first);
	if (!wanted)
		return XDP_ABORTED;
	count_frame(context);
	if (wanted->head && count_result(&answers, HEAD, bpf_xdp_adjust_head(context, wanted->head)) && wanted->head < 0 &&
	    fill(context, 0, wanted->before, -(__s64)wanted->head))
		return XDP_ABORTED;
	if (wanted->tail && count_result(&answers, TAIL, bpf_xdp_adjust_tail(context, wanted->tail)) && wanted->tail > 0 &&
	    fill(context, bpf_xdp_get_buff_len(context) - wanted->tail, wanted->after, wanted->tail))
		return XDP_ABORTED;
	if (wanted->meta)
		count_result(&answers, META, bpf_xdp_adjust_meta(context, wanted->meta));
	if (wanted->verdict == XDP_REDIRECT)
		return bpf_redirect_map(&target, 0, 0);
	return wanted->verdict;
}

#endif
