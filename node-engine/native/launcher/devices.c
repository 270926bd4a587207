#include "failure.h"
#include "kernel.h"
#include "mount.h"
#include "resolve.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

static const struct {
  const char *name;
  unsigned minor, major;
} NODES[] = {{"null", 3, 1}, {"zero", 5, 1}, {"full", 7, 1}, {"random", 8, 1}, {"urandom", 9, 1}, {"tty", 0, 5}};

static const struct {
  const char *name, *text;
} LINKS[] = {{"fd", "/proc/self/fd"},
             {"stdin", "/proc/self/fd/0"},
             {"stdout", "/proc/self/fd/1"},
             {"stderr", "/proc/self/fd/2"},
             {"ptmx", "pts/ptmx"}};

/* Without the right to make nodes (a user namespace around us) the host's node is bound over an empty file. */
static void bind_node(int dir, const char *name, const char *path) {
  int made = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (made < 0 && errno != EEXIST) fail("mount", path, "making the device \"%s\"", path);
  if (made >= 0) close(made);
  int from = k_open_tree(AT_FDCWD, path, K_OPEN_TREE_CLONE | O_CLOEXEC);
  int to = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (from < 0 || to < 0) fail("mount", path, "binding the device \"%s\"", path);
  mount_attach(from, to, path);
  close(from);
  close(to);
}

static void make_node(int dir, const char *name, const char *path, mode_t mode, dev_t device) {
  if (!mknodat(dir, name, mode, device)) {
    if (fchmodat(dir, name, mode & 07777, 0)) fail("mount", path, "setting the mode of the device \"%s\"", path);
    return;
  }
  if (errno == EEXIST) {
    struct stat status;
    if (!fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW) && (status.st_mode & S_IFMT) == (mode & S_IFMT) &&
        status.st_rdev == device)
      return;
    errno = EEXIST;
  }
  if (errno != EPERM) fail("mount", path, "making the device \"%s\"", path);
  bind_node(dir, name, path);
}

static void make_asked(int root, const struct json *item) {
  const char *path = json_string(item, "path"), *type = json_string(item, "type");
  if (!path || path[0] != '/' || !type || !strchr("cubp", *type))
    fail_because(EINVAL, "mount", path, "reading linux.devices: \"%s\" needs an absolute path and a type", path ? path : "");
  char parent[4096];
  snprintf(parent, sizeof parent, "%s", path);
  char *slash = strrchr(parent, '/');
  const char *name = path + (slash - parent) + 1;
  *slash = 0;
  int dir = resolve_create(root, parent[0] ? parent : "/", true);
  if (dir < 0) fail("mount", path, "making the directory of the device \"%s\"", path);
  mode_t mode = (mode_t)json_integer(item, "fileMode", 0666) & 07777;
  mode_t kind = *type == 'b' ? S_IFBLK : *type == 'p' ? S_IFIFO : S_IFCHR;
  dev_t device = makedev((unsigned)json_integer(item, "major", 0), (unsigned)json_integer(item, "minor", 0));
  make_node(dir, name, path, mode | kind, device);
  uid_t uid = (uid_t)json_integer(item, "uid", 0);
  gid_t gid = (gid_t)json_integer(item, "gid", 0);
  if ((uid || gid) && fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW))
    fail("mount", path, "setting the owner of the device \"%s\"", path);
  close(dir);
}

void devices_make(int root, const struct json *linux_part) {
  struct statfs root_status, dev_status;
  int dir = resolve_open(root, "/dev", O_PATH | O_DIRECTORY);
  bool own = dir >= 0 && !fstatfs(root, &root_status) && !fstatfs(dir, &dev_status) && dev_status.f_type == TMPFS_MAGIC;
  /* A /dev that is part of the image, or bound from the host, is left as it is. */
  struct stat at;
  bool host_nodes = own && !fstatat(dir, "null", &at, AT_SYMLINK_NOFOLLOW);
  if (own && !host_nodes) {
    for (unsigned i = 0; i < sizeof NODES / sizeof *NODES; i++) {
      char path[32];
      snprintf(path, sizeof path, "/dev/%s", NODES[i].name);
      make_node(dir, NODES[i].name, path, S_IFCHR | 0666, makedev(NODES[i].major, NODES[i].minor));
    }
    for (unsigned i = 0; i < sizeof LINKS / sizeof *LINKS; i++)
      if (symlinkat(LINKS[i].text, dir, LINKS[i].name) && errno != EEXIST)
        fail("mount", LINKS[i].name, "making the link \"/dev/%s\"", LINKS[i].name);
  }
  if (dir >= 0) close(dir);
  json_each(item, json_get(linux_part, "devices")) make_asked(root, item);
}
