// SPDX-License-Identifier: GPL-2.0-or-later
/* What the leader says to a server of files, whatever that answers; and what it does with queues itself. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run.h"
#include "server.h"
#include "vhost-user.h"

#define START 0x10000000ULL /* where the kernel's memory is */
#define PIECE 0x200000ULL
#define PIECES_MAX 40
#define SIZE 8 /* entries of a queue */
#define QUEUES 2

static struct region regions[PIECES_MAX];
static struct guest_memory memory = { .regions = regions };
static struct server_queue queues[QUEUES];
static struct server_setup setup;
static char why[SERVER_WHY_MAX];

static uint64_t desc_at(unsigned i)
{
	return START + 0x10000 * i + 0x1000;
}

static void make(void)
{
	memory.n = 2;
	for (size_t i = 0; i < PIECES_MAX; i++) {
		int fd = memfd_create("piece", MFD_CLOEXEC);

		ck_assert_int_eq(ftruncate(fd, (off_t)PIECE), 0);
		regions[i] = (struct region){ fd, START + 2 * PIECE * i, PIECE, NULL };
		regions[i].map = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ck_assert(regions[i].map != MAP_FAILED);
	}
	for (unsigned i = 0; i < QUEUES; i++)
		queues[i] = (struct server_queue){
			.ring = { desc_at(i), desc_at(i) + 0x1000, desc_at(i) + 0x2000, SIZE, 0 },
			.kick = eventfd(0, EFD_CLOEXEC),
			.call = eventfd(0, EFD_CLOEXEC),
			.error = eventfd(0, EFD_CLOEXEC),
		};
	setup = (struct server_setup){ &memory, 1ULL << 32, queues, QUEUES };
}

static void unmake(void)
{
	for (size_t i = 0; i < PIECES_MAX; i++) {
		munmap(regions[i].map, PIECE);
		close(regions[i].fd);
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		close(queues[i].kick);
		close(queues[i].call);
		close(queues[i].error);
	}
}

/*
 * A server that does as it is told, but for one thing.
 */
enum fault {
	GOOD,
	SILENT,
	ENDS,
	HALF,	       /* of an answer, then the end */
	OTHER_REQUEST, /* answers what was not asked */
	NO_REPLY_FLAG,
	OTHER_VERSION,
	TOO_LARGE,
	TOO_SMALL,
	REFUSES,
	WITH_FD,   /* sends a descriptor along: all is well, and it is not kept */
	NO_ACK,	   /* can't acknowledge */
	OLD,	   /* lacks a feature that the driver has accepted */
	ONE_TABLE, /* can't take more than 8 pieces of memory */
};

static struct server {
	int fd;
	enum fault fault;
	uint32_t at; /* the request that is answered so */
	uint64_t slots;

	/* What it was told. */
	uint64_t features, protocol;
	uint32_t nums[QUEUES], bases[QUEUES];
	struct vhost_user_address addresses[QUEUES];
	bool kick[QUEUES], call[QUEUES], error[QUEUES], enabled[QUEUES];
	struct vhost_user_region regions[PIECES_MAX];
	size_t n_regions, n_fds;
} server;

static bool answer(uint32_t request, uint64_t number)
{
	struct {
		struct vhost_user_header header;
		uint64_t number;
		uint64_t more;
	} __attribute__((packed))
	reply = { { request, VHOST_USER_VERSION | VHOST_USER_REPLY, sizeof(number) }, number, 0 };
	size_t size = sizeof(reply) - sizeof(reply.more);
	enum fault fault = request == server.at ? server.fault : GOOD;
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &reply, size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	switch (fault) {
	case SILENT:
		return true;
	case ENDS:
		return false;
	case HALF:
		send(server.fd, &reply, size / 2, MSG_NOSIGNAL);
		return false;
	case OTHER_REQUEST:
		reply.header.request++;
		break;
	case NO_REPLY_FLAG:
		reply.header.flags = VHOST_USER_VERSION;
		break;
	case OTHER_VERSION:
		reply.header.flags++;
		break;
	case TOO_LARGE:
		reply.header.size += 8;
		iov.iov_len += 8;
		break;
	case TOO_SMALL:
		reply.header.size = 4;
		break;
	case REFUSES:
		reply.number = 1;
		break;
	case WITH_FD: {
		struct cmsghdr *cmsg = (void *)control;
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		*cmsg = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(cmsg), &null, sizeof(null));
		sendmsg(server.fd, &message, MSG_NOSIGNAL);
		close(null);
		return true;
	}
	case NO_ACK:
		reply.number &= ~VHOST_USER_PROTOCOL_F_REPLY_ACK;
		break;
	case OLD:
		reply.number &= ~(1ULL << 32);
		break;
	case ONE_TABLE:
		reply.number &= ~VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS;
		break;
	case GOOD:
		break;
	}
	send(server.fd, &reply, iov.iov_len, MSG_NOSIGNAL);
	return true;
}

