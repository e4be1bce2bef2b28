/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What xdp_meta puts before a test frame for tc_meta: a magic and the number of the frame. */
#ifndef PLUGFEST_METADATA_H
#define PLUGFEST_METADATA_H

#define MARK 0x504c4746

struct mark {
	__u32 magic;
	__u32 number;
};

#endif
