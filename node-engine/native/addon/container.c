// Changes inside the namespaces of a running container: its mounts, its sysctls, its host name; and the limits of its processes.
#include "addon.h"

#include "../launcher/kernel.h"
#include "../launcher/resolve.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/stat.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
  MOST_CHANGES = 256,
  // The same mount point can be covered more than once; nobody covers it more often than this.
  MOST_LAYERS = 16,
  SYSCTL_BYTES = 4096,
};
// linux/mount.h of the kernel, under our own names (see kernel.h).
enum { K_MOVE_BENEATH = 0x200, K_FSPICK_CLOEXEC = 1, K_FSPICK_EMPTY_PATH = 8, K_FSCONFIG_RECONFIGURE = 7 };

// In the order of CONTAINER_CHANGES in addon.ts.
enum kind { BIND, TMPFS, DETACH, ATTRIBUTES, RESIZE, MAKE_NODE, REMOVE_NODE, SYSCTL, HOST_NAME, DOMAIN_NAME, READ_SYSCTL, READ_NAMES, KINDS };

struct change {
  enum kind kind;
  char *target; // path in the container; key of a sysctl with slashes
  char *value;  // source on the node, options of a tmpfs ("size=1024,mode=1777"), text of a sysctl, a name
  uint64_t set, clear, propagation;
  bool recursive;
  int fd; // of the mount that is not attached yet
  bool directory;
  char *before; // what a sysctl was or is; the names, one a line
};

struct container_job {
  struct job job;
  int pid;
  struct change *changes;
  uint32_t count;
  uint32_t at; // the change that failed
  int error;
  const char *stage;
};

static bool fail(struct container_job *job, const char *stage) {
  job->error = errno ? errno : EIO;
  job->stage = stage;
  return false;
}

static bool set_attributes(int fd, struct change *change) {
  struct k_mount_attr flags = {.set = change->set, .clear = change->clear};
  if ((flags.set || flags.clear) && k_mount_setattr(fd, "", K_AT_EMPTY_PATH, &flags)) return false;
  if (!change->propagation) return true;
  struct k_mount_attr spread = {.propagation = change->propagation};
  return !k_mount_setattr(fd, "", K_AT_EMPTY_PATH | (change->recursive ? K_AT_RECURSIVE : 0u), &spread);
}

// A copy of a part of the node's tree, which nobody sees before it is attached.
static bool prepare_bind(struct container_job *job, struct change *change) {
  struct stat status;
  change->fd = k_open_tree(AT_FDCWD, change->value, K_OPEN_TREE_CLONE | O_CLOEXEC | K_AT_RECURSIVE);
  if (change->fd < 0 || fstat(change->fd, &status)) return fail(job, "open_tree");
  change->directory = S_ISDIR(status.st_mode);
  return set_attributes(change->fd, change) || fail(job, "mount_setattr");
}

static bool prepare_tmpfs(struct container_job *job, struct change *change) {
  char *rest = NULL;
  int fs = k_fsopen("tmpfs", K_FSOPEN_CLOEXEC);
  bool good = fs >= 0 && !k_fsconfig(fs, K_FSCONFIG_SET_STRING, "source", "tmpfs", 0);
  for (char *word = strtok_r(change->value, ",", &rest); good && word; word = strtok_r(NULL, ",", &rest)) {
    char *value = strchr(word, '=');
    if (value) *value++ = 0;
    good = !k_fsconfig(fs, K_FSCONFIG_SET_STRING, word, value ? value : "", 0);
  }
  if (good && !k_fsconfig(fs, K_FSCONFIG_CREATE, NULL, NULL, 0)) change->fd = k_fsmount(fs, K_FSMOUNT_CLOEXEC, (unsigned)change->set);
  int kept = errno;
  if (fs >= 0) close(fs);
  errno = kept;
  change->directory = true;
  return change->fd >= 0 || fail(job, "fsmount");
}

