// Filesystem calls that Node lacks. All are synchronous but syncfs, which waits for the disk.
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

// mount(source, target, fstype, flags, data)
static napi_value js_mount(napi_env env, napi_callback_info info) {
  struct args args;
  napi_value result = NULL;
  args_take(&args, env, info);
  const char *source = arg_text(&args, 0), *target = arg_text(&args, 1), *type = arg_text(&args, 2);
  unsigned long flags = (unsigned long)arg_int(&args, 3);
  const char *data = arg_text(&args, 4);
  if (!target) args.bad = true;
  if (!args_bad(&args)) result = make_result(env, mount(source, target, type, flags, data));
  args_free(&args);
  return result;
}

// umount(path, flags)
static napi_value js_umount(napi_env env, napi_callback_info info) {
  struct args args;
  napi_value result = NULL;
  args_take(&args, env, info);
  const char *path = arg_text(&args, 0);
  int flags = (int)arg_int(&args, 1);
  if (!path) args.bad = true;
  if (!args_bad(&args)) result = make_result(env, umount2(path, flags));
  args_free(&args);
  return result;
}

// mknod(path, mode, major, minor)
static napi_value js_mknod(napi_env env, napi_callback_info info) {
  struct args args;
  napi_value result = NULL;
  args_take(&args, env, info);
  const char *path = arg_text(&args, 0);
  mode_t mode = (mode_t)arg_int(&args, 1);
  dev_t device = makedev((unsigned)arg_int(&args, 2), (unsigned)arg_int(&args, 3));
  if (!path) args.bad = true;
  if (!args_bad(&args)) {
    int made = mknod(path, mode, device);
    // The umask is the daemon's, not the archive's; a fifo or device node made by root is not followed here.
    if (made == 0) made = chmod(path, mode & 07777);
    result = make_result(env, made);
  }
  args_free(&args);
  return result;
}

// lsetxattr(path, name, value, flags)
static napi_value js_lsetxattr(napi_env env, napi_callback_info info) {
  struct args args;
  napi_value result = NULL;
  size_t length = 0;
  args_take(&args, env, info);
  const char *path = arg_text(&args, 0), *name = arg_text(&args, 1);
  char *value = args.count > 2 ? value_copy(env, args.value[2], &length) : NULL;
  int flags = (int)arg_int(&args, 3);
  if (!path || !name || !value) args.bad = true;
  if (!args_bad(&args)) result = make_result(env, lsetxattr(path, name, value, length, flags));
  free(value);
  args_free(&args);
  return result;
}

// Reads an attribute or the list of names, whose size may grow between asking and reading.
static napi_value read_grown(napi_env env, const char *path, const char *name) {
  for (;;) {
    ssize_t size = name ? lgetxattr(path, name, NULL, 0) : llistxattr(path, NULL, 0);
    if (size < 0) return make_result(env, -1);
    char *data = malloc((size_t)size + 1);
    if (!data) return make_int(env, -ENOMEM);
    ssize_t got = name ? lgetxattr(path, name, data, (size_t)size) : llistxattr(path, data, (size_t)size);
    // Of size 0 the kernel answers with the needed size again, not with data.
    if (size == 0 && got > 0) errno = ERANGE, got = -1;
    napi_value result = got >= 0 ? make_buffer(env, data, (size_t)got) : make_result(env, -1);
    bool again = got < 0 && errno == ERANGE;
    free(data);
    if (!again) return result;
  }
}

// lgetxattr(path, name) → Buffer
static napi_value js_lgetxattr(napi_env env, napi_callback_info info) {
  struct args args;
  napi_value result = NULL;
  args_take(&args, env, info);
  const char *path = arg_text(&args, 0), *name = arg_text(&args, 1);
  if (!path || !name) args.bad = true;
  if (!args_bad(&args)) result = read_grown(env, path, name);
  args_free(&args);
  return result;
}