/* 0, or the number of descriptors and one more. */
static bool receive_all(void *to, size_t size, size_t *ret_fds)
{
	char control[CMSG_SPACE(8 * sizeof(int))];
	struct iovec iov = { to, size };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg;

	if (recvmsg(server.fd, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC) != (ssize_t)size)
		return false;
	for (cmsg = CMSG_FIRSTHDR(&message); cmsg; cmsg = CMSG_NXTHDR(&message, cmsg)) {
		size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		*ret_fds += n;
		for (size_t i = 0; i < n; i++)
			close(((int *)CMSG_DATA(cmsg))[i]);
	}
	return true;
}

static void obey(uint32_t request, const void *payload, size_t fds)
{
	const struct vhost_user_state *state = payload;
	const struct vhost_user_memory *table = payload;
	const struct vhost_user_add_region *add = payload;
	const struct vhost_user_address *address = payload;
	const uint64_t *number = payload;

	switch (request) {
	case VHOST_USER_SET_FEATURES:
		server.features = *number;
		break;
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		server.protocol = *number;
		break;
	case VHOST_USER_SET_MEM_TABLE:
		memcpy(server.regions, table->regions, table->n * sizeof(table->regions[0]));
		server.n_regions = table->n;
		server.n_fds = fds;
		break;
	case VHOST_USER_ADD_MEM_REG:
		server.regions[server.n_regions++] = add->region;
		server.n_fds += fds;
		break;
	case VHOST_USER_SET_VRING_NUM:
		server.nums[state->index] = state->num;
		break;
	case VHOST_USER_SET_VRING_BASE:
		server.bases[state->index] = state->num;
		break;
	case VHOST_USER_SET_VRING_ADDR:
		server.addresses[address->index] = *address;
		break;
	case VHOST_USER_SET_VRING_KICK:
		server.kick[*number] = fds == 1;
		break;
	case VHOST_USER_SET_VRING_CALL:
		server.call[*number] = fds == 1;
		break;
	case VHOST_USER_SET_VRING_ERR:
		server.error[*number] = fds == 1;
		break;
	case VHOST_USER_SET_VRING_ENABLE:
		server.enabled[state->index] = state->num == 1;
		break;
	}
}

