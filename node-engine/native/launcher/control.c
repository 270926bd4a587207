#include "failure.h"
#include "kernel.h"
#include "supervisor.h"
#include "terminal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

enum {
  CLIENTS = 256,
  HEADER = 5,
  SMALL = 12,             /* the longest payload of a frame that is not stdin */
  HELD_BACK = 512 * 1024, /* output waiting for one client: beyond that it is too slow and is dropped */
  STDIN_ROOM = 64 * 1024,
  LAST_WAIT_MS = 5000,
};

struct client {
  int fd; /* 0: free, for the table starts as zeros */
  bool attached, wants_write, held;
  unsigned char frame[HEADER + SMALL];
  unsigned frame_length;
  uint32_t stdin_left; /* bytes of an 'I' frame still to come */
  char *waiting;       /* HELD_BACK bytes, mapped while something waits */
  size_t waiting_start, waiting_end;
};
static struct client clients[CLIENTS];
static int paused_listener = -1; /* while every place is taken: who connects waits in the kernel's queue */

static char *pending; /* stdin bytes that the container has not taken; mapped on first use */
static size_t pending_start, pending_end;
static bool close_after_pending;

int control_listen(int run_dir) {
  /* By the directory's fd: sun_path holds 107 characters only. */
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control.sock", run_dir);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  mode_t before = umask(0177);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1024))
    fail("state", "control.sock", "making the control socket");
  umask(before);
  return fd;
}

static unsigned index_of(const struct client *client) { return EVENT_CLIENT + (unsigned)(client - clients); }

static void rewatch(struct client *client) {
  watch_change(client->fd, (client->held ? 0 : EPOLLIN) | (client->wants_write ? EPOLLOUT : 0u), index_of(client));
}

static void drop(struct client *client) {
  close(client->fd);
  if (client->waiting) munmap(client->waiting, HELD_BACK);
  memset(client, 0, sizeof *client);
  if (paused_listener >= 0) watch_change(paused_listener, EPOLLIN, EVENT_LISTENER);
  paused_listener = -1;
}

