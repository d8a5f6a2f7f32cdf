// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For tests only: says what a broken kernel would say for its processes. It takes the place of the
 * handler of the kernel that it is loaded in, sends packets that make no sense to service "test" of
 * kernel victim=, and then answers whoever asks for its services (see roles[]) or windows (see lies[])
 * until it is removed. Loading it succeeds when each of its packets was answered as it should be.
 */
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <asm/io.h>

#include "user.h"
#include "window.h"

static unsigned int victim;
module_param(victim, uint, 0444);

static unsigned long own_page;

/* What services do with a request: those of tests/messages/msguser.c, "imposter". */
static const char *const roles[] = {
	"",
	"test.refuses", /* for a reason that there may be */
	"test.odd",	/* for one that is none */
	"test.busy",	/* always says that it has no room, and then that it has */
	"test.closed",
	"test.long",	 /* replies with more than there is room for */
	"test.stranger", /* replies for another endpoint, to another call, and then as it should */
	"test.twice",	 /* replies twice */
	"test.forgets",	 /* forgets each first request, as if it had been refused and not said so */
	"test.denies",	 /* answers nothing, and that it may not be asked */
};
enum { REFUSES = 1, ODD, BUSY, CLOSED, LONG, STRANGER, TWICE, FORGETS, DENIES };
static u64 forgotten;

/* What it was told. */
#define NUMBERS 64
static int refused[NUMBERS];
static atomic_t nr_refused;
static DECLARE_WAIT_QUEUE_HEAD(told);

static void say(const struct popcorn_msg *msg, const struct packet *packet, u32 length)
{
	popcorn_msg_send_async(msg->from, POPCORN_MSG_CONTROL, TYPE_USER, packet,
			       sizeof(*packet) + length);
}

static void refuse(const struct popcorn_msg *msg, const struct packet *request, int status)
{
	const struct packet packet = { .kind = PACKET_REFUSED,
				       .from = request->to,
				       .number = request->number,
				       .status = status };

	say(msg, &packet, 0);
}

static void play(const struct popcorn_msg *msg, const struct packet *request)
{
	/* One message is handled at a time. */
	static u64 memory[POPCORN_MSG_MAX / sizeof(u64)];
	struct packet *packet = (struct packet *)memory;
	const struct packet room = { .kind = PACKET_ROOM, .from = request->to };

	*packet = (struct packet){
		.kind = PACKET_REPLY, .from = request->to, .number = request->number, .status = 7
	};
	switch (request->to) {
	case REFUSES:
		refuse(msg, request, -ENOBUFS);
		break;
	case ODD:
		refuse(msg, request, 5);
		break;
	case BUSY:
		refuse(msg, request, -EAGAIN);
		say(msg, &room, 0);
		break;
	case CLOSED:
		packet->flags = PACKET_CLOSED;
		say(msg, packet, 0);
		break;
	case LONG:
		say(msg, packet, min_t(u32, request->total + 1, PACKET_DATA_MAX));
		break;
	case STRANGER:
		packet->from = request->to + 1;
		say(msg, packet, 0);
		packet->from = request->to;
		packet->number = request->number + 1;
		say(msg, packet, 0);
		packet->number = request->number;
		say(msg, packet, 0);
		break;
	case TWICE:
		say(msg, packet, 0);
		packet->status = 8;
		say(msg, packet, 0);
		break;
	case FORGETS:
		if (forgotten)
			say(msg, packet, 0);
		forgotten = forgotten ? 0 : request->number;
		break;
	}
}

static int asked(const struct popcorn_msg *msg, const struct packet *packet)
{
	if (packet->to == DENIES)
		return -EPERM;
	if (packet->to == FORGETS && packet->number == forgotten)
		refuse(msg, packet, -EAGAIN);
	return popcorn_msg_reply(msg, NULL, 0);
}