static void *serve(void *unused)
{
	for (;;) {
		uint64_t payload[128] = { 0 };
		struct vhost_user_header header;
		size_t fds = 0;
		bool goes_on = true;

		if (!receive_all(&header, sizeof(header), &fds) || header.size > sizeof(payload) ||
		    (header.size && !receive_all(payload, header.size, &fds)))
			break;
		obey(header.request, payload, fds);
		if (header.request == VHOST_USER_GET_FEATURES)
			goes_on =
				answer(header.request, VHOST_USER_F_PROTOCOL_FEATURES | 1ULL << 32);
		else if (header.request == VHOST_USER_GET_PROTOCOL_FEATURES)
			goes_on = answer(header.request, ~0ULL);
		else if (header.request == VHOST_USER_GET_MAX_MEM_SLOTS)
			goes_on = answer(header.request, server.slots);
		else if (header.flags & VHOST_USER_NEED_REPLY)
			goes_on = answer(header.request, 0);
		if (!goes_on)
			break;
	}
	shutdown(server.fd, SHUT_RDWR);
	return NULL;
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int i = 0; i < 1024; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static int talk(enum fault fault, uint32_t at)
{
	unsigned before = open_fds();
	pthread_t thread;
	int pair[2], r;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	server = (struct server){ .fd = pair[1], .fault = fault, .at = at, .slots = 32 };
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
	why[0] = '\0';
	r = vhost_user_greet(pair[0]);
	ck_assert_int_eq(r, 0);
	r = vhost_user_start(pair[0], &setup, fault == SILENT ? 100 : 10000, why);
	shutdown(pair[0], SHUT_RDWR);
	pthread_join(thread, NULL);
	close(pair[0]);
	close(pair[1]);
	ck_assert_uint_eq(open_fds(), before);
	return r;
}

START_TEST(test_start)
{
	struct vring_used *used = guest_memory_at(&memory, queues[1].ring.used, 4);

	used->idx = 7; /* where the server before it has got to */
	ck_assert_msg(talk(GOOD, 0) == 0, "%s", why);
	ck_assert_uint_eq(server.features, 1ULL << 32 | VHOST_USER_F_PROTOCOL_FEATURES);
	ck_assert_uint_eq(server.protocol, VHOST_USER_PROTOCOL_F_REPLY_ACK |
						   VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
	ck_assert_uint_eq(server.n_regions, 2);
	ck_assert_uint_eq(server.n_fds, 2);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(server.regions[i].guest_address, regions[i].start);
		ck_assert_uint_eq(server.regions[i].user_address, regions[i].start);
		ck_assert_uint_eq(server.regions[i].size, PIECE);
		ck_assert_uint_eq(server.regions[i].offset, 0);
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		ck_assert_uint_eq(server.nums[i], SIZE);
		ck_assert_uint_eq(server.bases[i], i ? 7 : 0);
		ck_assert_uint_eq(server.addresses[i].desc, queues[i].ring.desc);
		ck_assert_uint_eq(server.addresses[i].avail, queues[i].ring.avail);
		ck_assert_uint_eq(server.addresses[i].used, queues[i].ring.used);
		ck_assert(server.kick[i] && server.call[i] && server.error[i] && server.enabled[i]);
	}
	used->idx = 0;

	/* One that is not in use is not spoken of. */
	queues[0].ring.size = 0;
	ck_assert_msg(talk(GOOD, 0) == 0, "%s", why);
	ck_assert(!server.kick[0] && server.kick[1]);
}
END_TEST

START_TEST(test_hostile)
{
	static const uint32_t requests[] = {
		VHOST_USER_GET_FEATURES,   VHOST_USER_GET_PROTOCOL_FEATURES,
		VHOST_USER_SET_OWNER,	   VHOST_USER_SET_FEATURES,
		VHOST_USER_SET_MEM_TABLE,  VHOST_USER_SET_VRING_NUM,
		VHOST_USER_SET_VRING_BASE, VHOST_USER_SET_VRING_ADDR,
		VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_ERR,
		VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_ENABLE,
	};
	static const struct {
		enum fault fault;
		int result; /* 0: any but success */
	} faults[] = {
		{ SILENT, -ETIMEDOUT },	     { ENDS, -ECONNRESET },
		{ HALF, -ECONNRESET },	     { OTHER_REQUEST, -EBADMSG },
		{ NO_REPLY_FLAG, -EBADMSG }, { OTHER_VERSION, -EBADMSG },
		{ TOO_LARGE, -EBADMSG },     { TOO_SMALL, -EBADMSG },
	};

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		for (size_t j = 0; j < sizeof(faults) / sizeof(faults[0]); j++) {
			ck_assert_int_eq(talk(faults[j].fault, requests[i]), faults[j].result);
			ck_assert(strlen(why) > 0);
		}
		if (i >= 2)
			ck_assert_int_eq(talk(REFUSES, requests[i]), -EREMOTEIO);
		ck_assert_int_eq(talk(WITH_FD, requests[i]), 0);
	}
	ck_assert_int_eq(talk(NO_ACK, VHOST_USER_GET_PROTOCOL_FEATURES), -EOPNOTSUPP);
	ck_assert_int_eq(talk(OLD, VHOST_USER_GET_FEATURES), -EOPNOTSUPP);
}
END_TEST

