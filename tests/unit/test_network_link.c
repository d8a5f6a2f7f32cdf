// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The network between kernels on the real system, in a network namespace of its own: the bridge,
 * taps, and what nftables lets through. The kernels are played by this program, which speaks
 * Ethernet on their taps. Ends with 77 where no namespace can be had.
 *
 * With a folder as its argument it does all this where it is, with that folder as /run/popcorn: for a
 * machine that is there for tests, and for programs that may not have a namespace.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "network.h"
#include "run.h"
#include "util.h"

#define SKIPPED 77
/* A frame that has not come by then is lost: far longer than any machine takes. */
#define WAIT_USEC (10 * USEC_PER_SEC)
#define VNET_HEADER 12
#define FRAME_MAX 2048
#define KERNELS 5
/* The primary's, and the first of those that stand for marks. */
#define UDP_PORT 7000

enum { ARP = 0x0806, IP = 0x0800, IPV6 = 0x86dd };
enum { ARP_REQUEST = 1, ARP_REPLY = 2 };
enum { ECHO_REPLY = 0, ECHO_REQUEST = 8 };

struct frame {
	uint8_t data[VNET_HEADER + FRAME_MAX];
	size_t size; /* without the header */
};

static const char *here; /* NULL: in a namespace */
static char run[256];
static struct network_config config;
static struct popcorn_error error;
static struct network *network;
static void *links; /* the system, for what the test makes itself */
static int taps[KERNELS + 1];
static int outside = -1; /* a tap that plays the rest of the world, 192.0.2.0/24 */
static uint8_t outside_mac[MAC_SIZE], primary_outside_mac[MAC_SIZE];