// llistxattr(path) → Buffer of zero-terminated names
static napi_value js_llistxattr(napi_env env, napi_callback_info info) {
  struct args args;
  napi_value result = NULL;
  args_take(&args, env, info);
  const char *path = arg_text(&args, 0);
  if (!path) args.bad = true;
  if (!args_bad(&args)) result = read_grown(env, path, NULL);
  args_free(&args);
  return result;
}

// lremovexattr(path, name)
static napi_value js_lremovexattr(napi_env env, napi_callback_info info) {
  struct args args;
  napi_value result = NULL;
  args_take(&args, env, info);
  const char *path = arg_text(&args, 0), *name = arg_text(&args, 1);
  if (!path || !name) args.bad = true;
  if (!args_bad(&args)) result = make_result(env, lremovexattr(path, name));
  args_free(&args);
  return result;
}

static struct timespec from_ns(int64_t ns) {
  int64_t seconds = ns / 1000000000, rest = ns % 1000000000;
  // C rounds towards zero; tv_nsec must be positive also before 1970.
  if (rest < 0) seconds--, rest += 1000000000;
  return (struct timespec){.tv_sec = seconds, .tv_nsec = rest};
}

// lutimes(path, accessNs, modifyNs), both BigInt
static napi_value js_lutimes(napi_env env, napi_callback_info info) {
  struct args args;
  napi_value result = NULL;
  args_take(&args, env, info);
  const char *path = arg_text(&args, 0);
  struct timespec times[2] = {from_ns(arg_bigint(&args, 1)), from_ns(arg_bigint(&args, 2))};
  if (!path) args.bad = true;
  if (!args_bad(&args)) result = make_result(env, utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
  args_free(&args);
  return result;
}

// flock(fd, operation)
static napi_value js_flock(napi_env env, napi_callback_info info) {
  struct args args;
  napi_value result = NULL;
  args_take(&args, env, info);
  int fd = (int)arg_int(&args, 0), operation = (int)arg_int(&args, 1);
  // Never waits: it runs on Node's only thread.
  if (!args_bad(&args)) result = make_result(env, flock(fd, operation | LOCK_NB));
  args_free(&args);
  return result;
}

struct sync_job {
  struct job job;
  char *path;
  int error;
};

static void sync_run(struct job *job) {
  struct sync_job *sync = (struct sync_job *)job;
  int fd = open(sync->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || syncfs(fd) < 0) sync->error = errno;
  if (fd >= 0) close(fd);
}

static napi_value sync_result(napi_env env, struct job *job) {
  return make_int(env, -(int64_t)((struct sync_job *)job)->error);
}

static void sync_free(struct job *job) {
  free(((struct sync_job *)job)->path);
  free(job);
}

// syncfs(path) → Promise
static napi_value js_syncfs(napi_env env, napi_callback_info info) {
  struct args args;
  napi_value result = NULL;
  args_take(&args, env, info);
  const char *path = arg_text(&args, 0);
  if (!path) args.bad = true;
  if (!args_bad(&args)) {
    struct sync_job *sync = calloc(1, sizeof *sync);
    sync->job = (struct job){.run = sync_run, .result = sync_result, .free = sync_free};
    sync->path = strdup(path);
    result = job_start(env, &sync->job);
  }
  args_free(&args);
  return result;
}

void export_filesystem(napi_env env, napi_value exports) {
  export_function(env, exports, "mount", js_mount);
  export_function(env, exports, "umount", js_umount);
  export_function(env, exports, "mknod", js_mknod);
  export_function(env, exports, "lsetxattr", js_lsetxattr);
  export_function(env, exports, "lgetxattr", js_lgetxattr);
  export_function(env, exports, "llistxattr", js_llistxattr);
  export_function(env, exports, "lremovexattr", js_lremovexattr);
  export_function(env, exports, "lutimes", js_lutimes);
  export_function(env, exports, "flock", js_flock);
  export_function(env, exports, "syncfs", js_syncfs);
}
