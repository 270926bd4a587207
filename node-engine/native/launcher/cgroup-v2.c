#include "cgroup.h"
#include "failure.h"
#include "resolve.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const CONTROLLERS[] = {"cpu", "cpuset", "io", "memory", "pids", "hugetlb"};

/* In hybrid mode a controller that a v1 hierarchy has is not ours here; hugetlb alone is not worth touching the root for. */
static bool is_here(const struct cgroups *groups, const struct hierarchy *v2, const char *controller) {
  return cgroup_with(groups, controller) == v2;
}

void cgroup_v2_enable(const struct cgroups *groups, const struct hierarchy *v2, int dir) {
  bool unified = is_here(groups, v2, "memory") || is_here(groups, v2, "cpu") || is_here(groups, v2, "pids");
  if (!unified) return;
  char enabled[256] = "";
  read_file(dir, "cgroup.subtree_control", enabled, sizeof enabled);
  for (unsigned i = 0; i < sizeof CONTROLLERS / sizeof *CONTROLLERS; i++) {
    char word[32];
    if (!is_here(groups, v2, CONTROLLERS[i]) || cgroup_list_has(enabled, CONTROLLERS[i])) continue;
    snprintf(word, sizeof word, "+%s", CONTROLLERS[i]);
    /* One at a time: one that cannot be enabled here must not hold the others back; its knob then warns. */
    write_file(dir, "cgroup.subtree_control", word);
  }
}

static void write_limit(int leaf, const char *knob, int64_t value) {
  if (value < 0) cgroup_write(leaf, knob, "max");
  else cgroup_write(leaf, knob, "%lld", (long long)value);
}

static void limit_memory(int leaf, const struct json *memory) {
  int64_t limit = json_integer(memory, "limit", 0), swap = json_integer(memory, "swap", 0);
  if (limit) write_limit(leaf, "memory.max", limit);
  /* OCI's swap is memory and swap together, version 2 counts swap alone. */
  if (swap < 0) write_limit(leaf, "memory.swap.max", -1);
  else if (swap && limit > 0 && swap >= limit) write_limit(leaf, "memory.swap.max", swap - limit);
  int64_t reservation = json_integer(memory, "reservation", 0);
  if (reservation) write_limit(leaf, "memory.low", reservation);
}

static void limit_cpu(int leaf, const struct json *cpu) {
  int64_t shares = json_integer(cpu, "shares", 0);
  if (shares) {
    if (shares < 2) shares = 2;
    if (shares > 262144) shares = 262144;
    cgroup_write(leaf, "cpu.weight", "%lld", (long long)(1 + (shares - 2) * 9999 / 262142));
  }
  int64_t quota = json_integer(cpu, "quota", 0), period = json_integer(cpu, "period", 100000);
  if (quota > 0) cgroup_write(leaf, "cpu.max", "%lld %lld", (long long)quota, (long long)period);
  else if (quota < 0) cgroup_write(leaf, "cpu.max", "max");
  if (json_get(cpu, "burst")) write_limit(leaf, "cpu.max.burst", json_integer(cpu, "burst", 0));
  if (json_get(cpu, "idle")) write_limit(leaf, "cpu.idle", json_integer(cpu, "idle", 0));
}

static void limit_rates(int leaf, const struct json *io, const char *key, const char *name) {
  json_each(item, json_get(io, key))
    cgroup_write(leaf, "io.max", "%lld:%lld %s=%lld", (long long)json_integer(item, "major", 0),
                 (long long)json_integer(item, "minor", 0), name, (long long)json_integer(item, "rate", 0));
}

static void limit_io(int leaf, const struct json *io) {
  int64_t weight = json_integer(io, "weight", 0);
  if (weight > 0) {
    bool bfq = faccessat(leaf, "io.bfq.weight", W_OK, 0) == 0;
    /* blkio's 10..1000 is BFQ's own scale; io.weight runs from 1 to 10000. */
    if (bfq) cgroup_write(leaf, "io.bfq.weight", "%lld", (long long)weight);
    else cgroup_write(leaf, "io.weight", "%lld", (long long)(1 + (weight - 10) * 9999 / 990));
  }
  json_each(item, json_get(io, "weightDevice")) {
    bool bfq = faccessat(leaf, "io.bfq.weight", W_OK, 0) == 0;
    long long own = (long long)json_integer(item, "weight", 0);
    cgroup_write(leaf, bfq ? "io.bfq.weight" : "io.weight", "%lld:%lld %lld", (long long)json_integer(item, "major", 0),
                 (long long)json_integer(item, "minor", 0), bfq ? own : 1 + (own - 10) * 9999 / 990);
  }
  limit_rates(leaf, io, "throttleReadBpsDevice", "rbps");
  limit_rates(leaf, io, "throttleWriteBpsDevice", "wbps");
  limit_rates(leaf, io, "throttleReadIOPSDevice", "riops");
  limit_rates(leaf, io, "throttleWriteIOPSDevice", "wiops");
}

static void limit_huge_pages(int leaf, const struct json *list) {
  json_each(item, list) {
    char knob[64];
    const char *size = json_string(item, "pageSize");
    snprintf(knob, sizeof knob, "hugetlb.%s.max", size ? size : "");
    write_limit(leaf, knob, json_integer(item, "limit", 0));
  }
}

void cgroup_v2_limit(const struct cgroups *groups, const struct hierarchy *v2, const struct json *resources) {
  const struct json *memory = json_get(resources, "memory"), *cpu = json_get(resources, "cpu");
  const struct json *io = json_get(resources, "blockIO");
  if (memory && is_here(groups, v2, "memory")) limit_memory(v2->leaf, memory);
  if (cpu && is_here(groups, v2, "cpu")) limit_cpu(v2->leaf, cpu);
  if (cpu && is_here(groups, v2, "cpuset")) {
    const char *cpus = json_string(cpu, "cpus"), *mems = json_string(cpu, "mems");
    if (cpus && *cpus) cgroup_write(v2->leaf, "cpuset.cpus", "%s", cpus);
    if (mems && *mems) cgroup_write(v2->leaf, "cpuset.mems", "%s", mems);
  }
  if (io && is_here(groups, v2, "io")) limit_io(v2->leaf, io);
  int64_t pids = json_integer(json_get(resources, "pids"), "limit", 0);
  if (pids > 0 && is_here(groups, v2, "pids")) write_limit(v2->leaf, "pids.max", pids);
  if (is_here(groups, v2, "hugetlb")) limit_huge_pages(v2->leaf, json_get(resources, "hugepageLimits"));
  json_each(item, json_get(resources, "unified")) {
    if (item->type != JSON_STRING || strchr(item->key, '/'))
      fail_because(EINVAL, "cgroup", item->key, "reading linux.resources.unified: \"%s\" is no knob", item->key);
    cgroup_write(v2->leaf, item->key, "%s", item->string);
  }
  const struct hierarchy *v1_devices = cgroup_with(groups, "devices");
  unsigned count;
  struct device_rule *rules = device_rules(resources, &count);
  if (count && !v1_devices) device_rules_v2(v2->leaf, rules, count);
}
