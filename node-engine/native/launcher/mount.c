#include "mount.h"
#include "failure.h"
#include "kernel.h"
#include "modes.h"
#include "resolve.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

struct planned {
  const struct json *json;
  const char *target, *type;
  struct mount_options options;
  int source; /* detached clone of a bind's source, or -1 */
  bool directory;
};

/* The mount that holds `path` must be private, or mounting on it would reach its peers, the host among them. */
static void make_parent_private(const char *path) {
  char at[PATH_MAX];
  snprintf(at, sizeof at, "%s", path);
  while (mount(NULL, at, NULL, MS_PRIVATE, NULL)) {
    /* EINVAL: not a mount point; go up. */
    char *slash = strrchr(at, '/');
    if (errno != EINVAL || !slash) fail("mount", path, "making the mount above \"%s\" private", path);
    if (slash == at && !at[1]) fail("mount", path, "making the mount above \"%s\" private", path);
    slash[slash == at] = 0;
  }
}

static void set_propagation(const struct json *config, const struct planned *mounts, unsigned count, const char *stage) {
  const char *wanted = json_string(json_get(config, "linux"), "rootfsPropagation");
  bool slave = wanted && strstr(wanted, "slave"), shared = wanted && strstr(wanted, "shared");
  for (unsigned i = 0; i < count; i++) {
    if (mounts[i].options.propagation == MS_SLAVE) slave = true;
    if (mounts[i].options.propagation == MS_SHARED) shared = true;
  }
  if (shared) {
    make_parent_private(stage);
    return;
  }
  if (mount(NULL, "/", NULL, MS_REC | (slave ? MS_SLAVE : MS_PRIVATE), NULL))
    fail("mount", "/", "making the mounts of the new namespace private");
}

/* A clone of a part of a detached mount. Before Linux 6.15 only what is attached in the caller's namespace can be cloned: then
   the mount is laid over `at` (`laid`) until mount_lift; over "/" nothing meets it, because lookups begin at the root below.
   What holds `at` must be private, or the host would see it. */
static int clone_detached(int fs, int part, const char *at, bool *laid) {
  int clone = k_open_tree(part, "", K_OPEN_TREE_CLONE | O_CLOEXEC | K_AT_EMPTY_PATH);
  if (clone >= 0 || errno != EINVAL || *laid) return clone;
  int target = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (target < 0) return -1;
  mount_attach(fs, target, at);
  close(target);
  *laid = true;
  return k_open_tree(part, "", K_OPEN_TREE_CLONE | O_CLOEXEC | K_AT_EMPTY_PATH);
}

/* Takes away what clone_detached has laid; the clones stay. */
static void mount_lift(int fs, bool laid) {
  if (!laid) return;
  int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (before < 0 || fchdir(fs) || umount2(".", MNT_DETACH) || fchdir(before))
    fail("mount", "/", "taking away a mount that was needed for a moment");
  close(before);
}

/* The launcher as init of a container that may change mounts, and so could make the host's file writable: a copy. */
static int own_copy(int source, const struct stat *status, const char *stage) {
  int fs = mount_new("tmpfs", "tmpfs", NULL, "init");
  int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  int to = openat(fs, "init", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0555);
  if (from < 0 || to < 0) fail("mount", "init", "copying the launcher for the container");
  copy_whole(from, to, status->st_size);
  close(from);
  close(to);
  /* `fs` stays open: closing it would dissolve the detached mount. */
  bool laid = false;
  int file = openat(fs, "init", O_PATH | O_CLOEXEC), clone = file < 0 ? -1 : clone_detached(fs, file, stage, &laid);
  if (clone < 0) fail("mount", "init", "copying the launcher for the container");
  mount_lift(fs, laid);
  close(file);
  close(source);
  return clone;
}

static void open_bind_source(struct planned *p, const char *stage) {
  const char *source = json_string(p->json, "source");
  struct stat status;
  if (!source || source[0] != '/')
    fail_because(EINVAL, "mount", p->target, "mounting \"%s\": the source \"%s\" is not an absolute path", p->target,
                 source ? source : "");
  p->source = k_open_tree(AT_FDCWD, source,
                          K_OPEN_TREE_CLONE | O_CLOEXEC | (p->options.recursive ? K_AT_RECURSIVE : 0u));
  if (p->source < 0 || fstat(p->source, &status)) fail("mount", source, "mounting \"%s\" on \"%s\"", source, p->target);
  p->directory = S_ISDIR(status.st_mode);
  if (!p->directory && sealed_from(&status)) p->source = own_copy(p->source, &status, stage);
}