static const uint8_t broadcast[MAC_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static void put16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put32(uint8_t *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p + 2, value & 0xffff);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static unsigned checksum(const uint8_t *p, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i += 2)
		sum += get16(p + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static uint8_t *begin(struct frame *frame, const uint8_t *to, const uint8_t *from, unsigned type)
{
	uint8_t *p = frame->data + VNET_HEADER;

	memset(frame, 0, sizeof(*frame));
	memcpy(p, to, MAC_SIZE);
	memcpy(p + MAC_SIZE, from, MAC_SIZE);
	put16(p + 12, type);
	return p + 14;
}

static void arp(struct frame *frame, unsigned op, const uint8_t *to, const uint8_t *from,
		const uint8_t *sender_mac, uint32_t sender, uint32_t target)
{
	uint8_t *p = begin(frame, to, from, ARP);

	put16(p, 1);
	put16(p + 2, IP);
	p[4] = MAC_SIZE;
	p[5] = 4;
	put16(p + 6, op);
	memcpy(p + 8, sender_mac, MAC_SIZE);
	put32(p + 14, sender);
	if (op == ARP_REPLY)
		memcpy(p + 18, to, MAC_SIZE);
	put32(p + 24, target);
	frame->size = 14 + 28;
}

static uint32_t address(unsigned id)
{
	return network_id_to_address(&config, id);
}

static const uint8_t *mac(unsigned id)
{
	static uint8_t macs[KERNELS + 1][MAC_SIZE];

	network_mac(id, macs[id]);
	return macs[id];
}

/* Of 8 bytes. */
static uint8_t *begin_ip(struct frame *frame, int protocol, const uint8_t *to, const uint8_t *from,
			 uint32_t source, uint32_t target)
{
	uint8_t *p = begin(frame, to, from, IP);

	p[0] = 0x45;
	put16(p + 2, 28);
	p[8] = 64;
	p[9] = (uint8_t)protocol;
	put32(p + 12, source);
	put32(p + 16, target);
	put16(p + 10, checksum(p, 20));
	frame->size = 14 + 28;
	return p;
}

/* An empty one from port UDP_PORT + @mark to the primary's. */
static void datagram(struct frame *frame, unsigned from, uint32_t target, unsigned mark)
{
	uint8_t *p = begin_ip(frame, IPPROTO_UDP, mac(0), mac(from), address(from), target);

	put16(p + 20, UDP_PORT + mark);
	put16(p + 22, UDP_PORT);
	put16(p + 24, 8);
}

/* @mark tells one from the other. */
static void ping(struct frame *frame, unsigned type, const uint8_t *to, const uint8_t *from,
		 uint32_t source, uint32_t target, unsigned mark)
{
	uint8_t *p = begin_ip(frame, IPPROTO_ICMP, to, from, source, target);

	p[20] = (uint8_t)type;
	/* Of this test alone: Linux remembers for a while which way an earlier one went. */
	put16(p + 24, (unsigned)getpid() & 0xffff);
	put16(p + 26, mark);
	put16(p + 22, checksum(p + 20, 8));
	frame->size = 14 + 28;
}

static void send_frame(int tap, const struct frame *frame)
{
	ck_assert_int_eq(write(tap, frame->data, VNET_HEADER + frame->size),
			 (ssize_t)(VNET_HEADER + frame->size));
}

/* Which marks have come to which tap. */
#define MARKS 32
#define DESCRIPTORS 64
static bool seen[DESCRIPTORS][MARKS];
/* The taps to which the primary has said by ARP where it is. */
static uint64_t answered;

/* ICMP's mark, or UDP's port from 7000 on; 0: none. */
static unsigned mark_of(const struct frame *frame)
{
	const uint8_t *p = frame->data + VNET_HEADER + 14;
	unsigned mark;

	if (get16(p - 2) != IP || (p[9] != IPPROTO_ICMP && p[9] != IPPROTO_UDP))
		return 0;
	mark = p[9] == IPPROTO_ICMP ? get16(p + 26) : get16(p + 22) - UDP_PORT;
	return mark < MARKS ? mark : 0;
}

/* Is it this type, and this mark (ICMP) or operation (ARP)? */
static bool is_that(const struct frame *frame, unsigned type, unsigned kind, unsigned mark)
{
	const uint8_t *p = frame->data + VNET_HEADER;

	if (get16(p + 12) != type)
		return false;
	p += 14;
	if (type == ARP)
		return get16(p + 6) == kind;
	return p[9] == IPPROTO_ICMP && p[20] == kind && get16(p + 26) == mark;
}

static bool receive(int tap, struct frame *ret, uint64_t deadline)
{
	struct pollfd fd = { tap, POLLIN, 0 };
	ssize_t n;

	if (poll_until(&fd, 1, deadline) <= 0)
		return false;
	n = read(tap, ret->data, sizeof(ret->data));
	if (n < VNET_HEADER + 14)
		return false;
	ret->size = (size_t)n - VNET_HEADER;
	ck_assert_int_lt(tap, DESCRIPTORS);
	seen[tap][mark_of(ret)] = true;
	if (is_that(ret, ARP, ARP_REPLY, 0) &&
	    memcmp(ret->data + VNET_HEADER + MAC_SIZE, mac(0), MAC_SIZE) == 0)
		answered |= UINT64_C(1) << tap;
	/* Whoever sends it: a kernel never sees any. */
	if (tap != outside)
		ck_assert_uint_ne(get16(ret->data + VNET_HEADER + 12), IPV6);
	return true;
}

/* The rest is passed over: what a kernel's IPv6 says of itself, say. */
static void comes(int tap, unsigned type, unsigned kind, unsigned mark, struct frame *ret)
{
	uint64_t deadline = now_usec() + WAIT_USEC;

	do
		ck_assert_msg(receive(tap, ret, deadline), "type %04x, %u, mark %u has not come",
			      type, kind, mark);
	while (!is_that(ret, type, kind, mark));
}

/* Nothing with this mark has come to a tap. What would have come has, see the callers. */
static void nothing(int tap, unsigned mark)
{
	struct frame frame;

	while (receive(tap, &frame, 0))
		;
	ck_assert_msg(!seen[tap][mark], "%u has come", mark);
}

/* An open namespace, with a tap of the test's in it that is not the network's. */
static void make_outside(void)
{
	struct ifreq request = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(network_link_ops.open_tap(links, "out0", "the world", 1500, &outside), 0);
	/* Given, not by chance: udev would choose another one for it at some time. */
	memcpy(primary_outside_mac, "\x02\x00\x00\x00\x00\x01", MAC_SIZE);
	strcpy(request.ifr_name, "out0");
	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(request.ifr_hwaddr.sa_data, primary_outside_mac, MAC_SIZE);
	ck_assert_int_eq(ioctl(s, SIOCSIFHWADDR, &request), 0);
	ck_assert_int_eq(network_link_ops.add_address(links, "out0", 0xc0000201, 24), 0);
	ck_assert_int_eq(network_link_ops.set_up(links, "out0"), 0);
	ck_assert_int_eq(network_link_ops.set_up(links, "lo"), 0);
	memcpy(outside_mac, "\x02\x00\x00\x00\x00\x02", MAC_SIZE);
	close(s);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/*
 * With br_netfilter, which others load, what is bridged goes through the rules for what is routed, too.
 * Without it the bridge's own have to do.
 */
static void set_bridge_netfilter(bool on)
{
	const char path[] = "/proc/sys/net/bridge/bridge-nf-call-iptables";

	if (access(path, F_OK) == 0)
		write_file(path, on ? "1" : "0");
}

static void attach(unsigned id, unsigned peers)
{
	char name[16];

	snprintf(name, sizeof(name), "k%u", id);
	ck_assert_msg(network_attach(network, name, id, peers, &taps[id], &error) == 0, "%s",
		      error.text);
}

static void detach(unsigned id)
{
	char name[16];

	snprintf(name, sizeof(name), "k%u", id);
	ck_assert_msg(network_detach(network, name, &error) == 0, "%s", error.text);
	close(taps[id]);
}

static void setup(void)
{
	if (!here)
		ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	snprintf(run, sizeof(run), "%s/popcorn-network-XXXXXX", here ?: "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(run));
	ck_assert_int_eq(network_config_init(&config), 0);
	ck_assert_int_eq(network_system_new(&links), 0);
	make_outside();
}

static void begin_network(void)
{
	ck_assert_msg(network_new(&config, run, NULL, NULL, &network, &error) == 0, "%s",
		      error.text);
}

static void teardown(void)
{
	char why[128];
	struct network_link link;

	network = network_free(network);
	ck_assert_int_eq(network_link_ops.find_link(links, "popcorn0", &link), -ENODEV);
	ck_assert_int_eq(network_link_ops.find_link(links, "popcorn1", &link), -ENODEV);
	ck_assert_int_eq(network_link_ops.get_forward(links), 0);
	/* Our tables are gone: to delete one that is not there is an error. */
	ck_assert_int_lt(network_link_ops.set_rules(links, "delete table bridge popcorn\n", why),
			 0);
	ck_assert_int_lt(network_link_ops.set_rules(links, "delete table inet popcorn\n", why), 0);
	network_system_free(links);
	network_config_done(&config);
	close(outside);
	ck_assert_int_eq(rmdir(run), 0);
}

/* @from reaches @to by ARP: a broadcast, and its answer. */
static void finds(unsigned from, unsigned to)
{
	struct frame frame;

	arp(&frame, ARP_REQUEST, broadcast, mac(from), mac(from), address(from), address(to));
	send_frame(taps[from], &frame);
	if (to == 0) {
		comes(taps[from], ARP, ARP_REPLY, 0, &frame);
		ck_assert_int_eq(memcmp(frame.data + VNET_HEADER + 22, mac(0), MAC_SIZE), 0);
		return;
	}
	comes(taps[to], ARP, ARP_REQUEST, 0, &frame);
	arp(&frame, ARP_REPLY, mac(from), mac(to), mac(to), address(to), address(from));
	send_frame(taps[to], &frame);
	comes(taps[from], ARP, ARP_REPLY, 0, &frame);
}

static void asks(unsigned from, unsigned to, unsigned mark)
{
	struct frame frame;

	ping(&frame, ECHO_REQUEST, mac(to), mac(from), address(from), address(to), mark);
	send_frame(taps[from], &frame);
}

/* The primary, as a program of it sees it: a socket on all of its addresses. */
static int open_socket(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(UDP_PORT) };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	ck_assert_int_eq(bind(s, (struct sockaddr *)&any, sizeof(any)), 0);
	return s;
}

/* The primary gets only this of what was sent to it. */
static void primary_gets(int s, unsigned mark)
{
	struct pollfd fd = { s, POLLIN, 0 };
	struct sockaddr_in from;
	socklen_t size = sizeof(from);
	char byte;

	ck_assert_int_eq(poll_until(&fd, 1, now_usec() + WAIT_USEC), 1);
	ck_assert_int_eq(recvfrom(s, &byte, 1, 0, (struct sockaddr *)&from, &size), 0);
	ck_assert_int_eq(ntohs(from.sin_port), UDP_PORT + (int)mark);
}

static void primary_sends(int s, unsigned to, unsigned mark)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons((uint16_t)(UDP_PORT + mark)),
				    .sin_addr.s_addr = htonl(address(to)) };
	/* A rule that drops it is told as an error. */
	ssize_t n = sendto(s, "", 0, 0, (struct sockaddr *)&addr, sizeof(addr));

	ck_assert(n == 0 || errno == EPERM);
}

/* As a frame that the primary's own stack would not send. */
static void bridge_sends(unsigned type)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_ifindex = (int)if_nametoindex("popcorn0"),
				  .sll_halen = MAC_SIZE };
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct frame frame;

	begin(&frame, broadcast, mac(0), type);
	ck_assert_int_eq(
		sendto(s, frame.data + VNET_HEADER, 64, 0, (struct sockaddr *)&to, sizeof(to)), 64);
	close(s);
}

