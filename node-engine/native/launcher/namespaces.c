#include "namespaces.h"
#include "failure.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
  const char *name;
  unsigned long flag;
} KINDS[] = {{"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID},         {"uts", CLONE_NEWUTS},
             {"ipc", CLONE_NEWIPC},  {"network", CLONE_NEWNET}, {"cgroup", CLONE_NEWCGROUP}};
enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS };

static void join(struct namespaces *n, const char *path, int kind, const char *name) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("namespace", path, "opening the %s namespace \"%s\"", name, path);
  int found = ioctl(fd, NS_GET_NSTYPE);
  if (found != kind) fail_because(EINVAL, "namespace", path, "opening the %s namespace \"%s\": it is not one", name, path);
  if (kind == CLONE_NEWPID) {
    n->join_pid = fd;
    return;
  }
  n->join[n->join_count] = fd;
  n->join_kind[n->join_count++] = kind;
}

void namespaces_read(const struct json *config, struct namespaces *n) {
  *n = (struct namespaces){.join_pid = -1};
  unsigned long seen = 0;
  json_each(item, json_get(json_get(config, "linux"), "namespaces")) {
    const char *type = json_string(item, "type"), *path = json_string(item, "path");
    unsigned i = 0;
    while (i < KIND_COUNT && (!type || strcmp(type, KINDS[i].name))) i++;
    if (i == KIND_COUNT)
      fail_because(EINVAL, "namespace", type, "reading linux.namespaces: the type \"%s\" is not supported", type ? type : "");
    if (seen & KINDS[i].flag)
      fail_because(EINVAL, "namespace", type, "reading linux.namespaces: \"%s\" is there twice", type);
    seen |= KINDS[i].flag;
    if (path && *path) {
      if (KINDS[i].flag == CLONE_NEWNS)
        fail_because(EINVAL, "namespace", path, "reading linux.namespaces: a mount namespace cannot be joined");
      join(n, path, (int)KINDS[i].flag, type);
    } else if (KINDS[i].flag == CLONE_NEWCGROUP) {
      n->new_cgroup = true;
    } else {
      n->clone_flags |= KINDS[i].flag;
    }
  }
  if (!(n->clone_flags & CLONE_NEWNS))
    fail_because(EINVAL, "namespace", "mount", "reading linux.namespaces: a new mount namespace is needed");
}

bool namespaces_own(const struct namespaces *n, unsigned long kind) {
  if (n->clone_flags & kind || (kind == CLONE_NEWCGROUP && n->new_cgroup)) return true;
  for (unsigned i = 0; i < n->join_count; i++)
    if ((unsigned long)n->join_kind[i] == kind) return true;
  return false;
}

static void bring_loopback_up(void) {
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request)) fail("namespace", "lo", "bringing the loopback interface up");
  close(fd);
}

void namespaces_enter(const struct namespaces *n, const struct json *config) {
  for (unsigned i = 0; i < n->join_count; i++) {
    if (setns(n->join[i], n->join_kind[i])) fail("namespace", NULL, "joining a namespace");
    close(n->join[i]);
  }
  if (n->new_cgroup && unshare(CLONE_NEWCGROUP)) fail("namespace", "cgroup", "making the cgroup namespace");
  if (n->clone_flags & CLONE_NEWNET) bring_loopback_up();
  const char *hostname = json_string(config, "hostname"), *domain = json_string(config, "domainname");
  if (((hostname && *hostname) || (domain && *domain)) && !namespaces_own(n, CLONE_NEWUTS))
    fail_because(EINVAL, "namespace", "uts", "setting the host name \"%s\": the container has no uts namespace of its own", hostname ? hostname : domain);
  if (hostname && *hostname && sethostname(hostname, strlen(hostname)))
    fail("namespace", "uts", "setting the host name \"%s\"", hostname);
  if (domain && *domain && setdomainname(domain, strlen(domain)))
    fail("namespace", "uts", "setting the domain name \"%s\"", domain);
}
