#include "cgroup.h"
#include "failure.h"
#include "resolve.h"
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What every container may do: make any node, and use the harmless ones, terminals included (the runtime specification's
   default devices, and Docker's mknod rules). */
static const struct device_rule BASE[] = {
    {true, 'c', -1, -1, "m"},  {true, 'b', -1, -1, "m"},  {true, 'c', 1, 3, "rwm"},   {true, 'c', 1, 5, "rwm"},
    {true, 'c', 1, 7, "rwm"},  {true, 'c', 1, 8, "rwm"},  {true, 'c', 1, 9, "rwm"},   {true, 'c', 5, 0, "rwm"},
    {true, 'c', 5, 1, "rwm"},  {true, 'c', 5, 2, "rwm"},  {true, 'c', 136, -1, "rwm"},
};
enum { BASE_COUNT = sizeof BASE / sizeof *BASE };

static struct device_rule read_rule(const struct json *item) {
  struct device_rule rule = {.allow = json_true(item, "allow")};
  const char *type = json_string(item, "type"), *access = json_string(item, "access");
  rule.type = type && *type ? *type : 'a';
  if (rule.type == 'u') rule.type = 'c'; /* unbuffered: the specification's other word for a character device */
  rule.major = (int)json_integer(item, "major", -1);
  rule.minor = (int)json_integer(item, "minor", -1);
  snprintf(rule.access, sizeof rule.access, "%s", access && *access ? access : "rwm");
  if (!strchr("abc", rule.type) || strspn(rule.access, "rwm") != strlen(rule.access))
    fail_because(EINVAL, "cgroup", "devices", "reading linux.resources.devices: type \"%s\", access \"%s\"",
                 type ? type : "", access ? access : "");
  return rule;
}

struct device_rule *device_rules(const struct json *resources, unsigned *count) {
  const struct json *list = json_get(resources, "devices");
  *count = 0;
  if (!list || !list->count) return NULL;
  unsigned most = list->count + BASE_COUNT;
  struct device_rule *rules = json_allocate(most * sizeof *rules);
  bool denies_all = false;
  unsigned n = 0;
  /* The base set follows the first "deny all", so that a later rule may still take something away. */
  json_each(item, list) {
    struct device_rule rule = rules[n++] = read_rule(item);
    if (!denies_all && !rule.allow && rule.type == 'a' && rule.major < 0) {
      denies_all = true;
      memcpy(rules + n, BASE, sizeof BASE);
      n += BASE_COUNT;
    }
  }
  *count = n;
  return rules;
}

void device_rules_v1(int leaf, const struct device_rule *rules, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    const struct device_rule *rule = &rules[i];
    const char *knob = rule->allow ? "devices.allow" : "devices.deny";
    char major[16] = "*", minor[16] = "*";
    if (rule->major >= 0) snprintf(major, sizeof major, "%d", rule->major);
    if (rule->minor >= 0) snprintf(minor, sizeof minor, "%d", rule->minor);
    if (rule->type == 'a' && rule->major < 0 && rule->minor < 0) cgroup_write(leaf, knob, "a");
    else cgroup_write(leaf, knob, "%c %s:%s %s", rule->type, major, minor, rule->access);
  }
}

static struct bpf_insn *emit(struct bpf_insn *at, uint8_t code, uint8_t to, uint8_t from, int16_t jump, int32_t value) {
  *at = (struct bpf_insn){.code = code, .dst_reg = to, .src_reg = from, .off = jump, .imm = value};
  return at + 1;
}

/* One rule: jumps to the next when type, access, major or minor do not match, else returns its verdict.
   Registers: r2 type, r3 access, r4 major, r5 minor. Emitted in two passes so that each jump knows its length. */
static struct bpf_insn *emit_rule(struct bpf_insn *at, const struct device_rule *rule) {
  int access = 0;
  for (const char *c = rule->access; *c; c++)
    access |= *c == 'r' ? BPF_DEVCG_ACC_READ : *c == 'w' ? BPF_DEVCG_ACC_WRITE : BPF_DEVCG_ACC_MKNOD;
  int all = BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE | BPF_DEVCG_ACC_MKNOD;
  bool by_type = rule->type != 'a', by_access = access != all;
  int length = by_type + 3 * by_access + (rule->major >= 0) + (rule->minor >= 0) + 2;
  struct bpf_insn *end = at + length;
  const uint8_t unless = BPF_JMP | BPF_JNE | BPF_K;
  if (by_type) {
    int type = rule->type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK;
    at = emit(at, unless, BPF_REG_2, 0, (int16_t)(end - at - 1), type);
  }
  if (by_access) {
    /* An allow rule must cover all that is asked; a deny rule bites when it covers any of it. */
    at = emit(at, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
    at = emit(at, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_1, 0, 0, rule->allow ? all & ~access : access);
    at = emit(at, rule->allow ? unless : BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_1, 0, (int16_t)(end - at - 1), 0);
  }
  if (rule->major >= 0) at = emit(at, unless, BPF_REG_4, 0, (int16_t)(end - at - 1), rule->major);
  if (rule->minor >= 0) at = emit(at, unless, BPF_REG_5, 0, (int16_t)(end - at - 1), rule->minor);
  at = emit(at, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, rule->allow);
  return emit(at, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

void device_rules_v2(int leaf, const struct device_rule *rules, unsigned count) {
  struct bpf_insn *program = json_allocate((count * 9 + 10) * sizeof *program), *at = program;
  const uint8_t load = BPF_LDX | BPF_MEM | BPF_W;
  at = emit(at, load, BPF_REG_2, BPF_REG_1, 0, 0); /* access_type: kind in the low half, access in the high */
  at = emit(at, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
  at = emit(at, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
  at = emit(at, BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
  at = emit(at, load, BPF_REG_4, BPF_REG_1, 4, 0);
  at = emit(at, load, BPF_REG_5, BPF_REG_1, 8, 0);
  /* The last matching rule decides: they are tried backwards. */
  bool decided = false;
  for (unsigned i = count; i-- > 0 && !decided;) {
    at = emit_rule(at, &rules[i]);
    /* The kernel refuses a program with instructions that cannot be reached. */
    decided = rules[i].type == 'a' && rules[i].major < 0 && rules[i].minor < 0 && !strcmp(rules[i].access, "rwm");
  }
  if (!decided) {
    at = emit(at, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1);
    at = emit(at, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  }
  union bpf_attr load_attr = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
                              .insn_cnt = (uint32_t)(at - program),
                              .insns = (uint64_t)(uintptr_t)program,
                              .license = (uint64_t)(uintptr_t) "Apache-2.0"};
  int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load_attr, sizeof load_attr);
  union bpf_attr attach = {.target_fd = (uint32_t)leaf,
                           .attach_bpf_fd = (uint32_t)fd,
                           .attach_type = BPF_CGROUP_DEVICE,
                           .attach_flags = BPF_F_ALLOW_MULTI};
  if (fd >= 0 && !syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach)) {
    close(fd);
    return;
  }
  if (errno != ENOSYS && errno != EINVAL) fail("cgroup", "devices", "loading the device rules");
  warning("this kernel has no device control groups: the device rules are not applied");
}
