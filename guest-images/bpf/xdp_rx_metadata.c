// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Asks for all that the device may say of a received frame, keeps the answers under the number of the test frame, and
 * passes it. It has to be loaded bound to a device: the driver's own functions take the places of these kfuncs.
 *
 * Source: Documentation/networking/xdp-rx-metadata.rst; net/core/xdp.c.
 */
#include "probe.h"

#define FRAMES 4096

/* The bits do not matter here, but a kfunc is found by the kinds of its parameters, and this one is an enumeration. */
enum xdp_rss_hash_type {
	XDP_RSS_L3_IPV4 = 1,
};

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *context, __u64 *timestamp) __ksym;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *context, __u32 *hash, enum xdp_rss_hash_type *type) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *context, __be16 *protocol, __u16 *tci) __ksym;

/* What each kfunc returned, 0 or a negative errno, and what it said. */
struct hints {
	__u64 frames;
	__s64 timestamp_answer;
	__u64 timestamp;
	__s64 hash_answer;
	__u64 hash;
	__u64 hash_type;
	__s64 vlan_answer;
	__u64 vlan_protocol;
	__u64 vlan_tci;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FRAMES);
	__type(key, __u32);
	__type(value, struct hints);
} hints SEC(".maps");

SEC("xdp")
int xdp_rx_metadata(struct xdp_md *context)
{
	enum xdp_rss_hash_type type = 0;
	struct hints *found;
	__u64 timestamp = 0;
	__be16 protocol = 0;
	__u32 number, hash = 0;
	__u16 tci = 0;

	if (!numbered(context, &number))
		return XDP_PASS;
	book(context);
	found = bpf_map_lookup_elem(&hints, &number);
	if (!found)
		return XDP_PASS;
	found->frames++;
	found->timestamp_answer = bpf_xdp_metadata_rx_timestamp(context, &timestamp);
	found->timestamp = timestamp;
	found->hash_answer = bpf_xdp_metadata_rx_hash(context, &hash, &type);
	found->hash = hash;
	found->hash_type = type;
	found->vlan_answer = bpf_xdp_metadata_rx_vlan_tag(context, &protocol, &tci);
	found->vlan_protocol = bpf_ntohs(protocol);
	found->vlan_tci = tci;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
