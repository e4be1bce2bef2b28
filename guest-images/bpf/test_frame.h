/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What identifies a test frame: its UDP destination port, PORT_FIRST to PORT_LAST, and the head of its payload: bytes that
 * programs may overwrite, a magic number, and the number of the frame.
 */
#ifndef PLUGFEST_TEST_FRAME_H
#define PLUGFEST_TEST_FRAME_H

#define PORT_FIRST 40000
#define PORT_LAST 40999
#define SCRATCH 8

struct identity {
	__u8 scratch[SCRATCH];
	__be32 magic;
	__be32 number;
};

#endif