static bool write_sysctl(struct container_job *job, int sysctls, struct change *change) {
  int fd = openat(sysctls, change->target, O_RDWR | O_CLOEXEC);
  if (fd < 0) return fail(job, "sysctl");
  change->before = calloc(1, SYSCTL_BYTES);
  ssize_t n = change->before ? read(fd, change->before, SYSCTL_BYTES - 1) : -1;
  bool good = n >= 0 && pwrite(fd, change->value, strlen(change->value), 0) >= 0;
  if (!good) fail(job, "sysctl");
  close(fd);
  return good;
}

// One that this kernel lacks, or that cannot be read, is told as an empty text: looking never fails for it.
static bool read_sysctl(int sysctls, struct change *change) {
  int fd = openat(sysctls, change->target, O_RDONLY | O_CLOEXEC);
  change->before = calloc(1, SYSCTL_BYTES);
  if (fd >= 0 && change->before && read(fd, change->before, SYSCTL_BYTES - 1) < 0) change->before[0] = 0;
  if (fd >= 0) close(fd);
  return true;
}

static bool read_names(struct container_job *job, struct change *change) {
  struct utsname names;
  if (uname(&names)) return fail(job, "uname");
  change->before = calloc(1, SYSCTL_BYTES);
  if (change->before) snprintf(change->before, SYSCTL_BYTES, "%s\n%s", names.nodename, names.domainname);
  return true;
}

static bool enter(struct container_job *job, const char *name, int type) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/%s", job->pid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  bool good = fd >= 0 && !setns(fd, type);
  if (!good) fail(job, "setns");
  if (fd >= 0) close(fd);
  return good;
}

static int resolve(const char *target) { return k_openat2(AT_FDCWD, target, O_PATH | O_CLOEXEC, 0, K_RESOLVE_NO_MAGICLINKS); }

static bool is_mount(int fd) {
  struct statx status;
  if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0, &status)) return false;
  return status.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

// The mount itself, whatever has happened to names since: by the descriptor, which the thread's /proc leads to (its working directory).
static bool unmount(int fd) {
  char name[16];
  snprintf(name, sizeof name, "%d", fd);
  return !umount2(name, MNT_DETACH);
}

static bool attach(struct container_job *job, int root, struct change *change) {
  int to = resolve_create(root, change->target, change->directory);
  if (to < 0) return fail(job, "mount point");
  bool good;
  if (!is_mount(to)) {
    good = !k_move_mount(change->fd, "", to, "", K_MOVE_FROM_EMPTY | K_MOVE_TO_EMPTY);
  } else if (!k_move_mount(change->fd, "", to, "", K_MOVE_FROM_EMPTY | K_MOVE_TO_EMPTY | K_MOVE_BENEATH)) {
    // The new one is there already when the old one goes: nobody sees a gap.
    good = unmount(to);
  } else {
    // A kernel before 6.5.
    good = unmount(to);
    close(to);
    to = good ? resolve_create(root, change->target, change->directory) : -1;
    good = to >= 0 && !k_move_mount(change->fd, "", to, "", K_MOVE_FROM_EMPTY | K_MOVE_TO_EMPTY);
  }
  if (!good) fail(job, "move_mount");
  if (to >= 0) close(to);
  return good;
}

// The folder of a path, and the last part of it in `name`.
static int folder_of(int root, const char *path, const char **name, bool make) {
  char parent[PATH_MAX];
  const char *slash = strrchr(path, '/');
  if (!slash || strlen(path) >= sizeof parent) return errno = EINVAL, -1;
  snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
  *name = slash + 1;
  const char *folder = parent[0] ? parent : "/";
  return make ? resolve_create(root, folder, true) : resolve(folder);
}

// What is there when nothing is mounted any more goes, too, where it was only made to mount something there, and is empty still.
// That it cannot go (the root is read-only) is no failure.
static void remove_mount_point(int fd, const char *target) {
  char own[16], mark;
  struct stat file, named;
  const char *name;
  snprintf(own, sizeof own, "%d", fd);
  if (fstat(fd, &file) || !S_ISREG(file.st_mode) || file.st_size != 0 || getxattr(own, MOUNT_POINT_MARK, &mark, 0) < 0) return;
  int dir = folder_of(-1, target, &name, false);
  if (dir < 0) return;
  // Not the link that led to it.
  bool same = !fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) && named.st_ino == file.st_ino && named.st_dev == file.st_dev;
  if (same) unlinkat(dir, name, 0);
  close(dir);
}

