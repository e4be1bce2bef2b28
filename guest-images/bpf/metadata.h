/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What xdp_meta puts before a test frame for tc_meta: a magic and the number of the frame, as it stands in its payload
 * behind the octets that programs may overwrite.
 */
#ifndef PLUGFEST_METADATA_H
#define PLUGFEST_METADATA_H

#define SCRATCH 8
#define MARK 0x504c4746

struct mark {
	__u32 magic;
	__u32 number;
};

/* The head of a test frame's payload. */
struct identity {
	__u8 scratch[SCRATCH];
	__be32 magic;
	__be32 number;
};

#endif