START_TEST(test_peers)
{
	struct frame frame;
	int s = open_socket();

	set_bridge_netfilter(_i);
	begin_network();
	attach(1, NETWORK_DEFAULT);
	attach(2, NETWORK_DEFAULT);
	attach(3, NETWORK_KERNELS);
	attach(4, NETWORK_PRIMARY);
	/* A table of somebody else stays as it is. */
	char why[128];

	ck_assert_int_eq(
		network_link_ops.set_rules(
			links, "table inet other {\n\tchain c {\n\t\tcounter\n\t}\n}\n", why),
		0);

	finds(1, 0);
	asks(1, 0, 1);
	comes(taps[1], IP, ECHO_REPLY, 1, &frame);
	finds(1, 2);
	asks(1, 2, 2);
	comes(taps[2], IP, ECHO_REQUEST, 2, &frame);
	finds(3, 1);
	asks(3, 1, 3);
	comes(taps[1], IP, ECHO_REQUEST, 3, &frame);
	finds(4, 0);
	asks(4, 0, 4);
	comes(taps[4], IP, ECHO_REPLY, 4, &frame);

	/* 3 may not speak with the primary, 4 not with kernels. What comes next shows that it was dropped. */
	asks(3, 0, 5);
	arp(&frame, ARP_REQUEST, broadcast, mac(3), mac(3), address(3), address(0));
	send_frame(taps[3], &frame);
	asks(3, 1, 6);
	comes(taps[1], IP, ECHO_REQUEST, 6, &frame);
	nothing(taps[3], 5);
	ck_assert(!(answered >> taps[3] & 1));
	asks(4, 1, 7);
	asks(2, 1, 8);
	comes(taps[1], IP, ECHO_REQUEST, 8, &frame);
	nothing(taps[1], 7);
	asks(1, 4, 9);
	asks(1, 2, 10);
	comes(taps[2], IP, ECHO_REQUEST, 10, &frame);
	nothing(taps[4], 9);

	/* The primary may not speak with 3, nor anything but IPv4 with 1. */
	bridge_sends(IPV6);
	primary_sends(s, 3, 16);
	primary_sends(s, 1, 17);
	primary_sends(s, 4, 18);
	while (!seen[taps[1]][17] || !seen[taps[4]][18]) {
		ck_assert(receive(taps[seen[taps[1]][17] ? 4 : 1], &frame, now_usec() + WAIT_USEC));
		ck_assert(!is_that(&frame, ARP, ARP_REQUEST, 0));
	}
	asks(1, 3, 19);
	comes(taps[3], IP, ECHO_REQUEST, 19, &frame);
	nothing(taps[3], 16);
	datagram(&frame, 3, address(0), 20);
	send_frame(taps[3], &frame);
	datagram(&frame, 4, address(0), 21);
	send_frame(taps[4], &frame);
	primary_gets(s, 21);

	/* Nor by way of the primary, which forwards, and knows where 2 is. */
	finds(2, 0);
	write_file("/proc/sys/net/ipv4/ip_forward", "1");
	ping(&frame, ECHO_REQUEST, mac(0), mac(4), address(4), address(2), 11);
	send_frame(taps[4], &frame);
	asks(4, 0, 12);
	comes(taps[4], IP, ECHO_REPLY, 12, &frame);
	nothing(taps[2], 11);
	/* Without nat nobody gets out, whatever the primary forwards. */
	ping(&frame, ECHO_REQUEST, mac(0), mac(1), address(1), 0xc0000202, 13);
	send_frame(taps[1], &frame);
	asks(1, 0, 14);
	comes(taps[1], IP, ECHO_REPLY, 14, &frame);
	nothing(outside, 13);
	/* Those who may speak with each other may do so that way, too. */
	ping(&frame, ECHO_REQUEST, mac(0), mac(1), address(1), address(2), 15);
	send_frame(taps[1], &frame);
	comes(taps[2], IP, ECHO_REQUEST, 15, &frame);
	write_file("/proc/sys/net/ipv4/ip_forward", "0");

	close(s);
	for (unsigned i = 1; i <= 4; i++)
		detach(i);
	ck_assert_int_eq(network_link_ops.set_rules(links, "delete table inet other\n", why), 0);
}
END_TEST

