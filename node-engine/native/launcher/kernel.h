/* System calls and constants that the C library of older distributions does not have yet (kernel 5.12 is enough). */
#pragma once
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

/* linux/mount.h cannot be included beside sys/mount.h everywhere: the few constants are repeated under our own names. */
enum {
  K_OPEN_TREE_CLONE = 1,
  K_AT_EMPTY_PATH = 0x1000,
  K_AT_RECURSIVE = 0x8000,
  K_MOVE_FROM_EMPTY = 0x4,
  K_MOVE_TO_EMPTY = 0x40,
  K_FSOPEN_CLOEXEC = 1,
  K_FSMOUNT_CLOEXEC = 1,
  K_FSCONFIG_SET_FLAG = 0,
  K_FSCONFIG_SET_STRING = 1,
  K_FSCONFIG_CREATE = 6,
};
#define K_ATTR_RDONLY 0x00000001ULL
#define K_ATTR_NOSUID 0x00000002ULL
#define K_ATTR_NODEV 0x00000004ULL
#define K_ATTR_NOEXEC 0x00000008ULL
#define K_ATTR_ATIME_MASK 0x00000070ULL
#define K_ATTR_RELATIME 0x00000000ULL
#define K_ATTR_NOATIME 0x00000010ULL
#define K_ATTR_STRICTATIME 0x00000020ULL
#define K_ATTR_NODIRATIME 0x00000080ULL
#define K_ATTR_NOSYMFOLLOW 0x00200000ULL

struct k_mount_attr {
  uint64_t set, clear, propagation, userns_fd;
};
struct k_open_how {
  uint64_t flags, mode, resolve;
};
#define K_RESOLVE_NO_XDEV 0x01
#define K_RESOLVE_NO_MAGICLINKS 0x02
#define K_RESOLVE_NO_SYMLINKS 0x04
#define K_RESOLVE_IN_ROOT 0x10

struct k_clone_args {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
#define K_CLONE_INTO_CGROUP 0x200000000ULL

static inline int k_open_tree(int dir, const char *path, unsigned flags) {
  return (int)syscall(428, dir, path, flags);
}
static inline int k_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags) {
  return (int)syscall(429, from, from_path, to, to_path, flags);
}
static inline int k_fsopen(const char *type, unsigned flags) { return (int)syscall(430, type, flags); }
static inline int k_fsconfig(int fd, unsigned command, const char *key, const void *value, int aux) {
  return (int)syscall(431, fd, command, key, value, aux);
}
static inline int k_fsmount(int fd, unsigned flags, unsigned attributes) {
  return (int)syscall(432, fd, flags, attributes);
}
static inline int k_mount_setattr(int dir, const char *path, unsigned flags, struct k_mount_attr *attr) {
  return (int)syscall(SYS_mount_setattr, dir, path, flags, attr, sizeof *attr);
}
static inline int k_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct k_open_how how = {flags, mode, resolve};
  return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}
static inline int k_clone3(struct k_clone_args *args) { return (int)syscall(SYS_clone3, args, sizeof *args); }
static inline int k_close_range(unsigned first, unsigned last, unsigned flags) {
  return (int)syscall(SYS_close_range, first, last, flags);
}
#define K_CLOSE_RANGE_CLOEXEC 4
static inline int k_pidfd_open(int pid) { return (int)syscall(434, pid, 0); }
static inline int k_pidfd_send_signal(int pidfd, int signal) { return (int)syscall(424, pidfd, signal, 0, 0); }