/* Reads the mounts and takes hold of every bind's source while host paths are what they were. */
static struct planned *plan(const struct json *config, unsigned *count) {
  const struct json *list = json_get(config, "mounts");
  struct planned *planned = json_allocate(((list ? list->count : 0) + 1) * sizeof *planned);
  *count = 0;
  json_each(item, list) {
    struct planned *p = &planned[(*count)++];
    *p = (struct planned){.json = item, .source = -1, .directory = true};
    p->target = json_string(item, "destination");
    p->type = json_string(item, "type");
    if (!p->target || p->target[0] != '/' || strlen(p->target) >= PATH_MAX)
      fail_because(EINVAL, "mount", p->target, "reading the mounts: the destination \"%s\" is not an absolute path",
                   p->target ? p->target : "");
    mount_options_read(item, &p->options);
    if (p->type && !strcmp(p->type, "bind")) p->options.bind = true;
    if (!p->options.bind && (!p->type || !*p->type))
      fail_because(EINVAL, "mount", p->target, "reading the mount \"%s\": it has no type", p->target);
  }
  return planned;
}

static int open_target(int root, const struct planned *p) {
  /* A link at /proc or /sys would let the image choose where the kernel's own trees go. */
  bool plain = !p->options.bind && (!strcmp(p->type, "proc") || !strcmp(p->type, "sysfs"));
  int fd = resolve_create(root, p->target, p->directory);
  if (fd < 0) fail("mount", p->target, "making the mount point \"%s\"", p->target);
  if (plain) {
    int again = k_openat2(root, p->target, O_PATH | O_CLOEXEC, 0, K_RESOLVE_IN_ROOT | K_RESOLVE_NO_SYMLINKS);
    if (again < 0) fail("mount", p->target, "mounting \"%s\": it must be a plain directory in the image", p->target);
    close(fd);
    fd = again;
  }
  struct stat status;
  if (fstat(fd, &status)) fail("mount", p->target, "mounting \"%s\"", p->target);
  if (S_ISDIR(status.st_mode) != p->directory)
    fail_because(p->directory ? ENOTDIR : EISDIR, "mount", p->target, "mounting \"%s\": the source is a %s, the target in the image is a %s",
                 p->target, p->directory ? "directory" : "file", p->directory ? "file" : "directory");
  return fd;
}

static void mount_one(int root, struct planned *p, const struct cgroups *groups) {
  if (!p->options.bind && !strcmp(p->type, "cgroup")) {
    mount_cgroup(root, p->target, &p->options, groups);
    return;
  }
  int target = open_target(root, p);
  int fd = p->source;
  if (fd < 0) {
    bool needs_source = strcmp(p->type, "proc") && strcmp(p->type, "sysfs") && strcmp(p->type, "devpts");
    fd = mount_new(p->type, needs_source ? json_string(p->json, "source") : p->type, &p->options, p->target);
  }
  mount_apply(fd, &p->options, p->target);
  mount_attach(fd, target, p->target);
  close(fd);
  close(target);
}

static void stage_root(const struct json *config, const char *bundle, int bound) {
  const char *annotation = json_string(json_get(config, "annotations"), "tsswarm.overlay");
  if (!annotation) {
    int to = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (to < 0) fail("mount", bundle, "opening the bundle \"%s\"", bundle);
    mount_attach(bound, to, "/");
    close(to);
    close(bound);
    return;
  }
  size_t length = strlen(annotation);
  char *text = json_allocate(length + 1);
  memcpy(text, annotation, length + 1);
  const char *reason = NULL;
  const struct json *overlay = json_parse(text, length, &reason);
  if (!overlay)
    fail_because(EINVAL, "config", "tsswarm.overlay", "reading the annotation \"tsswarm.overlay\": %s", reason);
  overlay_mount(overlay, bundle);
}

int mount_root(const struct json *config, const char *bundle, const struct cgroups *groups) {
  unsigned count;
  struct planned *mounts = plan(config, &count);
  set_propagation(config, mounts, count, bundle);
  for (unsigned i = 0; i < count; i++)
    if (mounts[i].options.bind) open_bind_source(&mounts[i], bundle);
  int bound = -1;
  if (!json_string(json_get(config, "annotations"), "tsswarm.overlay")) {
    const char *path = json_string(json_get(config, "root"), "path");
    int base = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (base < 0) fail("mount", bundle, "opening the bundle \"%s\"", bundle);
    bound = k_open_tree(base, path ? path : "rootfs", K_OPEN_TREE_CLONE | O_CLOEXEC | K_AT_RECURSIVE);
    if (bound < 0) fail("mount", path, "mounting the root \"%s\"", path ? path : "rootfs");
    close(base);
  }
  stage_root(config, bundle, bound);
  int root = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) fail("mount", bundle, "opening the new root");
  const char *spread = json_string(json_get(config, "linux"), "rootfsPropagation");
  struct mount_options plain = {.propagation = spread && strstr(spread, "shared") ? MS_SHARED : MS_PRIVATE};
  mount_apply(root, &plain, "/");
  for (unsigned i = 0; i < count; i++) mount_one(root, &mounts[i], groups);
  devices_make(root, json_get(config, "linux"));
  return root;
}

