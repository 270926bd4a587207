#include "device-program.h"
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By it ours is told from another's, such as systemd's ("sd_devices"). Ours of before there was a name have none. */
static const char NAME[BPF_OBJ_NAME_LEN] = "tsswarm_devices";
/* The kernel attaches no more to one control group (BPF_CGROUP_MAX_PROGS). */
enum { MOST_PROGRAMS = 64 };

/* What every container may do: make any node, and use the harmless ones, terminals included (the runtime specification's
   default devices, and Docker's mknod rules). */
static const struct device_rule BASE[DEVICE_BASE_RULES] = {
    {true, 'c', -1, -1, "m"},  {true, 'b', -1, -1, "m"},  {true, 'c', 1, 3, "rwm"},   {true, 'c', 1, 5, "rwm"},
    {true, 'c', 1, 7, "rwm"},  {true, 'c', 1, 8, "rwm"},  {true, 'c', 1, 9, "rwm"},   {true, 'c', 5, 0, "rwm"},
    {true, 'c', 5, 1, "rwm"},  {true, 'c', 5, 2, "rwm"},  {true, 'c', 136, -1, "rwm"},
};

unsigned device_rules_complete(struct device_rule *rules, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    if (rules[i].allow || rules[i].type != 'a' || rules[i].major >= 0) continue;
    /* Right behind it, so that a later rule may still take something away. */
    memmove(rules + i + 1 + DEVICE_BASE_RULES, rules + i + 1, (count - i - 1) * sizeof *rules);
    memcpy(rules + i + 1, BASE, sizeof BASE);
    return count + DEVICE_BASE_RULES;
  }
  return count;
}

bool device_rule_is_valid(const struct device_rule *rule) {
  return rule->type && strchr("abc", rule->type) && strspn(rule->access, "rwm") == strlen(rule->access);
}

static int bpf(int command, union bpf_attr *attr) { return (int)syscall(SYS_bpf, command, attr, sizeof *attr); }

static struct bpf_insn *emit(struct bpf_insn *at, uint8_t code, uint8_t to, uint8_t from, int16_t jump, int32_t value) {
  *at = (struct bpf_insn){.code = code, .dst_reg = to, .src_reg = from, .off = jump, .imm = value};
  return at + 1;
}

/* One rule: jumps to the next when type, access, major or minor do not match, else returns its verdict.
   Registers: r2 type, r3 access, r4 major, r5 minor. The length is known before, so that each jump knows where the end is. */
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

/* Returns behind the last instruction. */
static struct bpf_insn *emit_rules(struct bpf_insn *at, const struct device_rule *rules, unsigned count) {
  const uint8_t load = BPF_LDX | BPF_MEM | BPF_W;
  at = emit(at, load, BPF_REG_2, BPF_REG_1, 0, 0); /* access_type: kind in the low half, access in the high */
  at = emit(at, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
  at = emit(at, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
  at = emit(at, BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
  at = emit(at, load, BPF_REG_4, BPF_REG_1, 4, 0);
  at = emit(at, load, BPF_REG_5, BPF_REG_1, 8, 0);
  /* The last matching rule decides: they are tried backwards. */
  for (unsigned i = count; i-- > 0;) {
    at = emit_rule(at, &rules[i]);
    /* The kernel refuses a program with instructions that cannot be reached. */
    if (rules[i].type == 'a' && rules[i].major < 0 && rules[i].minor < 0 && !strcmp(rules[i].access, "rwm")) return at;
  }
  at = emit(at, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1);
  return emit(at, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

int device_program_load(const struct device_rule *rules, unsigned count) {
  struct bpf_insn *program = malloc((count * 9 + 10) * sizeof *program);
  if (!program) return -1;
  union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
                         .insn_cnt = (uint32_t)(emit_rules(program, rules, count) - program),
                         .insns = (uint64_t)(uintptr_t)program,
                         .license = (uint64_t)(uintptr_t) "Apache-2.0"};
  memcpy(load.prog_name, NAME, sizeof NAME);
  int fd = bpf(BPF_PROG_LOAD, &load), error = errno;
  free(program);
  errno = error;
  return fd;
}

static int info_of(int program, struct bpf_prog_info *info) {
  *info = (struct bpf_prog_info){0};
  union bpf_attr ask = {
      .info = {.bpf_fd = (uint32_t)program, .info_len = sizeof *info, .info = (uint64_t)(uintptr_t)info}};
  return bpf(BPF_OBJ_GET_INFO_BY_FD, &ask);
}

int device_program_find(int cgroup) {
  uint32_t ids[MOST_PROGRAMS];
  union bpf_attr query = {.query = {.target_fd = (uint32_t)cgroup,
                                    .attach_type = BPF_CGROUP_DEVICE,
                                    .prog_ids = (uint64_t)(uintptr_t)ids,
                                    .prog_cnt = MOST_PROGRAMS}};
  if (bpf(BPF_PROG_QUERY, &query)) return -1;
  for (uint32_t i = 0; i < query.query.prog_cnt; i++) {
    struct bpf_prog_info info;
    union bpf_attr by_id = {.prog_id = ids[i]};
    int fd = bpf(BPF_PROG_GET_FD_BY_ID, &by_id);
    if (fd < 0 && errno == ENOENT) continue; /* gone just now */
    if (fd < 0) return -1;
    if (!info_of(fd, &info) && (!info.name[0] || !strncmp(info.name, NAME, sizeof NAME))) return fd;
    close(fd);
  }
  errno = ENOENT;
  return -1;
}

int device_program_attach(int cgroup, int program, int instead_of) {
  union bpf_attr attach = {.target_fd = (uint32_t)cgroup,
                           .attach_bpf_fd = (uint32_t)program,
                           .attach_type = BPF_CGROUP_DEVICE,
                           .attach_flags = BPF_F_ALLOW_MULTI};
  if (instead_of >= 0) {
    attach.attach_flags |= BPF_F_REPLACE;
    attach.replace_bpf_fd = (uint32_t)instead_of;
  }
  return bpf(BPF_PROG_ATTACH, &attach);
}

int device_program_tag(int program, unsigned char tag[DEVICE_TAG_BYTES]) {
  struct bpf_prog_info info;
  if (info_of(program, &info)) return -1;
  memcpy(tag, info.tag, DEVICE_TAG_BYTES);
  return 0;
}
