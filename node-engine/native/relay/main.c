/*
 * tsrelay DIRECTORY: hands callers over IPv6 to published ports that are reached over IPv4 only, until it has none.
 * DIRECTORY is root's alone and gets the socket "control"; the first daemon is at descriptor 0. See control.c.
 */
#include "relay.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define NOBODY 65534

static _Noreturn void fail(const char *what) {
  char text[256];
  int length = snprintf(text, sizeof text, "error %s: %s\n", what, strerror(errno));
  if (send(0, text, (size_t)length, MSG_NOSIGNAL) < 0) _exit(2);
  _exit(1);
}

static int open_control(const char *directory) {
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "control"};
  /* A path of any length. */
  if (chdir(directory)) fail("entering the folder");
  if (unlink("control") && errno != ENOENT) fail("removing the old socket");
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  umask(077);
  if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof name) || listen(fd, 8)) fail("opening the socket");
  return fd;
}

/* Of root's rights it keeps that to ports below 1024, of the file system an empty folder. */
static void give_up_rights(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2] = {{0}};
  none[0].effective = none[0].permitted = 1u << CAP_NET_BIND_SERVICE;
  struct rlimit nothing = {0, 0};
  setrlimit(RLIMIT_CORE, &nothing);
  if (chroot(".") || chdir("/")) fail("leaving the file system");
  if (setgroups(0, NULL) || prctl(PR_SET_KEEPCAPS, 1)) fail("giving up rights");
  /* A user namespace may know no such user: then only the capabilities go. */
  if ((setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)) && errno != EINVAL) fail("giving up root");
  if (syscall(SYS_capset, &header, none)) fail("giving up capabilities");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0)) fail("giving up rights for good");
  setrlimit(RLIMIT_NPROC, &nothing);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: tsrelay DIRECTORY\n");
    return 2;
  }
  unsigned user = geteuid();
  signal(SIGPIPE, SIG_IGN);
  int listener = open_control(argv[1]);
  /* Nobody's child, in nobody's session: it goes on when the daemon ends. */
  pid_t pid = fork();
  if (pid < 0) fail("going into the background");
  if (pid > 0) _exit(0);
  setsid();
  fcntl(0, F_SETFL, O_NONBLOCK);
  budget_open();
  give_up_rights();
  control_open(0, listener, user);
  serve();
}
