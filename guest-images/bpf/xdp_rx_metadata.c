// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests all XDP RX metadata of each test frame, stores it under the number of the frame, and passes the frame. The
 * program must be bound to a device when it is loaded: the driver's functions replace these kfuncs.
 *
 * Source: Documentation/networking/xdp-rx-metadata.rst; net/core/xdp.c.
 */
#include "probe.h"

#define FRAMES 4096

/* Only the type matters here: the verifier compares the types of a kfunc's parameters. */
enum xdp_rss_hash_type {
	XDP_RSS_L3_IPV4 = 1,
};

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *context, __u64 *timestamp) __ksym;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *context, __u32 *hash, enum xdp_rss_hash_type *type) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *context, __be16 *protocol, __u16 *tci) __ksym;

/* The result of each kfunc, 0 or a negative errno, and the metadata. */
struct rx_metadata {
	__u64 frames;
	__s64 timestamp_result;
	__u64 timestamp;
	__s64 hash_result;
	__u64 hash;
	__u64 hash_type;
	__s64 vlan_result;
	__u64 vlan_protocol;
	__u64 vlan_tci;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FRAMES);
	__type(key, __u32);
	__type(value, struct rx_metadata);
} rx_metadata SEC(".maps");

SEC("xdp")
int xdp_rx_metadata(struct xdp_md *context)
{
	enum xdp_rss_hash_type type = 0;
	struct rx_metadata *found;
	__u64 timestamp = 0;
	__be16 protocol = 0;
	__u32 number, hash = 0;
	__u16 tci = 0;

	if (!read_number(context, &number))
		return XDP_PASS;
	count_frame(context);
	found = bpf_map_lookup_elem(&rx_metadata, &number);
	if (!found)
		return XDP_PASS;
	found->frames++;
	found->timestamp_result = bpf_xdp_metadata_rx_timestamp(context, &timestamp);
	found->timestamp = timestamp;
	found->hash_result = bpf_xdp_metadata_rx_hash(context, &hash, &type);
	found->hash = hash;
	found->hash_type = type;
	found->vlan_result = bpf_xdp_metadata_rx_vlan_tag(context, &protocol, &tci);
	found->vlan_protocol = bpf_ntohs(protocol);
	found->vlan_tci = tci;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
