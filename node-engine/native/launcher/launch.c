#include "launch.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

void launch_channel(int ends[2]) {
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) fail("supervisor", NULL, "making a socket pair");
}

bool launch_wait(int socket, struct failure *failure, int *master) {
  *master = -1;
  bool ready = false;
  for (;;) {
    union {
      struct cmsghdr header;
      char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec data = {failure, sizeof *failure};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 && !ready) {
      *failure = (struct failure){.number = ECHILD, .stage = "process", .message = "setting the process up: it died"};
      return false;
    }
    if (n <= 0) return true;
    if (n == sizeof *failure) return false;
    if (n == 1 && *(char *)failure == LAUNCH_READY) ready = true;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS) memcpy(master, CMSG_DATA(header), sizeof *master);
  }
}

void launch_ready(void) {
  char kind = LAUNCH_READY;
  if (write(failure_pipe, &kind, 1) < 0) _exit(1);
}

void launch_tie(int socket) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL)) fail("process", NULL, "tying the process to its supervisor");
  struct pollfd hangup = {.fd = socket};
  if (poll(&hangup, 1, 0) > 0 && hangup.revents & POLLHUP) _exit(1);
}
