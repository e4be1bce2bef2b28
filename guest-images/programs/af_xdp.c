// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * AF_XDP sockets of one process, which share a umem, driven by commands on standard input. Only commands fill the rings and take
 * from them; the program wakes the kernel after filling a fill ring that asks for it, and when it waits for packets.
 *
 * A line is a command; its reply is any number of lines of data and then "ok NUMBER" or "error ERRNO WHAT". An address that
 * the kernel returns without having it, or returns twice, is error 74 (EBADMSG).
 *
 *	umem CHUNKS SIZE HEADROOM RING FLAGS METADATA	create a umem of CHUNKS chunks of SIZE bytes, with fill and completion rings
 *							of RING entries, FLAGS of struct xdp_umem_reg, and METADATA bytes before a
 *							frame to send
 *	open INTERFACE QUEUE RING FLAGS			bind a socket with these flags; the result is its number, from 0
 *	map SOCKET KEY					enter it in the map whose descriptor is the program's argument
 *	busy-poll SOCKET MICROSECONDS BUDGET		set SO_PREFER_BUSY_POLL, SO_BUSY_POLL, SO_BUSY_POLL_BUDGET
 *	napi SOCKET					get SO_INCOMING_NAPI_ID, 0 if there is none
 *	options SOCKET					get XDP_OPTIONS
 *	statistics SOCKET				get XDP_STATISTICS, a line "NAME NUMBER" each
 *	fill SOCKET COUNT OFFSET			fill up to COUNT free chunks, from OFFSET in the chunk; the result is their number
 *	receive SOCKET COUNT MILLISECONDS		receive up to COUNT buffers, waiting so long for each, or, if the system calls of
 *							the socket poll the device, those of one poll: a line "packet OPTIONS
 *							OFFSET HEX" for each buffer
 *	send SOCKET OPTIONS HEX [METADATA]		put a buffer into the TX ring, METADATA (hexadecimal) before it; error 105
 *							(ENOBUFS) if the ring is full
 *	wake SOCKET					wake up the kernel for the TX ring
 *	wants-wakeup SOCKET fill|transmit		1 if the need_wakeup flag of that ring is set
 *	reap SOCKET COUNT				take up to COUNT completions: a line "completed METADATA" each
 *	close SOCKET
 *
 * Source: Documentation/networking/af_xdp.rst, xsk-tx-metadata.rst; libxdp(3), xdp/xsk.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <linux/if_xdp.h>
#include <xdp/libxdp.h>
#include <xdp/xsk.h>

#define SOCKETS 64
#define CHUNKS 8192
#define WORDS 8
#define LINE (1 << 16)
#define MAPPING (MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE)

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#define SO_BUSY_POLL_BUDGET 70
#endif

struct queue {
	struct xsk_socket *socket;
	struct xsk_ring_cons receive, *complete;
	struct xsk_ring_prod transmit, *fill;
	struct xsk_ring_cons own_complete;
	struct xsk_ring_prod own_fill;
	int busy; /* its system calls poll the device */
};

static struct {
	struct xsk_umem *umem;
	struct xsk_ring_prod fill;
	struct xsk_ring_cons complete;
	char *area;
	uint64_t free[CHUNKS];
	char out[CHUNKS]; /* in a ring, or owned by the kernel */
	uint32_t count, available, size, metadata;
	int claimed; /* the first socket uses the rings of the umem */
} memory;

static struct queue queues[SOCKETS];
static unsigned int opened;
static int map = -1;
static unsigned char frame[LINE / 2];

static int failed(int number, const char *what)
{
	printf("error %d %s\n", number, what);
	return 0;
}

static int done(long number)
{
	printf("ok %ld\n", number);
	return 1;
}

/* The chunk of an address in the umem; in unaligned mode the upper bits hold the offset. */
static uint64_t chunk_of(uint64_t address)
{
	address = xsk_umem__extract_addr(address) + xsk_umem__extract_offset(address);
	return address - address % memory.size;
}

static uint64_t take_chunk(void)
{
	uint64_t address = memory.free[--memory.available];

	memory.out[address / memory.size] = 1;
	return address;
}

