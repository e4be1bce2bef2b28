// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * After the driver (tcx ingress): counts the test frames with the metadata that xdp_meta put there, those with other
 * metadata, and those without. All frames pass.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "metadata.h"
#include "test_frame.h"

#define CONTINUE -1

struct found {
	__u64 right;
	__u64 wrong;
	__u64 none;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct found);
} count SEC(".maps");

SEC("tcx/ingress")
int tc_meta(struct __sk_buff *buffer)
{
	__u32 at = ETH_HLEN, first = 0;
	struct identity identity;
	struct udphdr udp;
	struct found *found;
	struct mark *mark;
	__u8 protocol;

	if (buffer->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(buffer, at + offsetof(struct iphdr, protocol), &protocol, 1))
			return CONTINUE;
		at += sizeof(struct iphdr);
	} else if (buffer->protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes(buffer, at + offsetof(struct ipv6hdr, nexthdr), &protocol, 1))
			return CONTINUE;
		at += sizeof(struct ipv6hdr);
	} else {
		return CONTINUE;
	}
	if (protocol != IPPROTO_UDP || bpf_skb_load_bytes(buffer, at, &udp, sizeof(udp)))
		return CONTINUE;
	if (bpf_ntohs(udp.dest) < PORT_FIRST || bpf_ntohs(udp.dest) > PORT_LAST)
		return CONTINUE;
	if (bpf_skb_load_bytes(buffer, at + sizeof(udp), &identity, sizeof(identity)))
		return CONTINUE;
	found = bpf_map_lookup_elem(&count, &first);
	if (!found)
		return CONTINUE;
	mark = (void *)(long)buffer->data_meta;
	if ((void *)(mark + 1) > (void *)(long)buffer->data)
		found->none++;
	else if (mark->magic == MARK && mark->number == bpf_ntohl(identity.number))
		found->right++;
	else
		found->wrong++;
	return CONTINUE;
}

char _license[] SEC("license") = "GPL";
