/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the XDP programs share: which frames are the test's own, and their account.
 *
 * A test frame is UDP over IPv4 or IPv6, with or without one VLAN tag, whose destination port lies in PORT_FIRST to
 * PORT_LAST. Everything else (ARP, neighbour discovery, what a daemon sends) passes to the stack and is not counted, so
 * that counts can be exact on a link that is alive.
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

/* One element a receive queue, summed over the CPUs by the reader. */
struct account {
	__u64 frames;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, QUEUES);
	__type(key, __u32);
	__type(value, struct account);
} count SEC(".maps");

/* How often something that a driver may refuse was accepted and refused. */
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

/* Read a test frame's number; false for any other frame, and for one too short to have one. */
static __always_inline int numbered(struct xdp_md *context, __u32 *number)
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

/* Count the answer, 0 or an error, under a key of a map of struct answer; whether it was accepted. */
static __always_inline int accepted(void *answers, __u32 key, long result)
{
	struct answer *answer = bpf_map_lookup_elem(answers, &key);

	if (answer && result)
		answer->refused++;
	else if (answer)
		answer->accepted++;
	return !result;
}

/* Book a test frame, in however many buffers, in an element of the account. */
static __always_inline void book_in(struct xdp_md *context, __u32 element)
{
	struct account *account = bpf_map_lookup_elem(&count, &element);

	if (account) {
		account->frames++;
		account->bytes += bpf_xdp_get_buff_len(context);
	}
}

/* Book a test frame on the queue that the driver says it came by. */
static __always_inline void book(struct xdp_md *context)
{
	book_in(context, context->rx_queue_index);
}

/* Book a test frame and swap its two hardware addresses, and nothing else; false for any other frame. */
static __always_inline int turned(struct xdp_md *context)
{
	struct ethhdr *ethernet = (void *)(long)context->data;
	__u8 address[ETH_ALEN];

	if (!test_datagram(context))
		return 0;
	if ((void *)(ethernet + 1) > (void *)(long)context->data_end)
		return 0;
	book(context);
	__builtin_memcpy(address, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, address, ETH_ALEN);
	return 1;
}

#endif