/* Take a chunk back from the kernel; false if the kernel did not have it. */
static int give_back(uint64_t address)
{
	uint64_t chunk = chunk_of(address), number = chunk / memory.size;

	if (number >= memory.count || !memory.out[number])
		return 0;
	memory.out[number] = 0;
	memory.free[memory.available++] = chunk;
	return 1;
}

static void print_hex(const unsigned char *data, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	static char text[LINE];
	size_t at;

	for (at = 0; at < length && at < sizeof(text) / 2; at++) {
		text[2 * at] = digits[data[at] >> 4];
		text[2 * at + 1] = digits[data[at] & 15];
	}
	fwrite(text, 1, 2 * at, stdout);
}

static int digit(char character)
{
	if (character >= '0' && character <= '9')
		return character - '0';
	if (character >= 'a' && character <= 'f')
		return character - 'a' + 10;
	return -1;
}

/* Parse hexadecimal digits; the number of bytes, or -1 if the word has anything else. */
static long parse_hex(const char *text, unsigned char *data)
{
	long length = 0;

	for (; text[0]; text += 2) {
		int high = digit(text[0]), low = text[1] ? digit(text[1]) : -1;

		if (high < 0 || low < 0)
			return -1;
		data[length++] = high << 4 | low;
	}
	return length;
}

static int make_umem(char **word)
{
	uint32_t number, ring = atoi(word[4]);
	uint64_t length;
	int error;
	DECLARE_LIBXDP_OPTS(xsk_umem_opts, options,
		.fill_size = ring,
		.comp_size = ring,
		.frame_headroom = atoi(word[3]),
		.flags = atoi(word[5]),
		.tx_metadata_len = atoi(word[6]),
	);

	if (memory.umem || atoi(word[1]) < 1 || atoi(word[1]) > CHUNKS || atoi(word[2]) < 1 || atoi(word[6]) < 0)
		return failed(EINVAL, "umem");
	memory.count = atoi(word[1]);
	memory.size = atoi(word[2]);
	memory.metadata = atoi(word[6]);
	length = (uint64_t)memory.count * memory.size;
	options.size = length;
	options.frame_size = memory.size;
	/* An unaligned chunk must not cross pages that are not physically contiguous: those of a huge page are, if there is one. */
	memory.area = MAP_FAILED;
	if (options.flags & XDP_UMEM_UNALIGNED_CHUNK_FLAG)
		memory.area = mmap(NULL, length, PROT_READ | PROT_WRITE, MAPPING | MAP_HUGETLB, -1, 0);
	if (memory.area == MAP_FAILED)
		memory.area = mmap(NULL, length, PROT_READ | PROT_WRITE, MAPPING, -1, 0);
	if (memory.area == MAP_FAILED)
		return failed(errno, "mmap");
	memory.umem = xsk_umem__create_opts(memory.area, &memory.fill, &memory.complete, &options);
	if (!memory.umem) {
		error = errno;
		return failed(error, "XDP_UMEM_REG");
	}
	for (number = memory.count; number; number--)
		memory.free[memory.available++] = (uint64_t)(number - 1) * memory.size;
	return done(memory.count);
}

static int open_socket(char **word)
{
	struct queue *queue = &queues[opened];
	uint32_t ring = atoi(word[3]);
	struct xsk_socket_config config = {
		.rx_size = ring,
		.tx_size = ring,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = atoi(word[4]),
	};
	int error;

	if (!memory.umem || opened == SOCKETS)
		return failed(EINVAL, "open");
	queue->fill = memory.claimed ? &queue->own_fill : &memory.fill;
	queue->complete = memory.claimed ? &queue->own_complete : &memory.complete;
	error = xsk_socket__create_shared(&queue->socket, word[1], atoi(word[2]), memory.umem, &queue->receive,
					  &queue->transmit, queue->fill, queue->complete, &config);
	if (error)
		return failed(-error, "bind");
	memory.claimed = 1;
	return done(opened++);
}

static int set_busy_poll(struct queue *queue, char **word)
{
	int fd = xsk_socket__fd(queue->socket), on = 1, microseconds = atoi(word[2]), budget = atoi(word[3]);

	if (setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &microseconds, sizeof(microseconds)) ||
	    setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof(budget)))
		return failed(errno, "busy-poll");
	queue->busy = 1;
	return done(0);
}