static bool detach(struct container_job *job, struct change *change) {
  for (int layer = 0; layer < MOST_LAYERS; layer++) {
    int fd = resolve(change->target);
    if (fd < 0) return errno == ENOENT || errno == ENOTDIR || fail(job, "open");
    bool there = is_mount(fd), good = !there || unmount(fd);
    if (!good) fail(job, "umount2");
    if (!there) remove_mount_point(fd, change->target);
    close(fd);
    if (!there || !good) return good;
  }
  return true;
}

static bool reconfigure(struct container_job *job, struct change *change) {
  int to = resolve(change->target);
  if (to < 0) return fail(job, "open");
  if (!is_mount(to)) {
    close(to);
    errno = EINVAL;
    return fail(job, "open");
  }
  bool good;
  if (change->kind == ATTRIBUTES) {
    good = set_attributes(to, change) || fail(job, "mount_setattr");
  } else {
    int fs = (int)syscall(433, to, "", K_FSPICK_CLOEXEC | K_FSPICK_EMPTY_PATH);
    good = (fs >= 0 && !k_fsconfig(fs, K_FSCONFIG_SET_STRING, "size", change->value, 0) &&
            !k_fsconfig(fs, K_FSCONFIG_RECONFIGURE, NULL, NULL, 0)) ||
           fail(job, "fsconfig");
    if (fs >= 0) close(fs);
  }
  close(to);
  return good;
}

static bool is_node(const struct stat *status) { return S_ISCHR(status->st_mode) || S_ISBLK(status->st_mode) || S_ISFIFO(status->st_mode); }

// A device of another number that is there is replaced, any other file is not.
static bool make_node(struct container_job *job, int root, struct change *change) {
  char type;
  unsigned major, minor, mode, uid, gid;
  const char *name;
  if (sscanf(change->value, "%c %u %u %o %u %u", &type, &major, &minor, &mode, &uid, &gid) != 6) return errno = EINVAL, fail(job, "mknod");
  int dir = folder_of(root, change->target, &name, true);
  if (dir < 0) return fail(job, "mknod");
  mode_t kind = type == 'b' ? S_IFBLK : type == 'p' ? S_IFIFO : S_IFCHR;
  struct stat status;
  bool there = !fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW);
  if (there && is_node(&status)) unlinkat(dir, name, 0);
  bool good = !mknodat(dir, name, kind | mode, makedev(major, minor)) && !fchmodat(dir, name, mode, 0) &&
              !fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW);
  if (!good) fail(job, "mknod");
  close(dir);
  return good;
}

static bool remove_node(struct container_job *job, struct change *change) {
  const char *name;
  struct stat status;
  int dir = folder_of(-1, change->target, &name, false);
  if (dir < 0) return errno == ENOENT || errno == ENOTDIR || fail(job, "unlink");
  bool there = !fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW) && is_node(&status);
  bool good = !there || !unlinkat(dir, name, 0) || fail(job, "unlink");
  close(dir);
  return good;
}

static bool is_of_mounts(const struct change *change) { return change->kind <= REMOVE_NODE; }

static bool apply_outside(struct container_job *job, int sysctls, struct change *change) {
  switch (change->kind) {
  case BIND:
    return prepare_bind(job, change);
  case TMPFS:
    return prepare_tmpfs(job, change);
  case SYSCTL:
    return write_sysctl(job, sysctls, change);
  case HOST_NAME:
    return !sethostname(change->value, strlen(change->value)) || fail(job, "sethostname");
  case DOMAIN_NAME:
    return !setdomainname(change->value, strlen(change->value)) || fail(job, "setdomainname");
  case READ_SYSCTL:
    return read_sysctl(sysctls, change);
  case READ_NAMES:
    return read_names(job, change);
  default:
    return true;
  }
}