START_TEST(test_lies)
{
	struct frame frame;

	begin_network();
	attach(1, NETWORK_DEFAULT);
	attach(2, NETWORK_DEFAULT);
	attach(3, NETWORK_DEFAULT);
	/* The MAC of another one, its address, another's as sender of ARP. */
	ping(&frame, ECHO_REQUEST, mac(2), mac(3), address(1), address(2), 1);
	send_frame(taps[1], &frame);
	ping(&frame, ECHO_REQUEST, mac(2), mac(1), address(3), address(2), 2);
	send_frame(taps[1], &frame);
	ping(&frame, ECHO_REQUEST, mac(2), mac(1), 0xc0000202, address(2), 3);
	send_frame(taps[1], &frame);
	arp(&frame, ARP_REPLY, mac(2), mac(1), mac(1), address(3), address(2));
	send_frame(taps[1], &frame);
	arp(&frame, ARP_REPLY, mac(2), mac(1), mac(3), address(1), address(2));
	send_frame(taps[1], &frame);
	arp(&frame, ARP_REPLY, mac(2), mac(1), mac(1), address(0), address(2));
	send_frame(taps[1], &frame);
	/* Another protocol; a frame with a VLAN; one that is no frame. */
	begin(&frame, mac(2), mac(1), IPV6);
	frame.size = 64;
	send_frame(taps[1], &frame);
	begin(&frame, broadcast, mac(1), IPV6);
	frame.size = 64;
	send_frame(taps[1], &frame);
	ping(&frame, ECHO_REQUEST, mac(2), mac(1), address(1), address(2), 4);
	memmove(frame.data + VNET_HEADER + 16, frame.data + VNET_HEADER + 12, 64);
	put16(frame.data + VNET_HEADER + 12, 0x8100);
	put16(frame.data + VNET_HEADER + 14, 5);
	frame.size += 4;
	send_frame(taps[1], &frame);
	/* Of all of it only this comes. */
	asks(1, 2, 5);
	for (;;) {
		const uint8_t *p = frame.data + VNET_HEADER;

		ck_assert(receive(taps[2], &frame, now_usec() + WAIT_USEC));
		/* The primary tells of its groups. */
		if (memcmp(frame.data + VNET_HEADER + MAC_SIZE, mac(0), MAC_SIZE) == 0)
			continue;
		ck_assert_uint_eq(get16(p + 12), IP);
		ck_assert_uint_eq(mark_of(&frame), 5);
		ck_assert_uint_eq(get32(p + 14 + 12), address(1));
		break;
	}
	nothing(taps[2], 4);
	for (unsigned i = 1; i <= 3; i++)
		detach(i);
}
END_TEST