static int print_napi(struct queue *queue)
{
	unsigned int napi;
	socklen_t length = sizeof(napi);

	if (getsockopt(xsk_socket__fd(queue->socket), SOL_SOCKET, SO_INCOMING_NAPI_ID, &napi, &length))
		return failed(errno, "SO_INCOMING_NAPI_ID");
	return done(napi);
}

static int print_options(struct queue *queue)
{
	struct xdp_options options;
	socklen_t length = sizeof(options);

	if (getsockopt(xsk_socket__fd(queue->socket), SOL_XDP, XDP_OPTIONS, &options, &length))
		return failed(errno, "XDP_OPTIONS");
	return done(options.flags);
}

static int print_statistics(struct queue *queue)
{
	struct xdp_statistics found;
	socklen_t length = sizeof(found);

	if (getsockopt(xsk_socket__fd(queue->socket), SOL_XDP, XDP_STATISTICS, &found, &length))
		return failed(errno, "XDP_STATISTICS");
	printf("rx_dropped %llu\nrx_invalid_descs %llu\ntx_invalid_descs %llu\nrx_ring_full %llu\n"
	       "rx_fill_ring_empty_descs %llu\ntx_ring_empty_descs %llu\n",
	       found.rx_dropped, found.rx_invalid_descs, found.tx_invalid_descs, found.rx_ring_full,
	       found.rx_fill_ring_empty_descs, found.tx_ring_empty_descs);
	return done(6);
}

static int fill(struct queue *queue, uint32_t wanted, uint32_t offset)
{
	uint32_t at, number;

	if (wanted > memory.available)
		wanted = memory.available;
	number = xsk_prod_nb_free(queue->fill, wanted);
	if (number > wanted)
		number = wanted;
	number = xsk_ring_prod__reserve(queue->fill, number, &at);
	for (wanted = number; wanted; wanted--)
		*xsk_ring_prod__fill_addr(queue->fill, at++) = take_chunk() + offset;
	xsk_ring_prod__submit(queue->fill, number);
	if (xsk_ring_prod__needs_wakeup(queue->fill))
		recvfrom(xsk_socket__fd(queue->socket), NULL, 0, MSG_DONTWAIT, NULL, NULL);
	return done(number);
}