void mount_pivot(int root, bool pivot) {
  if (fchdir(root)) fail("mount", "/", "entering the new root");
  if (pivot) {
    int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (old < 0) fail("mount", "/", "opening the old root");
    /* pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one and is taken off. */
    if (syscall(SYS_pivot_root, ".", ".")) fail("mount", "/", "making the new root the root");
    if (fchdir(old)) fail("mount", "/", "entering the old root");
    if (mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL)) fail("mount", "/", "cutting the old root off");
    if (umount2(".", MNT_DETACH)) fail("mount", "/", "letting go of the old root");
    close(old);
  } else {
    if (mount(".", "/", NULL, MS_MOVE, NULL)) fail("mount", "/", "moving the new root over the old one");
    if (chroot(".")) fail("mount", "/", "entering the new root");
  }
  if (chdir("/")) fail("mount", "/", "entering the new root");
  close(root);
}

struct masks {
  int fs, directory, file;
  bool laid;
};

/* A tmpfs of one empty directory and one null device, that nobody can change: what masked paths show. It is not the
   container's own /dev/null, which the container could have replaced, nor the host's, whose mode it could change. */
static void open_masks(struct masks *masks) {
  int fd = masks->fs = mount_new("tmpfs", "tmpfs", NULL, "masks");
  if (mkdirat(fd, "empty", 0555) || mknodat(fd, "null", S_IFCHR | 0666, makedev(1, 3)))
    fail("mount", "masks", "making the cover of masked paths");
  struct k_mount_attr attr = {.set = K_ATTR_RDONLY | K_ATTR_NOSUID | K_ATTR_NOEXEC};
  if (k_mount_setattr(fd, "", K_AT_EMPTY_PATH, &attr)) fail("mount", "masks", "protecting the cover of masked paths");
  masks->directory = openat(fd, "empty", O_PATH | O_DIRECTORY | O_CLOEXEC);
  masks->file = openat(fd, "null", O_PATH | O_CLOEXEC);
  if (masks->directory < 0 || masks->file < 0) fail("mount", "masks", "opening the cover of masked paths");
  /* `fd` stays open: closing it would dissolve the detached mount that both belong to. */
}

static void cover(struct masks *masks, bool is_directory, int to, const char *path) {
  int fd = clone_detached(masks->fs, is_directory ? masks->directory : masks->file, "/", &masks->laid);
  if (fd < 0) fail("mount", path, "masking \"%s\"", path);
  mount_attach(fd, to, path);
  close(fd);
}

static void make_read_only(int fd, const char *path) {
  int clone = k_open_tree(fd, "", K_OPEN_TREE_CLONE | O_CLOEXEC | K_AT_EMPTY_PATH | K_AT_RECURSIVE);
  struct k_mount_attr attr = {.set = K_ATTR_RDONLY};
  if (clone < 0 || k_mount_setattr(clone, "", K_AT_EMPTY_PATH, &attr)) fail("mount", path, "making \"%s\" read-only", path);
  mount_attach(clone, fd, path);
  close(clone);
}

/* Whether the path that starts with /proc/ really is in procfs: a volume may have put something else there. */
static bool is_kernel_path(int fd, const char *path) {
  struct statfs status;
  if (fstatfs(fd, &status)) return false;
  return strncmp(path, "/proc/", 6) || status.f_type == PROC_SUPER_MAGIC || status.f_type == TMPFS_MAGIC;
}

void mount_protect_paths(const struct json *linux_part) {
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct masks masks = {-1, -1, -1, false};
  for (char **path = json_strings(linux_part, "readonlyPaths", NULL); *path; path++) {
    int fd = resolve_open(root, *path, O_PATH);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) continue;
    if (fd < 0) fail("mount", *path, "making \"%s\" read-only", *path);
    make_read_only(fd, *path);
    close(fd);
  }
  for (char **path = json_strings(linux_part, "maskedPaths", NULL); *path; path++) {
    int fd = resolve_open(root, *path, O_PATH);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) continue;
    struct stat status;
    if (fd < 0 || fstat(fd, &status)) fail("mount", *path, "masking \"%s\"", *path);
    if (!is_kernel_path(fd, *path))
      fail_because(EPERM, "mount", *path, "masking \"%s\": it is not in the kernel's proc file system", *path);
    if (masks.fs < 0) open_masks(&masks);
    cover(&masks, S_ISDIR(status.st_mode), fd, *path);
    close(fd);
  }
  mount_lift(masks.fs, masks.laid);
  close(root);
}

void mount_finish_root(const struct json *config) {
  if (!json_true(json_get(config, "root"), "readonly")) return;
  struct k_mount_attr attr = {.set = K_ATTR_RDONLY};
  if (k_mount_setattr(AT_FDCWD, "/", 0, &attr)) fail("mount", "/", "making the root read-only");
}