/* The world's end of an ARP for 192.0.2.2. */
static void answer_outside(void)
{
	struct frame frame;

	comes(outside, ARP, ARP_REQUEST, 0, &frame);
	arp(&frame, ARP_REPLY, primary_outside_mac, outside_mac, outside_mac, 0xc0000202,
	    0xc0000201);
	send_frame(outside, &frame);
}

START_TEST(test_nat)
{
	struct frame frame;
	const uint8_t *p = frame.data + VNET_HEADER + 14;
	int s = open_socket();

	set_bridge_netfilter(_i);
	config.nat = true;
	begin_network();
	attach(1, NETWORK_OUTSIDE);
	attach(2, NETWORK_PRIMARY | NETWORK_KERNELS);
	ck_assert_int_eq(network_link_ops.get_forward(links), 1);

	/* Out, and the answer back. */
	finds(1, 0);
	ping(&frame, ECHO_REQUEST, mac(0), mac(1), address(1), 0xc0000202, 1);
	send_frame(taps[1], &frame);
	answer_outside();
	comes(outside, IP, ECHO_REQUEST, 1, &frame);
	ck_assert_uint_eq(get32(p + 12), 0xc0000201);
	ck_assert_uint_eq(get32(p + 16), 0xc0000202);
	unsigned id = get16(p + 24);

	ping(&frame, ECHO_REPLY, primary_outside_mac, outside_mac, 0xc0000202, 0xc0000201, 1);
	put16((uint8_t *)(uintptr_t)p + 24, id);
	put16((uint8_t *)(uintptr_t)p + 22, 0);
	put16((uint8_t *)(uintptr_t)p + 22, checksum(p + 20, 8));
	send_frame(outside, &frame);
	/* The primary asks by ARP first where it is. */
	uint64_t deadline = now_usec() + WAIT_USEC;

	do {
		ck_assert(receive(taps[1], &frame, deadline));
		if (is_that(&frame, ARP, ARP_REQUEST, 0)) {
			arp(&frame, ARP_REPLY, mac(0), mac(1), mac(1), address(1), address(0));
			send_frame(taps[1], &frame);
		}
	} while (!is_that(&frame, IP, ECHO_REPLY, 1));
	ck_assert_uint_eq(get32(p + 16), address(1));

	/* Not the primary itself, on any of its addresses; what follows shows that it was dropped. */
	asks(1, 0, 2);
	ping(&frame, ECHO_REQUEST, mac(0), mac(1), address(1), 0xc0000201, 3);
	send_frame(taps[1], &frame);
	/* Nor from outside in, if nothing went out. */
	ping(&frame, ECHO_REQUEST, primary_outside_mac, outside_mac, 0xc0000202, address(1), 4);
	send_frame(outside, &frame);
	/* Nor who may not. */
	finds(2, 0);
	ping(&frame, ECHO_REQUEST, mac(0), mac(2), address(2), 0xc0000202, 5);
	send_frame(taps[2], &frame);
	ping(&frame, ECHO_REQUEST, mac(0), mac(1), address(1), 0xc0000202, 6);
	send_frame(taps[1], &frame);
	comes(outside, IP, ECHO_REQUEST, 6, &frame);
	datagram(&frame, 1, address(0), 7);
	send_frame(taps[1], &frame);
	datagram(&frame, 1, 0xc0000201, 8);
	send_frame(taps[1], &frame);
	datagram(&frame, 2, address(0), 9);
	send_frame(taps[2], &frame);
	primary_gets(s, 9);
	/* Nor is it the primary's to speak with. */
	primary_sends(s, 1, 10);
	primary_sends(s, 2, 11);
	while (!seen[taps[2]][11])
		ck_assert(receive(taps[2], &frame, now_usec() + WAIT_USEC));
	nothing(taps[1], 10);
	nothing(taps[1], 2);
	nothing(taps[1], 3);
	nothing(taps[1], 4);
	nothing(outside, 5);
	close(s);
	detach(1);
	ck_assert_int_eq(network_link_ops.get_forward(links), 0);
	detach(2);
}
END_TEST

