#include "failure.h"
#include "kernel.h"
#include "mount.h"
#include "namespaces.h"
#include "resolve.h"
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* Anything else is one value for the whole machine (sysctl(5), namespaces(7)). */
static bool is_namespaced(const char *name, const struct namespaces *n) {
  static const char *const ipc[] = {"kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall",
                                    "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced"};
  if (!strncmp(name, "net/", 4)) return namespaces_own(n, CLONE_NEWNET);
  if (!strncmp(name, "fs/mqueue/", 10)) return namespaces_own(n, CLONE_NEWIPC);
  for (size_t i = 0; i < sizeof ipc / sizeof *ipc; i++)
    if (!strcmp(name, ipc[i])) return namespaces_own(n, CLONE_NEWIPC);
  return !strcmp(name, "kernel/domainname") && namespaces_own(n, CLONE_NEWUTS);
}

void sysctl_write(const struct json *config, const struct namespaces *namespaces) {
  const struct json *list = json_get(json_get(config, "linux"), "sysctl");
  if (!list || !list->first) return;
  /* A procfs of our own: what the image has at /proc cannot redirect the write. */
  int proc = mount_new("proc", "proc", NULL, "proc");
  json_each(item, list) {
    char path[256] = "sys/", *name = path + 4;
    if (item->type != JSON_STRING || strlen(item->key) > 200)
      fail_because(EINVAL, "sysctl", item->key, "reading linux.sysctl: the value of \"%s\" is not a string", item->key);
    strcpy(name, item->key);
    /* "net.ipv4.conf.eth0/1.forwarding": where dots separate, a slash stands for a dot in a name (sysctl(8)). */
    if (strchr(name, '.') && strcspn(name, ".") < strcspn(name, "/"))
      for (char *c = name; *c; c++) *c = *c == '.' ? '/' : *c == '/' ? '.' : *c;
    if (strstr(name, "..") || !is_namespaced(name, namespaces))
      fail_because(EPERM, "sysctl", item->key, "setting the sysctl \"%s\": it belongs to the host or to a namespace that the container shares", item->key);
    if (write_file(proc, path, item->string)) fail("sysctl", item->key, "setting the sysctl \"%s\" to \"%s\"", item->key, item->string);
  }
  close(proc);
}
