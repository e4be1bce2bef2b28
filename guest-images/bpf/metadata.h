/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The metadata that xdp_meta puts before a test frame for tc_meta: a magic number and the number of the frame. */
#ifndef PLUGFEST_METADATA_H
#define PLUGFEST_METADATA_H

#define MARK 0x504c4746

struct mark {
	__u32 magic;
	__u32 number;
};

#endif
