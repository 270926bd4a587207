#include "failure.h"
#include "process.h"
#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In the order of their numbers (linux/capability.h). */
static const char *const NAMES[] = {
    "CHOWN",         "DAC_OVERRIDE",    "DAC_READ_SEARCH", "FOWNER",       "FSETID",         "KILL",
    "SETGID",        "SETUID",          "SETPCAP",         "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST",
    "NET_ADMIN",     "NET_RAW",         "IPC_LOCK",        "IPC_OWNER",    "SYS_MODULE",     "SYS_RAWIO",
    "SYS_CHROOT",    "SYS_PTRACE",      "SYS_PACCT",       "SYS_ADMIN",    "SYS_BOOT",       "SYS_NICE",
    "SYS_RESOURCE",  "SYS_TIME",        "SYS_TTY_CONFIG",  "MKNOD",        "LEASE",          "AUDIT_WRITE",
    "AUDIT_CONTROL", "SETFCAP",         "MAC_OVERRIDE",    "MAC_ADMIN",    "SYSLOG",         "WAKE_ALARM",
    "BLOCK_SUSPEND", "AUDIT_READ",      "PERFMON",         "BPF",          "CHECKPOINT_RESTORE"};
enum { NAME_COUNT = sizeof NAMES / sizeof *NAMES };

static uint64_t permitted(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data)) fail("capabilities", NULL, "reading the capabilities");
  return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

static void apply(uint64_t effective, uint64_t allowed, uint64_t inheritable) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  for (int i = 0; i < 2; i++)
    data[i] = (struct __user_cap_data_struct){(uint32_t)(effective >> (32 * i)), (uint32_t)(allowed >> (32 * i)),
                                              (uint32_t)(inheritable >> (32 * i))};
  if (syscall(SYS_capset, &header, data)) fail("capabilities", NULL, "setting the capabilities");
}

static uint64_t read_set(const struct json *capabilities, const char *set) {
  uint64_t mask = 0;
  for (char **name = json_strings(capabilities, set, NULL); *name; name++) {
    unsigned i = 0;
    while (i < NAME_COUNT && (strncmp(*name, "CAP_", 4) || strcmp(*name + 4, NAMES[i]))) i++;
    if (i == NAME_COUNT)
      fail_because(EINVAL, "capabilities", *name, "reading the capabilities: \"%s\" is unknown", *name);
    mask |= 1ULL << i;
  }
  return mask;
}

void capabilities_bound(const struct json *capabilities) {
  uint64_t wanted = read_set(capabilities, "bounding"), have = permitted(), lacking = wanted & ~have;
  for (unsigned i = 0; i < NAME_COUNT; i++)
    if (lacking & 1ULL << i) warning("this machine does not have the capability \"CAP_%s\": the container starts without it", NAMES[i]);
  for (int i = 0; i < 64; i++) {
    if (prctl(PR_CAPBSET_READ, i) < 0) break; /* above the newest one that the kernel knows */
    if (!(wanted & have & 1ULL << i) && prctl(PR_CAPBSET_DROP, i))
      fail("capabilities", NULL, "dropping a capability from the bounding set");
  }
}

void capabilities_raise(void) {
  uint64_t have = permitted();
  apply(have, have, 0);
}

void capabilities_set(const struct json *capabilities) {
  uint64_t have = permitted();
  uint64_t allowed = read_set(capabilities, "permitted") & have;
  uint64_t inheritable = read_set(capabilities, "inheritable") & have & read_set(capabilities, "bounding");
  uint64_t ambient = read_set(capabilities, "ambient") & allowed & inheritable;
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
    fail("capabilities", NULL, "clearing the ambient capabilities");
  apply(read_set(capabilities, "effective") & allowed, allowed, inheritable);
  for (int i = 0; i < 64; i++)
    if (ambient & 1ULL << i && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0))
      fail("capabilities", NULL, "raising an ambient capability");
}