START_TEST(test_many_pieces)
{
	memory.n = 8;
	ck_assert_int_eq(talk(ONE_TABLE, VHOST_USER_GET_PROTOCOL_FEATURES), 0);
	ck_assert_uint_eq(server.n_fds, 8);
	memory.n = 9;
	ck_assert_int_eq(talk(ONE_TABLE, VHOST_USER_GET_PROTOCOL_FEATURES), -E2BIG);
	memory.n = 32;
	ck_assert_msg(talk(GOOD, 0) == 0, "%s", why);
	ck_assert_uint_eq(server.n_regions, 32);
	ck_assert_uint_eq(server.n_fds, 32);
	ck_assert_uint_eq(server.regions[31].guest_address, regions[31].start);
	memory.n = 33;
	ck_assert_int_eq(talk(GOOD, 0), -E2BIG);
	ck_assert_ptr_nonnull(strstr(why, "too many pieces"));
}
END_TEST

START_TEST(test_memory)
{
	ck_assert_ptr_eq(guest_memory_at(&memory, START, PIECE), regions[0].map);
	ck_assert_ptr_eq(guest_memory_at(&memory, START + PIECE - 1, 1),
			 regions[0].map + PIECE - 1);
	ck_assert_ptr_null(guest_memory_at(&memory, START + PIECE - 1, 2));
	ck_assert_ptr_null(guest_memory_at(&memory, START - 1, 2));
	ck_assert_ptr_null(guest_memory_at(&memory, START + PIECE, 1));
	ck_assert_ptr_null(guest_memory_at(&memory, START + 1, UINT64_MAX));
	ck_assert_ptr_null(guest_memory_at(&memory, UINT64_MAX, 1));
}
END_TEST

/* A queue as a driver fills it. */
static struct vring_desc *table;
static struct vring_avail *avail;
static struct vring_used *used_ring;

static void *at(uint64_t address)
{
	return guest_memory_at(&memory, address, 64);
}

static void queue_make(void)
{
	table = at(queues[0].ring.desc);
	avail = at(queues[0].ring.avail);
	used_ring = at(queues[0].ring.used);
}

static void offer(uint16_t head)
{
	avail->ring[avail->idx % SIZE] = head;
	avail->idx++;
}

START_TEST(test_push)
{
	const struct popcorn_queue *queue = &queues[0].ring;
	const uint32_t event = 0x12345678;

	queue_make();
	ck_assert_int_eq(queue_push(&memory, queue, &event, 4), 0);
	table[3] = (struct vring_desc){ START + 0x80000, 8, VRING_DESC_F_WRITE, 0 };
	offer(3);
	ck_assert_int_eq(queue_push(&memory, queue, &event, 4), 1);
	ck_assert_int_eq(memcmp(at(START + 0x80000), &event, 4), 0);
	ck_assert_uint_eq(used_ring->idx, 1);
	ck_assert_uint_eq(used_ring->ring[0].id, 3);
	ck_assert_uint_eq(used_ring->ring[0].len, 4);
	ck_assert_int_eq(queue_push(&memory, queue, &event, 4), 0);

	/* Not a buffer; not in it; elsewhere; nowhere. */
	offer(SIZE);
	ck_assert_int_eq(queue_push(&memory, queue, &event, 4), -EBADMSG);
	avail->ring[1] = 3;
	table[3].flags = 0;
	ck_assert_int_eq(queue_push(&memory, queue, &event, 4), -EBADMSG);
	table[3].flags = VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT;
	ck_assert_int_eq(queue_push(&memory, queue, &event, 4), -EBADMSG);
	table[3].flags = VRING_DESC_F_WRITE;
	table[3].len = 3;
	ck_assert_int_eq(queue_push(&memory, queue, &event, 4), -EBADMSG);
	table[3].len = 4;
	table[3].addr = START + PIECE - 2;
	ck_assert_int_eq(queue_push(&memory, queue, &event, 4), -EFAULT);
	ck_assert_uint_eq(used_ring->idx, 1);
	queues[0].ring.used = START + PIECE - 8;
	ck_assert_int_eq(queue_push(&memory, queue, &event, 4), -EFAULT);
}
END_TEST

static void check_refused(unsigned index, uint16_t head, uint64_t answer_at, uint64_t unique)
{
	const struct fuse_out_header *out = at(answer_at);

	ck_assert_uint_eq(used_ring->ring[index % SIZE].id, head);
	ck_assert_uint_eq(used_ring->ring[index % SIZE].len, sizeof(*out));
	ck_assert_uint_eq(out->len, sizeof(*out));
	ck_assert_int_eq(out->error, -EIO);
	ck_assert_uint_eq(out->unique, unique);
}

