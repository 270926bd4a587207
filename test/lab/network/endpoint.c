/*
 * A server for tests, small enough to be run hundreds of times: on port 80, over TCP as HTTP and over UDP, it says the address that
 * was asked, its host name and the variable VERSION: "10.210.1.7 3f2a91bc04de 2". Told to end (SIGTERM) it goes on for LINGER_MS
 * (1000 if absent), as long as its address may be kept by those who asked for its name, answers what it has begun, and ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 80, MOST = 512, LISTENING = 2 };

static volatile sig_atomic_t told_to_end;
static char host[65];
static const char *version;

static void on_end(int number)
{
	(void)number;
	told_to_end = 1;
}

static long long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int open_socket(int type)
{
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || (type == SOCK_STREAM && listen(fd, 1024) < 0)) {
		perror("endpoint");
		exit(1);
	}
	return fd;
}

static size_t words(char *text, size_t room, struct in_addr asked)
{
	char address[INET_ADDRSTRLEN];
	inet_ntop(AF_INET, &asked, address, sizeof address);
	return (size_t)snprintf(text, room, "%s %s %s\n", address, host, version);
}

static void answer_datagram(int fd)
{
	char question[512], text[256], control[CMSG_SPACE(sizeof(struct in_pktinfo))];
	struct sockaddr_in from;
	struct iovec body = {.iov_base = question, .iov_len = sizeof question};
	struct msghdr message = {
		.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &body, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof control,
	};
	if (recvmsg(fd, &message, 0) < 0)
		return;
	struct in_addr asked = {0};
	for (struct cmsghdr *one = CMSG_FIRSTHDR(&message); one; one = CMSG_NXTHDR(&message, one))
		if (one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_PKTINFO)
			asked = ((struct in_pktinfo *)CMSG_DATA(one))->ipi_addr;
	sendto(fd, text, words(text, sizeof text, asked), 0, (struct sockaddr *)&from, sizeof from);
}

/* Returns whether the connection is over. */
static int answer_connection(int fd)
{
	char request[4096], body[256], text[512];
	ssize_t got = recv(fd, request, sizeof request, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0)
		return 1;
	struct sockaddr_in self = {0};
	socklen_t length = sizeof self;
	getsockname(fd, (struct sockaddr *)&self, &length);
	size_t size = words(body, sizeof body, self.sin_addr);
	const char *keep = memmem(request, (size_t)got, "HTTP/1.1", 8) && !memmem(request, (size_t)got, "close", 5) ? "keep-alive" : "close";
	int whole = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n%s", size, keep, body);
	return send(fd, text, (size_t)whole, MSG_NOSIGNAL) != whole || keep[0] == 'c';
}

int main(void)
{
	struct sigaction end = {.sa_handler = on_end};
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	gethostname(host, sizeof host - 1);
	version = getenv("VERSION") ? getenv("VERSION") : "-";
	long linger = getenv("LINGER_MS") ? atol(getenv("LINGER_MS")) : 1000;
	struct pollfd open[MOST] = {
		{.fd = open_socket(SOCK_STREAM), .events = POLLIN},
		{.fd = open_socket(SOCK_DGRAM), .events = POLLIN},
	};
	int count = LISTENING;
	long long until = 0;
	for (;;) {
		if (told_to_end && until == 0)
			until = now_ms() + linger;
		long long left = until == 0 ? -1 : until - now_ms();
		/* Where it had no processor for all that time, what came meanwhile is answered before it ends. */
		int ready = poll(open, (nfds_t)count, until != 0 && left <= 0 ? 0 : (int)left);
		if (ready == 0 && until != 0 && now_ms() >= until)
			return 0;
		if (ready < 0)
			continue;
		for (int i = count - 1; i >= LISTENING; i--) {
			if (open[i].revents == 0 || !answer_connection(open[i].fd))
				continue;
			close(open[i].fd);
			open[i] = open[--count];
		}
		if (open[1].revents != 0)
			answer_datagram(open[1].fd);
		while (open[0].revents != 0 && count < MOST) {
			int fd = accept4(open[0].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
			if (fd < 0)
				break;
			open[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
		}
	}
}
