// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The bare loop that a model is compared with: writev() and read() of frames on a tap, and nothing else.
 *
 * usage: tap_loop TAP transmit|receive SIZE BURSTS BURST
 * Prints, for each burst, how many frames it had and the nanoseconds of CPU time that this thread spent in the loop. What
 * it takes to put frames on the wire for `receive` is left out.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define VNET_HEADER 10

static void check(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

static long long cpu(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET };
	unsigned char frame[65536], taken[65536 + VNET_HEADER], header[VNET_HEADER] = { 0 };
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	struct iovec pieces[2] = { { header, sizeof(header) }, { frame, 0 } };
	int tap, remote, length = VNET_HEADER;
	long size, bursts, burst;

	if (argc != 6) {
		fprintf(stderr, "usage: %s TAP transmit|receive SIZE BURSTS BURST\n", argv[0]);
		return 2;
	}
	size = atol(argv[3]), bursts = atol(argv[4]), burst = atol(argv[5]);
	pieces[1].iov_len = size;
	memset(frame, 0, sizeof(frame));
	memset(frame, 0xff, 6);
	frame[12] = 0x88, frame[13] = 0xb5;

	check(tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK), "/dev/net/tun");
	strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
	check(ioctl(tap, TUNSETIFF, &request), "TUNSETIFF");
	check(ioctl(tap, TUNSETVNETHDRSZ, &length), "TUNSETVNETHDRSZ");
	check(remote = socket(AF_PACKET, SOCK_RAW, 0), "socket");
	check(ioctl(remote, SIOCGIFINDEX, &request), "SIOCGIFINDEX");
	address.sll_ifindex = request.ifr_ifindex;
	check(bind(remote, (struct sockaddr *)&address, sizeof(address)), "bind");

	for (; bursts; bursts--) {
		long n = burst, frames = 0;
		long long begin;

		if (argv[2][0] == 't') {
			begin = cpu();
			while (n--)
				check(writev(tap, pieces, 2), "writev");
			printf("%ld %lld\n", burst, cpu() - begin);
			continue;
		}
		while (n--)
			check(send(remote, frame, size, 0), "send");
		begin = cpu();
		while (read(tap, taken, sizeof(taken)) > 0)
			frames++;
		printf("%ld %lld\n", frames, cpu() - begin);
	}
	return 0;
}