START_TEST(test_refuse)
{
	const struct popcorn_queue *queue = &queues[0].ring;
	struct fuse_in_header *in = at(START + 0x80000);
	struct vring_desc *indirect = at(START + 0x90000);
	uint16_t event;

	queue_make();
	ck_assert_int_eq(queue_refuse(&memory, queue, false), 0);
	/* A chain of three; an indirect one; one that wants no answer (FORGET). */
	in->unique = 77;
	table[0] = (struct vring_desc){ START + 0x80000, sizeof(*in), VRING_DESC_F_NEXT, 5 };
	table[5] = (struct vring_desc){ START + 0x81000, 100, VRING_DESC_F_NEXT, 6 };
	table[6] = (struct vring_desc){ START + 0x82000, 4096, VRING_DESC_F_WRITE, 0 };
	offer(0);
	table[1] = (struct vring_desc){ START + 0x90000, 2 * 16, VRING_DESC_F_INDIRECT, 0 };
	indirect[0] = (struct vring_desc){ START + 0x80000, sizeof(*in), VRING_DESC_F_NEXT, 1 };
	indirect[1] = (struct vring_desc){ START + 0x83000, 16, VRING_DESC_F_WRITE, 0 };
	offer(1);
	table[2] = (struct vring_desc){ START + 0x80000, sizeof(*in), 0, 0 };
	offer(2);
	ck_assert_int_eq(queue_refuse(&memory, queue, true), 3);
	ck_assert_uint_eq(used_ring->idx, 3);
	check_refused(0, 0, START + 0x82000, 77);
	check_refused(1, 1, START + 0x83000, 77);
	ck_assert_uint_eq(used_ring->ring[2].id, 2);
	ck_assert_uint_eq(used_ring->ring[2].len, 0);
	/* The driver is to kick for the next one. */
	memcpy(&event, &used_ring->ring[SIZE], sizeof(event));
	ck_assert_uint_eq(event, 3);

	/* Loops, ends outside, tables in tables, tables of no size. */
	table[3] = (struct vring_desc){ START, 16, VRING_DESC_F_NEXT, 3 };
	offer(3);
	ck_assert_int_eq(queue_refuse(&memory, queue, true), -EBADMSG);
	table[3].next = SIZE;
	ck_assert_int_eq(queue_refuse(&memory, queue, true), -EBADMSG);
	table[3] = (struct vring_desc){ START + 0x90000, 16, VRING_DESC_F_INDIRECT, 0 };
	indirect[0].flags = VRING_DESC_F_INDIRECT;
	ck_assert_int_eq(queue_refuse(&memory, queue, true), -EBADMSG);
	table[3].len = 0;
	ck_assert_int_eq(queue_refuse(&memory, queue, true), -EBADMSG);
	table[3].len = 17;
	ck_assert_int_eq(queue_refuse(&memory, queue, true), -EBADMSG);
	table[3].len = 16;
	table[3].addr = 0;
	ck_assert_int_eq(queue_refuse(&memory, queue, true), -EFAULT);
	/* Buffers that are nowhere are not touched. */
	table[3] = (struct vring_desc){ 8, 64, VRING_DESC_F_NEXT, 4 };
	table[4] = (struct vring_desc){ 8, 64, VRING_DESC_F_WRITE, 0 };
	ck_assert_int_eq(queue_refuse(&memory, queue, true), 1);
	ck_assert_uint_eq(used_ring->ring[3].len, 0);
	/* A driver that says that all of 65536 entries wait does not hold us for ever. */
	table[3] = (struct vring_desc){ START, 16, 0, 0 };
	for (unsigned i = 0; i < SIZE; i++)
		avail->ring[i] = 3;
	avail->idx = (uint16_t)(used_ring->idx - 1);
	ck_assert_int_eq(queue_refuse(&memory, queue, true), POPCORN_QUEUE_SIZE_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("servers");
	TCase *tc = tcase_create("servers");

	tcase_add_checked_fixture(tc, make, unmake);
	tcase_add_test(tc, test_start);
	tcase_add_test(tc, test_hostile);
	tcase_add_test(tc, test_many_pieces);
	tcase_add_test(tc, test_memory);
	tcase_add_test(tc, test_push);
	tcase_add_test(tc, test_refuse);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
