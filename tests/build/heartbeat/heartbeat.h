/* SPDX-License-Identifier: GPL-2.0-or-later */
#define HEARTBEAT_VERSION "1.4.2"