START_TEST(test_uplink)
{
	struct frame frame;
	uint8_t gateway[MAC_SIZE];

	set_bridge_netfilter(_i);
	/* The world's tap becomes a port; it has an address, so it is refused first. */
	free(config.uplink);
	config.uplink = strdup("out0");
	begin_network();
	ck_assert_int_lt(network_attach(network, "k1", 1, NETWORK_DEFAULT, &taps[1], &error), 0);
	ck_assert_ptr_nonnull(strstr(error.text, "has an address of the primary"));
	ck_assert_int_eq(network_link_ops.delete_address(links, "out0", 0xc0000201, 24), 0);
	attach(1, NETWORK_DEFAULT);
	attach(2, NETWORK_KERNELS);
	memcpy(gateway, outside_mac, MAC_SIZE);
	ping(&frame, ECHO_REQUEST, gateway, mac(1), address(1), 0xc0000202, 1);
	send_frame(taps[1], &frame);
	comes(outside, IP, ECHO_REQUEST, 1, &frame);
	ping(&frame, ECHO_REPLY, mac(1), gateway, 0xc0000202, address(1), 1);
	send_frame(outside, &frame);
	comes(taps[1], IP, ECHO_REPLY, 1, &frame);
	ping(&frame, ECHO_REQUEST, gateway, mac(2), address(2), 0xc0000202, 2);
	send_frame(taps[2], &frame);
	ping(&frame, ECHO_REQUEST, mac(2), gateway, 0xc0000202, address(2), 3);
	send_frame(outside, &frame);
	ping(&frame, ECHO_REQUEST, mac(1), gateway, 0xc0000202, address(1), 4);
	send_frame(outside, &frame);
	comes(taps[1], IP, ECHO_REQUEST, 4, &frame);
	asks(1, 2, 5);
	comes(taps[2], IP, ECHO_REQUEST, 5, &frame);
	nothing(outside, 2);
	nothing(taps[2], 3);
	detach(1);
	detach(2);

	struct network_link link;

	ck_assert_int_eq(network_link_ops.find_link(links, "out0", &link), 0);
	ck_assert_str_eq(link.master, "");
}
END_TEST