static bool apply_inside(struct container_job *job, int root, struct change *change) {
  switch (change->kind) {
  case BIND:
  case TMPFS:
    return attach(job, root, change);
  case DETACH:
    return detach(job, change);
  case ATTRIBUTES:
  case RESIZE:
    return reconfigure(job, change);
  case MAKE_NODE:
    return make_node(job, root, change);
  case REMOVE_NODE:
    return remove_node(job, change);
  default:
    return true;
  }
}

static void run(struct job *base) {
  struct container_job *job = (struct container_job *)base;
  bool mounts = false, others = false;
  int descriptors = -1, root = -1, sysctls = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (uint32_t i = 0; i < job->count; i++) {
    mounts |= is_of_mounts(&job->changes[i]);
    others |= !is_of_mounts(&job->changes[i]);
  }
  if (others && !(enter(job, "uts", CLONE_NEWUTS) && enter(job, "ipc", CLONE_NEWIPC) && enter(job, "net", CLONE_NEWNET))) goto out;
  for (job->at = 0; job->at < job->count; job->at++)
    if (!apply_outside(job, sysctls, &job->changes[job->at])) goto out;
  if (!mounts) goto out;
  job->at = 0;
  // Of the node's /proc: the container's own knows nothing of this thread.
  descriptors = open("/proc/thread-self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (descriptors < 0) {
    fail(job, "open");
    goto out;
  }
  // A thread that shares its root with others cannot enter a mount namespace.
  if (unshare(CLONE_FS)) {
    fail(job, "unshare");
    goto out;
  }
  if (!enter(job, "mnt", CLONE_NEWNS)) goto out;
  root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (job->at = 0; job->at < job->count; job->at++) {
    // Relative names are those of descriptors from here on; targets are absolute.
    if (root < 0 || fchdir(descriptors)) {
      fail(job, "open");
      break;
    }
    if (!apply_inside(job, root, &job->changes[job->at])) break;
  }
out:
  if (descriptors >= 0) close(descriptors);
  if (root >= 0) close(root);
  if (sysctls >= 0) close(sysctls);
  for (uint32_t i = 0; i < job->count; i++)
    if (job->changes[i].fd >= 0) close(job->changes[i].fd);
}

static napi_value result(napi_env env, struct job *base) {
  struct container_job *job = (struct container_job *)base;
  napi_value reply, values, stage;
  napi_create_object(env, &reply);
  set_named(env, reply, "error", make_int(env, -job->error));
  set_named(env, reply, "at", make_int(env, job->at));
  napi_create_string_utf8(env, job->stage ? job->stage : "", NAPI_AUTO_LENGTH, &stage);
  set_named(env, reply, "stage", stage);
  napi_create_array(env, &values);
  for (uint32_t i = 0; i < job->count; i++) {
    napi_value before;
    const char *text = job->changes[i].before;
    napi_create_string_utf8(env, text ? text : "", NAPI_AUTO_LENGTH, &before);
    napi_set_element(env, values, i, before);
  }
  set_named(env, reply, "before", values);
  return reply;
}

static void release(struct job *base) {
  struct container_job *job = (struct container_job *)base;
  for (uint32_t i = 0; i < job->count; i++) {
    free(job->changes[i].target);
    free(job->changes[i].value);
    free(job->changes[i].before);
  }
  free(job->changes);
  free(job);
}

static int64_t number_in(napi_env env, napi_value object, const char *name) {
  napi_value value;
  int64_t number = 0;
  if (napi_get_named_property(env, object, name, &value) == napi_ok) napi_get_value_int64(env, value, &number);
  return number;
}

static char *text_in(napi_env env, napi_value object, const char *name) {
  napi_value value;
  size_t length;
  if (napi_get_named_property(env, object, name, &value) != napi_ok) return NULL;
  char *text = value_copy(env, value, &length);
  // A zero byte inside would cut the text short behind the caller's back.
  if (text && strlen(text) != length) text[0] = 0;
  return text;
}