void control_accept(struct supervised *container) {
  for (;;) {
    unsigned i = 0;
    while (i < CLIENTS && clients[i].fd) i++;
    if (i == CLIENTS) {
      paused_listener = container->listener;
      watch_change(paused_listener, 0, EVENT_LISTENER);
      return;
    }
    int fd = accept4(container->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    clients[i].fd = fd;
    watch(fd, EPOLLIN, EVENT_CLIENT + i);
  }
}

static void flush_client(struct client *client) {
  while (client->waiting_start < client->waiting_end) {
    ssize_t n = send(client->fd, client->waiting + client->waiting_start, client->waiting_end - client->waiting_start,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      drop(client);
      return;
    }
    client->waiting_start += (size_t)n;
  }
  if (client->waiting) munmap(client->waiting, HELD_BACK);
  client->waiting = NULL;
  client->waiting_start = client->waiting_end = 0;
  if (client->wants_write) {
    client->wants_write = false;
    rewatch(client);
  }
}

static void send_frame(struct client *client, char type, const char *data, size_t length) {
  char header[HEADER] = {type};
  uint32_t size = htonl((uint32_t)length);
  memcpy(header + 1, &size, sizeof size);
  size_t sent = 0, whole = HEADER + length;
  if (!client->waiting) {
    struct iovec parts[2] = {{header, HEADER}, {(void *)data, length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) {
      drop(client);
      return;
    }
    sent = n > 0 ? (size_t)n : 0;
    if (sent == whole) return;
    client->waiting = mmap(NULL, HELD_BACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (client->waiting == MAP_FAILED) {
      client->waiting = NULL;
      drop(client);
      return;
    }
  }
  if (client->waiting_start && client->waiting_end + whole > HELD_BACK) {
    memmove(client->waiting, client->waiting + client->waiting_start, client->waiting_end - client->waiting_start);
    client->waiting_end -= client->waiting_start;
    client->waiting_start = 0;
  }
  if (client->waiting_end + whole - sent > HELD_BACK) {
    drop(client);
    return;
  }
  if (sent < HEADER) {
    memcpy(client->waiting + client->waiting_end, header + sent, HEADER - sent);
    client->waiting_end += HEADER - sent;
    sent = HEADER;
  }
  memcpy(client->waiting + client->waiting_end, data + (sent - HEADER), whole - sent);
  client->waiting_end += whole - sent;
  if (!client->wants_write) {
    client->wants_write = true;
    rewatch(client);
  }
}

void control_output(int stream, const char *data, size_t length) {
  for (unsigned i = 0; i < CLIENTS; i++)
    if (clients[i].fd && clients[i].attached) send_frame(&clients[i], stream ? '2' : '1', data, length);
}

static void close_input(struct supervised *container) {
  pending_start = pending_end = 0;
  if (container->input < 0) return;
  close(container->input);
  container->input = -1;
}

void control_feed(struct supervised *container) {
  while (pending_start < pending_end && container->input >= 0) {
    ssize_t n = write(container->input, pending + pending_start, pending_end - pending_start);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) {
      /* Nobody reads any more: what is held back is lost, as it would be in a pipe. */
      if (!container->terminal) close_input(container);
      pending_start = pending_end = 0;
      break;
    }
    pending_start += (size_t)n;
  }
  if (container->input < 0) pending_start = pending_end = 0;
  bool empty = pending_start == pending_end;
  if (empty) {
    pending_start = pending_end = 0;
    if (close_after_pending && !container->terminal) close_input(container);
    if (pending) munmap(pending, STDIN_ROOM);
    pending = NULL;
    for (unsigned i = 0; i < CLIENTS; i++)
      if (clients[i].fd && clients[i].held) {
        clients[i].held = false;
        rewatch(&clients[i]);
      }
  }
  if (container->input < 0) return;
  if (container->terminal) watch_change(container->input, EPOLLIN | (empty ? 0u : EPOLLOUT), EVENT_STDOUT);
  else watch_change(container->input, empty ? 0 : EPOLLOUT, EVENT_STDIN);
}

/* Takes stdin bytes from the client's socket straight into the buffer. False when there is no more to do now. */
static bool take_stdin(struct supervised *container, struct client *client) {
  if (!pending) {
    pending = mmap(NULL, STDIN_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pending == MAP_FAILED) {
      pending = NULL;
      drop(client);
      return false;
    }
  }
  if (pending_end == STDIN_ROOM && pending_start) {
    memmove(pending, pending + pending_start, pending_end - pending_start);
    pending_end -= pending_start;
    pending_start = 0;
  }
  size_t room = STDIN_ROOM - pending_end;
  if (!room) {
    client->held = true;
    rewatch(client);
    return false;
  }
  ssize_t n = recv(client->fd, pending + pending_end, room < client->stdin_left ? room : client->stdin_left, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return false;
  if (n <= 0) {
    drop(client);
    return false;
  }
  client->stdin_left -= (uint32_t)n;
  if (container->input >= 0 && !close_after_pending) pending_end += (size_t)n;
  control_feed(container);
  return client->fd != 0 && !client->held;
}

static long long read_number(const unsigned char *bytes, unsigned count) {
  uint64_t number = 0;
  for (unsigned i = 0; i < count; i++) number = number << 8 | bytes[i];
  return (long long)number;
}

static void obey(struct supervised *container, struct client *client, const unsigned char *payload, uint32_t length) {
  switch (client->frame[0]) {
  case 'A':
    client->attached = true;
    break;
  case 'C':
    if (container->terminal) {
      /* The end of input on a terminal is a character. */
      if (container->input >= 0 && write(container->input, "\004", 1) < 0) break;
    } else {
      close_after_pending = true;
      control_feed(container);
    }
    break;
  case 'R':
    if (container->terminal && length == 4 && container->output[0] >= 0)
      terminal_resize(container->output[0], (unsigned)payload[0] << 8 | payload[1], (unsigned)payload[2] << 8 | payload[3]);
    break;
  case 'K':
    if (length == 1 && container->pidfd >= 0) k_pidfd_send_signal(container->pidfd, payload[0]);
    break;
  case 'L':
    log_reopen(&container->log);
    break;
  case 'O':
    if (length != 12) break;
    log_limit(&container->log, read_number(payload, 8), (int)read_number(payload + 8, 4));
    send_frame(client, 'O', NULL, 0);
    break;
  default:
    drop(client); /* not our protocol */
  }
}

static bool take_frame(struct supervised *container, struct client *client) {
  uint32_t length = 0;
  unsigned want = HEADER;
  if (client->frame_length >= HEADER) {
    memcpy(&length, client->frame + 1, sizeof length);
    length = ntohl(length);
    want = HEADER + length;
  }
  if (client->frame_length < want) {
    ssize_t n = recv(client->fd, client->frame + client->frame_length, want - client->frame_length, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return false;
    if (n <= 0) {
      drop(client);
      return false;
    }
    client->frame_length += (unsigned)n;
    if (client->frame_length < HEADER) return true;
    memcpy(&length, client->frame + 1, sizeof length);
    length = ntohl(length);
  }
  if (client->frame[0] == 'I') {
    client->stdin_left = length;
    client->frame_length = 0;
    return true;
  }
  if (length > SMALL) {
    drop(client);
    return false;
  }
  if (client->frame_length < HEADER + length) return true;
  client->frame_length = 0;
  obey(container, client, client->frame + HEADER, length);
  return client->fd != 0;
}

void control_serve(struct supervised *container, unsigned index, unsigned events) {
  struct client *client = &clients[index];
  if (!client->fd) return;
  if (events & EPOLLOUT) flush_client(client);
  if (!client->fd || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  if (client->held) {
    /* Hung up while held back: nothing more will come of it. */
    if (events & (EPOLLHUP | EPOLLERR)) drop(client);
    return;
  }
  /* A bounded number of steps, so that a flood from one client does not starve the rest. */
  for (int step = 0; step < 32; step++)
    if (!(client->stdin_left ? take_stdin(container, client) : take_frame(container, client))) return;
}

void control_finish(int code, bool oom_killed) {
  char payload[5];
  uint32_t wide = htonl((uint32_t)code);
  memcpy(payload, &wide, sizeof wide);
  payload[4] = oom_killed;
  for (unsigned i = 0; i < CLIENTS; i++) {
    if (!clients[i].fd) continue;
    send_frame(&clients[i], 'X', payload, sizeof payload);
    for (int waited = 0; clients[i].fd && clients[i].waiting && waited < LAST_WAIT_MS; waited += 100) {
      struct pollfd writable = {.fd = clients[i].fd, .events = POLLOUT};
      poll(&writable, 1, 100);
      flush_client(&clients[i]);
    }
    if (clients[i].fd) drop(&clients[i]);
  }
}