static int look_up(const struct popcorn_msg *msg, const struct packet *packet)
{
	u64 i;

	for (i = 1; i < ARRAY_SIZE(roles); i++)
		if (!strncmp((const char *)packet->data, roles[i], POPCORN_MSG_NAME_MAX))
			return popcorn_msg_reply(msg, &i, sizeof(i));
	return -ENOENT;
}

/* Windows that it offers, by their number. */
#define OWN 1 /* in a page of this kernel */
static const struct lie {
	u64 bytes;
	u32 nr_ranges, count;
	u32 said; /* ranges that are in the reply */
	struct popcorn_directory_range range[2];
} lies[] = {
	{},
	/* Memory of the primary, alone and beside its own. */
	{ 4096, 1, 1, 1, { { 0x100000, 4096 } } },
	{ 8192, 2, 2, 2, { { OWN, 4096 }, { 0x100000, 4096 } } },
	/* Of nobody, and around the end. */
	{ 4096, 1, 1, 1, { { 0xfffffffffffff000, 4096 } } },
	{ 4096, 1, 1, 1, { { OWN, 0xfffffffffffff000 } } },
	/* No whole pages. */
	{ 4096, 1, 1, 1, { { 0x100010, 4096 } } },
	{ 4096, 1, 1, 1, { { OWN, 4097 } } },
	{ 4096, 1, 1, 1, { { OWN, 0 } } },
	/* More or less than there should be. */
	{ 8192, 1, 1, 1, { { OWN, 4096 } } },
	{ 4096, 1, 1, 1, { { OWN, 8192 } } },
	{ 1ULL << 40, 1, 1, 1, { { OWN, 4096 } } },
	{ 0, 1, 1, 1, { { OWN, 4096 } } },
	{ 4096, 2, 1, 1, { { OWN, 4096 } } },
	{ 4096, 0, 1, 1, { { OWN, 4096 } } },
	{ 4096, ~0U, 1, 1, { { OWN, 4096 } } },
	{ 4096, 1, 0, 0, {} },
	{ 4096, 1, 200, 1, { { OWN, 4096 } } },
	{ 4096, 1, 2, 2, { { OWN, 4096 }, { OWN, 4096 } } },
};

static int lie(const struct popcorn_msg *msg, const struct packet *packet)
{
	struct {
		struct window_ranges head;
		struct popcorn_directory_range range[2];
	} answer = {};
	const struct lie *lie;
	u32 i;

	if (packet->number >= ARRAY_SIZE(lies))
		return -ENOENT;
	/* Not even a beginning. */
	if (!packet->number)
		return popcorn_msg_reply(msg, &answer, 3);
	lie = &lies[packet->number];
	answer.head.bytes = lie->bytes;
	answer.head.nr_ranges = lie->nr_ranges;
	answer.head.count = lie->count;
	for (i = 0; i < lie->said; i++) {
		answer.range[i] = lie->range[i];
		if (lie->range[i].start == OWN)
			answer.range[i].start = virt_to_phys((void *)own_page);
	}
	return popcorn_msg_reply(msg, &answer,
				 sizeof(answer.head) + lie->said * sizeof(answer.range[0]));
}