static int receive(struct queue *queue, uint32_t wanted, int milliseconds)
{
	struct pollfd file = { .fd = xsk_socket__fd(queue->socket), .events = POLLIN };
	uint32_t number = 0, at;

	if (queue->busy)
		recvfrom(file.fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
	while (number < wanted) {
		const struct xdp_desc *descriptor;
		uint64_t address, plain;

		if (!xsk_ring_cons__peek(&queue->receive, 1, &at)) {
			/* poll(2) wakes the driver, and its NAPI would then run from an interrupt. */
			if (queue->busy || poll(&file, 1, milliseconds) <= 0)
				break;
			if (!xsk_ring_cons__peek(&queue->receive, 1, &at))
				break;
		}
		descriptor = xsk_ring_cons__rx_desc(&queue->receive, at);
		address = descriptor->addr;
		plain = xsk_umem__add_offset_to_addr(address);
		if (plain + descriptor->len > (uint64_t)memory.count * memory.size || !give_back(address))
			return failed(EBADMSG, "received");
		printf("packet %u %llu ", descriptor->options, (unsigned long long)(plain % memory.size));
		print_hex((unsigned char *)xsk_umem__get_data(memory.area, plain), descriptor->len);
		putchar('\n');
		xsk_ring_cons__release(&queue->receive, 1);
		number++;
	}
	return done(number);
}

static int send_one(struct queue *queue, char **word)
{
	static unsigned char head[LINE / 2];
	long length = parse_hex(word[3], frame), before = word[4] ? parse_hex(word[4], head) : 0;
	struct xdp_desc *descriptor;
	uint64_t address;
	uint32_t at;

	if (length < 0 || length > memory.size - memory.metadata || before < 0 || before > memory.metadata)
		return failed(EINVAL, "send");
	if (!memory.available || !xsk_ring_prod__reserve(&queue->transmit, 1, &at))
		return failed(ENOBUFS, "send");
	address = take_chunk();
	memcpy(memory.area + address, head, before);
	memcpy(memory.area + address + memory.metadata, frame, length);
	descriptor = xsk_ring_prod__tx_desc(&queue->transmit, at);
	descriptor->addr = address + memory.metadata;
	descriptor->len = length;
	descriptor->options = atoi(word[2]);
	xsk_ring_prod__submit(&queue->transmit, 1);
	return done(1);
}

static int wake(struct queue *queue)
{
	if (sendto(xsk_socket__fd(queue->socket), NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
	    errno != EBUSY && errno != ENOBUFS)
		return failed(errno, "sendto");
	return done(0);
}

static int wants_wakeup(struct queue *queue, const char *ring)
{
	return done(xsk_ring_prod__needs_wakeup(ring[0] == 'f' ? queue->fill : &queue->transmit));
}

static int reap(struct queue *queue, uint32_t wanted)
{
	uint32_t number = xsk_ring_cons__peek(queue->complete, wanted, &wanted), count;

	for (count = 0; count < number; count++) {
		uint64_t address = *xsk_ring_cons__comp_addr(queue->complete, wanted++);

		if (!give_back(address))
			return failed(EBADMSG, "completed");
		printf("completed ");
		print_hex((unsigned char *)memory.area + chunk_of(address), memory.metadata);
		putchar('\n');
	}
	xsk_ring_cons__release(queue->complete, number);
	return done(number);
}

static int close_socket(struct queue *queue)
{
	xsk_socket__delete(queue->socket);
	queue->socket = NULL;
	return done(0);
}

static int run_command(char **word, int words)
{
	struct queue *queue = NULL;

	if (!words)
		return failed(EINVAL, "empty");
	if (!strcmp(word[0], "umem") && words == 7)
		return make_umem(word);
	if (!strcmp(word[0], "open") && words == 5)
		return open_socket(word);
	if (words >= 2 && (unsigned int)atoi(word[1]) < opened)
		queue = &queues[atoi(word[1])];
	if (!queue || !queue->socket)
		return failed(EBADF, word[0]);
	if (!strcmp(word[0], "map") && words == 3) {
		__u32 key = atoi(word[2]), fd = xsk_socket__fd(queue->socket);

		return bpf_map_update_elem(map, &key, &fd, 0) ? failed(errno, "map") : done(0);
	}
	if (!strcmp(word[0], "busy-poll") && words == 4)
		return set_busy_poll(queue, word);
	if (!strcmp(word[0], "napi") && words == 2)
		return print_napi(queue);
	if (!strcmp(word[0], "options") && words == 2)
		return print_options(queue);
	if (!strcmp(word[0], "statistics") && words == 2)
		return print_statistics(queue);
	if (!strcmp(word[0], "fill") && words == 4)
		return fill(queue, atoi(word[2]), atoi(word[3]));
	if (!strcmp(word[0], "receive") && words == 4)
		return receive(queue, atoi(word[2]), atoi(word[3]));
	if (!strcmp(word[0], "send") && (words == 4 || words == 5))
		return send_one(queue, word);
	if (!strcmp(word[0], "wake") && words == 2)
		return wake(queue);
	if (!strcmp(word[0], "wants-wakeup") && words == 3)
		return wants_wakeup(queue, word[2]);
	if (!strcmp(word[0], "reap") && words == 3)
		return reap(queue, atoi(word[2]));
	if (!strcmp(word[0], "close") && words == 2)
		return close_socket(queue);
	return failed(EINVAL, word[0]);
}

int main(int count, char **arguments)
{
	static char line[LINE];

	if (count > 1)
		map = atoi(arguments[1]);
	while (fgets(line, sizeof(line), stdin)) {
		char *word[WORDS + 1] = { NULL }, *rest = line;
		int words = 0;

		if (!strchr(line, '\n')) {
			failed(EMSGSIZE, "line");
			return 1;
		}
		while (words < WORDS && (word[words] = strtok_r(rest, " \n", &rest)))
			words++;
		run_command(word, words);
		fflush(stdout);
	}
	return 0;
}