START_TEST(test_system)
{
	struct network_link link;
	char why[128] = "", route[64];
	static const char *const except[2] = { "popcorn0", "" };
	static const char *const but_out[2] = { "out0", "" };
	struct ifreq request = { 0 };
	struct frame frame;
	int size = 0, fd = -1;

	begin_network();
	attach(1, NETWORK_DEFAULT);
	ck_assert_int_eq(network_link_ops.find_link(links, "popcorn1", &link), 0);
	ck_assert_str_eq(link.kind, "tun");
	ck_assert_str_eq(link.master, "popcorn0");
	ck_assert_int_eq(network_link_ops.find_link(links, "popcorn0", &link), 0);
	ck_assert_str_eq(link.kind, "bridge");
	ck_assert_int_eq(ioctl(taps[1], TUNGETVNETHDRSZ, &size), 0);
	ck_assert_int_eq(size, VNET_HEADER);
	ck_assert_int_eq(ioctl(taps[1], TUNGETIFF, &request), 0);
	ck_assert(request.ifr_flags & IFF_VNET_HDR && request.ifr_flags & IFF_TAP);
	ck_assert_int_eq(network_link_ops.open_tap(links, "popcorn1", "x", 1500, &fd), -EBUSY);

	/* Routes: its own do not count, others do, also if they are larger or smaller. */
	ck_assert_int_eq(network_link_ops.find_route(links, config.address, 22, except, route), 0);
	ck_assert_int_eq(network_link_ops.find_route(links, 0xc0000280, 28, except, route), 1);
	ck_assert_str_eq(route, "192.0.2.0/24 of out0");
	ck_assert_int_eq(network_link_ops.find_route(links, 0xc0000000, 16, except, route), 1);
	ck_assert_int_eq(network_link_ops.find_route(links, 0xc0000000, 16, but_out, route), 0);
	ck_assert_int_eq(network_link_ops.find_route(links, 0xc0000300, 24, except, route), 0);

	ck_assert_int_lt(network_link_ops.set_rules(links, "table inet x { nonsense }\n", why), 0);
	ck_assert(*why);
	ck_assert_int_eq(network_link_ops.delete_link(links, "nothing"), -ENODEV);

	/* Somebody throws all tables away. */
	ck_assert_int_eq(network_restore_rules(network, &error), 0);
	ck_assert_int_eq(network_link_ops.set_rules(links, "delete table inet popcorn\n", why), 0);
	ck_assert_int_eq(network_restore_rules(network, &error), 1);
	ck_assert_int_eq(network_link_ops.set_rules(links, NETWORK_RULES_TEST("inet"), why), 0);
	ck_assert_int_eq(network_link_ops.set_rules(links, "delete table bridge popcorn\n", why),
			 0);
	ck_assert_int_eq(network_restore_rules(network, &error), 1);
	ck_assert_int_eq(network_restore_rules(network, &error), 0);

	/* While there were none, anything may have come. */
	while (read(taps[1], frame.data, sizeof(frame.data)) > 0)
		;
	ck_assert_int_eq(errno, EAGAIN);

	/* A crash, with a leader that goes on: all is as it was. */
	network = network_free(network);
	begin_network();
	ck_assert_int_eq(network_adopt(network, "k1", 1, NETWORK_DEFAULT), 0);
	ck_assert_msg(network_settle(network, &error) == 0, "%s", error.text);
	finds(1, 0);
	/* It ends, and its leader hangs. */
	ck_assert_int_eq(network_detach(network, "k1", &error), 0);
	ck_assert_int_lt(write(taps[1], route, sizeof(route)), 0);
	close(taps[1]);

	/* The range is in use. */
	config.address = 0xc0000001;
	config.prefix = 20;
	ck_assert_int_eq(network_reload(network, &config), 0);
	ck_assert_int_lt(network_attach(network, "k1", 1, NETWORK_DEFAULT, &taps[1], &error), 0);
	ck_assert_msg(strstr(error.text, "overlaps the route 192.0.2.0/24 of out0") != NULL, "%s",
		      error.text);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("network-link");
	TCase *whole = tcase_create("namespace");

	here = argc > 1 ? argv[1] : NULL;
	if ((!here && unshare(CLONE_NEWNET) < 0) || access("/dev/net/tun", R_OK | W_OK) < 0) {
		printf("skipped: no network namespace, or no taps: %s\n", strerror(errno));
		return SKIPPED;
	}
	tcase_add_checked_fixture(whole, setup, teardown);
	tcase_add_test(whole, test_system);
	tcase_add_loop_test(whole, test_peers, 0, 2);
	tcase_add_test(whole, test_lies);
	tcase_add_loop_test(whole, test_nat, 0, 2);
	tcase_add_loop_test(whole, test_uplink, 0, 2);
	suite_add_tcase(suite, whole);
	return run_suite(suite);
}
