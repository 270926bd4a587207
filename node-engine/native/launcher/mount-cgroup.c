#include "cgroup.h"
#include "failure.h"
#include "kernel.h"
#include "mount.h"
#include "resolve.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void mount_v1(int base, const struct hierarchy *h, const struct mount_options *options, const char *target) {
  const char *name = strncmp(h->controllers, "name=", 5) ? h->controllers : h->controllers + 5;
  struct mount_options mine = *options;
  const char *data[16];
  char words[96], *rest = NULL;
  mine.data = data;
  mine.data_count = 0;
  snprintf(words, sizeof words, "%s", h->controllers);
  for (char *word = strtok_r(words, ",", &rest); word && mine.data_count < 16; word = strtok_r(NULL, ",", &rest))
    data[mine.data_count++] = word;
  if (mkdirat(base, name, 0755) && errno != EEXIST) fail("mount", target, "making the mount point \"%s/%s\"", target, name);
  int fd = mount_new("cgroup", "cgroup", &mine, target);
  int to = openat(base, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (to < 0) fail("mount", target, "opening the mount point \"%s/%s\"", target, name);
  mount_apply(fd, &mine, target);
  mount_attach(fd, to, target);
  close(fd);
  close(to);
  /* "cpu,cpuacct" is looked for as "cpu" and as "cpuacct" too. */
  if (strchr(h->controllers, ','))
    for (unsigned i = 0; i < mine.data_count; i++)
      if (symlinkat(name, base, data[i]) && errno != EEXIST) fail("mount", target, "making the link \"%s/%s\"", target, data[i]);
}

static void mount_v2(int to, const struct mount_options *options, const char *target) {
  struct mount_options mine = *options;
  mine.data_count = 0;
  int fd = mount_new("cgroup2", "cgroup", &mine, target);
  mount_apply(fd, &mine, target);
  mount_attach(fd, to, target);
  close(fd);
}

void mount_cgroup(int root, const char *target, const struct mount_options *options, const struct cgroups *known) {
  struct cgroups found;
  if (!known) cgroup_find(&found, "/unused");
  const struct cgroups *groups = known ? known : &found;
  int at = resolve_create(root, target, true);
  if (at < 0) fail("mount", target, "making the mount point \"%s\"", target);
  bool v1 = false;
  for (unsigned i = 0; i < groups->count; i++) v1 |= !groups->list[i].v2;
  if (!v1) {
    mount_v2(at, options, target);
    close(at);
    return;
  }
  struct mount_options tmpfs = {.data = (const char *[]){"mode=755"}, .data_count = 1,
                                .attr_set = K_ATTR_NOSUID | K_ATTR_NODEV | K_ATTR_NOEXEC};
  int base = mount_new("tmpfs", "tmpfs", &tmpfs, target);
  mount_attach(base, at, target);
  for (unsigned i = 0; i < groups->count; i++) {
    if (!groups->list[i].v2) {
      mount_v1(base, &groups->list[i], options, target);
      continue;
    }
    if (mkdirat(base, "unified", 0755)) fail("mount", target, "making the mount point \"%s/unified\"", target);
    int to = openat(base, "unified", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (to < 0) fail("mount", target, "opening the mount point \"%s/unified\"", target);
    mount_v2(to, options, target);
    close(to);
  }
  struct k_mount_attr attr = {.set = options->attr_set & K_ATTR_RDONLY};
  if (attr.set && k_mount_setattr(base, "", K_AT_EMPTY_PATH, &attr)) fail("mount", target, "making \"%s\" read-only", target);
  close(base);
  close(at);
}