// changeContainer(pid, changes): a promise for {error, at, stage, before}.
static napi_value js_change_container(napi_env env, napi_callback_info info) {
  struct args args;
  args_take(&args, env, info);
  int64_t pid = arg_int(&args, 0);
  uint32_t count = 0;
  if (args.count < 2 || napi_get_array_length(env, args.value[1], &count) != napi_ok || count > MOST_CHANGES) args.bad = true;
  struct container_job *job = args_bad(&args) ? NULL : calloc(1, sizeof *job);
  args_free(&args);
  if (!job) return NULL;
  *job = (struct container_job){.job = {run, result, release}, .pid = (int)pid, .count = count};
  job->changes = calloc(count + 1, sizeof *job->changes);
  for (uint32_t i = 0; i < count; i++) {
    napi_value item;
    napi_get_element(env, args.value[1], i, &item);
    int64_t kind = number_in(env, item, "kind");
    job->changes[i] = (struct change){.kind = kind >= 0 && kind < KINDS ? (enum kind)kind : DETACH,
                                      .target = text_in(env, item, "target"),
                                      .value = text_in(env, item, "value"),
                                      .set = (uint64_t)number_in(env, item, "set"),
                                      .clear = (uint64_t)number_in(env, item, "clear"),
                                      .propagation = (uint64_t)number_in(env, item, "propagation"),
                                      .recursive = number_in(env, item, "recursive") != 0,
                                      .fd = -1};
    if (!job->changes[i].target) job->changes[i].target = calloc(1, 1);
    if (!job->changes[i].value) job->changes[i].value = calloc(1, 1);
  }
  return job_start(env, &job->job);
}

// Real user and group of a process.
static bool owner_of(pid_t pid, uid_t *uid, gid_t *gid) {
  char path[40], line[256];
  snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
  FILE *file = fopen(path, "re");
  if (!file) return false;
  int found = 0;
  while (fgets(line, sizeof line, file))
    found += sscanf(line, "Uid: %u", uid) == 1 || sscanf(line, "Gid: %u", gid) == 1;
  fclose(file);
  return found == 2;
}

// The limits of another user's process take CAP_SYS_RESOURCE, or to be that user, which this thread is for a moment: its real ids alone
// count, and with the effective ones it keeps its capabilities. The calls themselves, for the C library changes all threads.
static int limit_as_owner(pid_t pid, int resource, const struct rlimit *limit) {
  uid_t uid = 0, own_uid = getuid();
  gid_t gid = 0, own_gid = getgid();
  int result = -1, error = EPERM;
  // It has ended just now.
  if (!owner_of(pid, &uid, &gid)) return errno = ESRCH, -1;
  if (syscall(SYS_setresgid, gid, -1, -1) == 0 && syscall(SYS_setresuid, uid, -1, -1) == 0) {
    result = prlimit(pid, resource, limit, NULL);
    error = errno;
  }
  // Nothing refuses that: the effective ids never were others.
  if (syscall(SYS_setresuid, own_uid, -1, -1) != 0 || syscall(SYS_setresgid, own_gid, -1, -1) != 0) abort();
  errno = error;
  return result;
}

static int set_limit(pid_t pid, int resource, const struct rlimit *limit) {
  int result = prlimit(pid, resource, limit, NULL);
  return result != 0 && errno == EPERM ? limit_as_owner(pid, resource, limit) : result;
}

// setProcessLimit(pid, resource, soft, hard): prlimit(2); -1 is no limit.
static napi_value js_set_process_limit(napi_env env, napi_callback_info info) {
  struct args args;
  args_take(&args, env, info);
  int64_t pid = arg_int(&args, 0), resource = arg_int(&args, 1), soft = arg_int(&args, 2), hard = arg_int(&args, 3);
  napi_value value = NULL;
  struct rlimit limit = {soft < 0 ? RLIM_INFINITY : (rlim_t)soft, hard < 0 ? RLIM_INFINITY : (rlim_t)hard};
  if (!args_bad(&args)) value = make_result(env, set_limit((pid_t)pid, (int)resource, &limit));
  args_free(&args);
  return value;
}

void export_container(napi_env env, napi_value exports) {
  export_function(env, exports, "changeContainer", js_change_container);
  export_function(env, exports, "setProcessLimit", js_set_process_limit);
}