static int handle(const struct popcorn_msg *msg, const void *payload, void *data)
{
	const struct packet *packet = payload;

	if (msg->length < sizeof(*packet))
		return -EPROTO;
	switch (packet->kind) {
	case PACKET_LOOKUP:
		return look_up(msg, packet);
	case PACKET_REQUEST:
		play(msg, packet);
		return 0;
	case PACKET_ASK:
		return asked(msg, packet);
	case PACKET_WINDOW:
		return lie(msg, packet);
	case PACKET_REFUSED:
		if (packet->number < NUMBERS)
			refused[packet->number] = packet->status;
		atomic_inc(&nr_refused);
		wake_up(&told);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}
static const struct popcorn_msg_type type = { .type = TYPE_USER, .handler = handle };

/* What it sends. */
#define PIECE ((u32)PACKET_DATA_MAX)
#define NOBODY 0x123456789aULL
#define SENT 1 /* as the result: not a request of the layer */
static const struct attack {
	struct packet packet; /* @to 0: the server */
	u32 length;	      /* of what follows */
	const char *name;     /* what that begins with */
	int result;
	int refused; /* what it is told of its request */
	u32 room;
} attacks[] = {
	/* Of no kind, and in the wrong way. */
	{ { 0 }, .result = -EOPNOTSUPP },
	{ { 99 }, .result = -EOPNOTSUPP },
	{ { 99 }, .result = SENT },
	{ { PACKET_PING, .flags = 0x82 }, .result = -EPROTO },
	{ { PACKET_PING, .reserved = 1 }, .result = -EPROTO },
	{ { PACKET_PING, .reserved1 = 1 }, .result = -EPROTO },
	{ { PACKET_ABORT }, .result = -EPROTO },
	{ { PACKET_ROOM }, .result = -EPROTO },
	{ { PACKET_REQUEST }, .result = -EPROTO },
	{ { PACKET_REPLY }, .result = -EPROTO },
	{ { PACKET_GROUP }, .result = -EPROTO },
	{ { PACKET_REFUSED }, .result = -EPROTO },
	{ { PACKET_LOOKUP }, .length = 32, .name = "test", .result = SENT },
	{ { PACKET_PING }, .length = 10, .result = SENT },
	{ { PACKET_WINDOW, .number = 1 }, .result = SENT },
	{ { PACKET_REVOKE, .number = 1 }, .result = SENT },
	{ { PACKET_ASK, .number = 1 }, .result = SENT },
	/* Names. */
	{ { PACKET_LOOKUP }, .length = 31, .name = "test", .result = -EPROTO, .room = 8 },
	{ { PACKET_LOOKUP }, .length = 33, .name = "test", .result = -EPROTO, .room = 8 },
	{ { PACKET_LOOKUP }, .length = 32, .name = "test", .result = -EPROTO, .room = 7 },
	{ { PACKET_LOOKUP }, .length = 32, .name = "", .result = -EPROTO, .room = 8 },
	{ { PACKET_LOOKUP }, .length = 32, .name = "te\nst", .result = -EPROTO, .room = 8 },
	{ { PACKET_LOOKUP },
	  .length = 32,
	  .name = "thirty-two-letters-and-no-zero-x",
	  .result = -EPROTO,
	  .room = 8 },
	{ { PACKET_GROUP }, .length = 31, .name = "group", .result = SENT },
	{ { PACKET_GROUP },
	  .length = 40,
	  .name = "thirty-two-letters-and-no-zero-x",
	  .result = SENT },
	{ { PACKET_GROUP },
	  .length = 32 + POPCORN_MSG_CALL_MAX + 1,
	  .name = "group",
	  .result = SENT },
	{ { PACKET_PING }, .length = 10, .result = -EPROTO, .room = 9 },
	/* Pieces: lengths, totals, and places. */
	{ { PACKET_SEND, .total = POPCORN_MSG_SEND_MAX + 1 }, .length = PIECE, .result = -EPROTO },
	{ { PACKET_SEND, .total = ~0U }, .length = PIECE, .result = -EPROTO },
	{ { PACKET_SEND, .total = 10 }, .length = 9, .result = -EPROTO },
	{ { PACKET_SEND, .total = 10 }, .length = 11, .result = -EPROTO },
	{ { PACKET_SEND, .total = 10 }, .length = 0, .result = -EPROTO },
	{ { PACKET_SEND, .total = 10, .offset = 10 }, .length = 0, .result = -EPROTO },
	{ { PACKET_SEND, .total = 10, .offset = 11 }, .length = 0, .result = -EPROTO },
	{ { PACKET_SEND, .total = 10, .offset = ~0U }, .length = 10, .result = -EPROTO },
	{ { PACKET_SEND, .total = 2 * PIECE }, .length = PIECE - 1, .result = -EPROTO },
	{ { PACKET_SEND, .total = 2 * PIECE, .offset = PIECE, .number = 1 },
	  .length = PIECE,
	  .result = -ETIMEDOUT },
	{ { PACKET_SEND, .total = 3 * PIECE, .number = 1 }, .length = PIECE, .result = 0 },
	{ { PACKET_SEND, .total = 3 * PIECE, .number = 1 }, .length = PIECE, .result = -EPROTO },
	{ { PACKET_SEND, .total = 3 * PIECE, .number = 1, .offset = 2 * PIECE },
	  .length = PIECE,
	  .result = -EPROTO },
	{ { PACKET_SEND, .total = 3 * PIECE, .number = 1, .offset = 1 },
	  .length = PIECE,
	  .result = -EPROTO },
	{ { PACKET_SEND, .total = 4 * PIECE, .number = 1, .offset = PIECE },
	  .length = PIECE,
	  .result = -EPROTO },
	{ { PACKET_SEND, .total = 3 * PIECE, .number = 1, .offset = PIECE, .from = 77 },
	  .length = PIECE,
	  .result = -ETIMEDOUT },
	{ { PACKET_SEND, .total = 3 * PIECE, .number = 1, .offset = PIECE },
	  .length = PIECE,
	  .result = SENT },
	{ { PACKET_SEND, .total = 3 * PIECE, .number = 1, .offset = PIECE },
	  .length = PIECE,
	  .result = -EPROTO },
	{ { PACKET_ABORT, .number = 2 }, .result = SENT },
	{ { PACKET_ABORT, .number = 1 }, .length = 100, .result = SENT },
	{ { PACKET_SEND, .total = 3 * PIECE, .number = 1, .offset = 2 * PIECE },
	  .length = PIECE,
	  .result = -ETIMEDOUT },
	{ { PACKET_SEND, .to = NOBODY, .total = 1 }, .length = 1, .result = -EPIPE },
	{ { PACKET_ABORT, .to = NOBODY }, .result = SENT },
	/* Never ended: until the endpoint is full. */
	{ { PACKET_SEND, .total = 1 << 20, .number = 3 }, .length = PIECE, .result = 0 },
	{ { PACKET_SEND, .total = 1 << 20, .number = 4 }, .length = PIECE, .result = 0 },
	{ { PACKET_SEND, .total = 1 << 20, .number = 5 }, .length = PIECE, .result = -EAGAIN },
	{ { PACKET_ABORT, .number = 3 }, .result = SENT },
	/* Requests, and what there is not. */
	{ { PACKET_REQUEST, .number = 10, .total = POPCORN_MSG_CALL_MAX + 1 },
	  .result = SENT,
	  .refused = -EPROTO },
	{ { PACKET_REQUEST, .number = 11, .total = ~0U }, .result = SENT, .refused = -EPROTO },
	{ { PACKET_REQUEST, .number = 12 },
	  .length = POPCORN_MSG_CALL_MAX + 1,
	  .result = SENT,
	  .refused = -EPROTO },
	{ { PACKET_REQUEST, .to = NOBODY, .number = 13 }, .result = SENT, .refused = -EPIPE },
	{ { PACKET_ASK, .number = 14 }, .result = 0, .refused = -EAGAIN },
	{ { PACKET_ASK, .to = NOBODY, .number = 15 }, .result = 0, .refused = -EPIPE },
	{ { PACKET_REPLY, .from = 1, .number = 1 }, .length = 100, .result = SENT },
	{ { PACKET_REPLY, .from = 1, .number = ~0ULL }, .result = SENT },
	{ { PACKET_REPLY, .flags = PACKET_CLOSED, .from = 1, .number = 1 }, .result = SENT },
	{ { PACKET_REFUSED, .from = 1, .number = 1, .status = -EAGAIN }, .result = SENT },
	{ { PACKET_ROOM, .from = NOBODY }, .length = 7, .result = SENT },
	/* Windows. */
	{ { PACKET_WINDOW, .number = 1 }, .result = -EPROTO, .room = 100 },
	{ { PACKET_WINDOW, .number = 1ULL << 32 }, .result = -EPROTO, .room = REPLY_MAX },
	{ { PACKET_WINDOW, .number = ~0U, .offset = ~0U }, .result = -ENOENT, .room = REPLY_MAX },
	{ { PACKET_REVOKE }, .result = -EPROTO },
	{ { PACKET_REVOKE, .number = 12345 }, .result = 0 },
};

static int attack(const struct attack *a, u64 server, struct packet *packet)
{
	const struct popcorn_msg_peer to = { .id = victim };
	const u32 length = sizeof(*packet) + a->length;
	int ret;

	memset(packet, 0, POPCORN_MSG_MAX);
	*packet = a->packet;
	if (!packet->to)
		packet->to = server;
	if (a->name)
		memcpy(packet->data, a->name, strnlen(a->name, POPCORN_MSG_NAME_MAX));
	if (a->result == SENT)
		return popcorn_msg_send(to, POPCORN_MSG_CONTROL, TYPE_USER, packet, length,
					10 * HZ);
	ret = popcorn_msg_call(to, POPCORN_MSG_CONTROL, TYPE_USER, packet, length, packet, a->room,
			       10 * HZ);
	if (ret == a->result)
		return 0;
	pr_err("popcorn_imposter: packet %td, of kind %u: %d, expected %d\n", a - attacks,
	       a->packet.kind, ret, a->result);
	return -EIO;
}

static int check_refused(void)
{
	const struct attack *a;
	int expected = 0, err = 0;

	for (a = attacks; a < attacks + ARRAY_SIZE(attacks); a++)
		expected += a->refused != 0;
	if (!wait_event_timeout(told, atomic_read(&nr_refused) >= expected, 10 * HZ))
		err = -ETIMEDOUT;
	for (a = attacks; a < attacks + ARRAY_SIZE(attacks); a++)
		if (a->refused && refused[a->packet.number] != a->refused) {
			pr_err("popcorn_imposter: request %llu: %d, expected %d\n",
			       a->packet.number, refused[a->packet.number], a->refused);
			err = -EIO;
		}
	return err;
}

static int attack_all(struct packet *packet)
{
	const struct popcorn_msg_peer to = { .id = victim };
	const struct attack *a;
	int err = 0, ret;
	u64 server;

	/* Less than a header. */
	for (ret = 0; ret < (int)sizeof(*packet); ret++)
		if (popcorn_msg_call(to, POPCORN_MSG_CONTROL, TYPE_USER, packet, ret, NULL, 0,
				     10 * HZ) != -EPROTO)
			return -EIO;
	*packet = (struct packet){ .kind = PACKET_LOOKUP };
	strscpy((char *)packet->data, "test", POPCORN_MSG_NAME_MAX);
	ret = popcorn_msg_call(to, POPCORN_MSG_CONTROL, TYPE_USER, packet,
			       sizeof(*packet) + POPCORN_MSG_NAME_MAX, &server, sizeof(server),
			       10 * HZ);
	if (ret != sizeof(server))
		return ret < 0 ? ret : -EIO;
	for (a = attacks; a < attacks + ARRAY_SIZE(attacks); a++)
		err = attack(a, server, packet) ?: err;
	return check_refused() ?: err;
}

static int __init imposter_init(void)
{
	struct packet *packet = kzalloc(POPCORN_MSG_MAX, GFP_KERNEL);
	int err = -ENOMEM;

	own_page = get_zeroed_page(GFP_KERNEL);
	if (!packet || !own_page)
		goto end;
	/* There is one handler, whoever registered it. */
	popcorn_msg_unregister(&type);
	err = popcorn_msg_register(&type);
	if (err)
		goto end;
	err = attack_all(packet);
	if (err)
		popcorn_msg_unregister(&type);
end:
	if (err)
		free_page(own_page);
	kfree(packet);
	return err;
}
module_init(imposter_init);

static void __exit imposter_exit(void)
{
	popcorn_msg_unregister(&type);
	free_page(own_page);
}
module_exit(imposter_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Plays the processes of a kernel, for tests");
