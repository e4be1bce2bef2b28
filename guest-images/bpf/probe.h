/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the XDP programs share: which frames are test frames, and their counters.
 *
 * A test frame is UDP over IPv4 or IPv6, with one VLAN tag or none, whose destination port is PORT_FIRST to PORT_LAST.
 * Every other frame (ARP, neighbour discovery, daemons) passes to the stack and is not counted, so that counts are exact
 * despite background traffic.
 */
#ifndef PLUGFEST_PROBE_H
#define PLUGFEST_PROBE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "test_frame.h"

#define QUEUES 128

/* One element per receive queue; the reader sums over the CPUs. */
struct frame_counters {
	__u64 frames;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, QUEUES);
	__type(key, __u32);
	__type(value, struct frame_counters);
} count SEC(".maps");

/* How often the driver or the kernel accepted and refused a request. */
struct answer {
	__u64 accepted;
	__u64 refused;
};

struct vlan_tag {
	__be16 tci;
	__be16 protocol;
};

/* The UDP header of a test frame, NULL for any other. */
static __always_inline struct udphdr *test_datagram(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = (void *)(long)context->data;
	struct udphdr *udp = NULL;
	__be16 protocol;
	void *network;

	if ((void *)(ethernet + 1) > end)
		return NULL;
	protocol = ethernet->h_proto;
	network = ethernet + 1;
	if (protocol == bpf_htons(ETH_P_8021Q)) {
		struct vlan_tag *tag = network;

		if ((void *)(tag + 1) > end)
			return NULL;
		protocol = tag->protocol;
		network = tag + 1;
	}
	if (protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = network;

		if ((void *)(ip + 1) > end || ip->protocol != IPPROTO_UDP || ip->ihl != 5)
			return NULL;
		udp = (void *)(ip + 1);
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = network;

		if ((void *)(ip + 1) > end || ip->nexthdr != IPPROTO_UDP)
			return NULL;
		udp = (void *)(ip + 1);
	}
	if (!udp || (void *)(udp + 1) > end)
		return NULL;
	if (bpf_ntohs(udp->dest) < PORT_FIRST || bpf_ntohs(udp->dest) > PORT_LAST)
		return NULL;
	return udp;
}

/* Read the number of a test frame; false for any other frame, and for a frame too short to have one. */
static __always_inline int read_number(struct xdp_md *context, __u32 *number)
{
	struct udphdr *udp = test_datagram(context);
	struct identity *identity;

	if (!udp)
		return 0;
	identity = (void *)(udp + 1);
	if ((void *)(identity + 1) > (void *)(long)context->data_end)
		return 0;
	*number = bpf_ntohl(identity->number);
	return 1;
}

/* Count a result, 0 or an error, in an element of a map of struct answer; true if it is 0. */
static __always_inline int count_result(void *answers, __u32 key, long result)
{
	struct answer *answer = bpf_map_lookup_elem(answers, &key);

	if (answer && result)
		answer->refused++;
	else if (answer)
		answer->accepted++;
	return !result;
}

/* Count a test frame, of any number of buffers, in an element of `count`. */
static __always_inline void count_frame_in(struct xdp_md *context, __u32 element)
{
	struct frame_counters *counters = bpf_map_lookup_elem(&count, &element);

	if (counters) {
		counters->frames++;
		counters->bytes += bpf_xdp_get_buff_len(context);
	}
}

/* Count a test frame on the queue that the driver reports. */
static __always_inline void count_frame(struct xdp_md *context)
{
	count_frame_in(context, context->rx_queue_index);
}

/* Count a test frame and swap its MAC addresses, and change nothing else; false for any other frame. */
static __always_inline int swap_addresses(struct xdp_md *context)
{
	struct ethhdr *ethernet = (void *)(long)context->data;
	__u8 address[ETH_ALEN];

	if (!test_datagram(context))
		return 0;
	if ((void *)(ethernet + 1) > (void *)(long)context->data_end)
		return 0;
	count_frame(context);
	__builtin_memcpy(address, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, address, ETH_ALEN);
	return 1;
}

#endif
