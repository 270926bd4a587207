#include "terminal.h"
#include "failure.h"
#include "kernel.h"
#include "mount.h"
#include "resolve.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

struct terminal terminal_make(const struct json *process, uid_t uid, int root) {
  struct terminal t;
  struct statfs status;
  struct stat node;
  t.master = resolve_open(root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY);
  if (t.master < 0) fail("terminal", "/dev/pts/ptmx", "opening a terminal in the container");
  /* What is at that path must be the kernel's own: the image or a volume could have put anything there. */
  if (fstatfs(t.master, &status) || status.f_type != DEVPTS_SUPER_MAGIC || fstat(t.master, &node) ||
      node.st_rdev != makedev(5, 2))
    fail_because(EPERM, "terminal", "/dev/pts/ptmx", "opening a terminal in the container: \"/dev/pts\" is not a devpts file system");
  int unlock = 0;
  if (ioctl(t.master, TIOCSPTLCK, &unlock)) fail("terminal", NULL, "unlocking the terminal");
  /* The peer by the master, never by a path. */
  t.slave = ioctl(t.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (t.slave < 0) fail("terminal", NULL, "opening the terminal");
  if (fchown(t.slave, uid, (gid_t)-1)) fail("terminal", NULL, "giving the terminal to the user %u", uid);
  const struct json *size = json_get(process, "consoleSize");
  if (size) terminal_resize(t.master, (unsigned)json_integer(size, "width", 80), (unsigned)json_integer(size, "height", 24));
  return t;
}

void terminal_bind_console(const struct terminal *t, int root) {
  int dev = resolve_open(root, "/dev", O_PATH | O_DIRECTORY);
  if (dev < 0) return;
  int made = openat(dev, "console", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (made >= 0) close(made);
  else if (errno != EEXIST) fail("terminal", "/dev/console", "making \"/dev/console\"");
  int to = openat(dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
  int from = k_open_tree(t->slave, "", K_OPEN_TREE_CLONE | O_CLOEXEC | K_AT_EMPTY_PATH);
  if (to < 0 || from < 0) fail("terminal", "/dev/console", "binding the terminal on \"/dev/console\"");
  mount_attach(from, to, "/dev/console");
  close(from);
  close(to);
  close(dev);
}

void terminal_control(const struct terminal *t) {
  if (setsid() < 0 && errno != EPERM) fail("terminal", NULL, "making a session");
  if (ioctl(t->slave, TIOCSCTTY, 0)) fail("terminal", NULL, "taking the terminal as controlling terminal");
  for (int fd = 0; fd < 3; fd++)
    if (dup2(t->slave, fd) < 0) fail("terminal", NULL, "taking the terminal as standard streams");
}

void terminal_resize(int master, unsigned columns, unsigned rows) {
  struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
  ioctl(master, TIOCSWINSZ, &size); /* a terminal that is closing refuses: nothing to do */
}

int send_fd(int socket, int fd, char kind) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct iovec data = {&kind, 1};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}
