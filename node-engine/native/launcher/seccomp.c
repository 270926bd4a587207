#include "failure.h"
#include "process.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void seccomp_read(struct process *p) {
  if (!p->seccomp_path) return;
  int fd = open(p->seccomp_path, O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (fd < 0 || fstat(fd, &status)) fail("seccomp", p->seccomp_path, "opening the filter \"%s\"", p->seccomp_path);
  size_t size = (size_t)status.st_size;
  if (!size || size % sizeof(struct sock_filter) || size / sizeof(struct sock_filter) > BPF_MAXINSNS)
    fail_because(EINVAL, "seccomp", p->seccomp_path, "reading the filter \"%s\": %zu bytes are no program", p->seccomp_path, size);
  p->filter = json_allocate(size);
  if (read(fd, p->filter, size) != (ssize_t)size) fail("seccomp", p->seccomp_path, "reading the filter \"%s\"", p->seccomp_path);
  p->filter_length = (unsigned)(size / sizeof(struct sock_filter));
  close(fd);
}

void seccomp_load(const struct process *p) {
  if (!p->filter_length) return;
  struct sock_fprog program = {(unsigned short)p->filter_length, p->filter};
  if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) return;
  if (errno != ENOSYS && errno != EINVAL) fail("seccomp", p->seccomp_path, "loading the seccomp filter");
  if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) fail_because(ENOSYS, "seccomp", p->seccomp_path, "loading the seccomp filter: this kernel has none");
  fail("seccomp", p->seccomp_path, "loading the seccomp filter");
}
