#include "cgroup.h"
#include "failure.h"
#include "resolve.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The leaf of a v1 controller, or -1 with a warning when no hierarchy at all has it. */
static int leaf_of(const struct cgroups *groups, const char *controller, const char *wanted) {
  const struct hierarchy *h = cgroup_with(groups, controller);
  if (!h) warning("no cgroup hierarchy has the controller \"%s\": %s is not applied", controller, wanted);
  return h && !h->v2 ? h->leaf : -1;
}

void cgroup_v1_fill_cpuset(int parent, int child) {
  static const char *const knobs[] = {"cpuset.cpus", "cpuset.mems"};
  char text[512];
  for (int i = 0; i < 2; i++) {
    if (read_file(child, knobs[i], text, sizeof text) > 0 && text[0] != '\n') continue;
    if (read_file(parent, knobs[i], text, sizeof text) > 0) write_file(child, knobs[i], text);
  }
}

static void write_number(int leaf, const char *knob, const struct json *object, const char *key) {
  const struct json *value = json_get(object, key);
  if (leaf >= 0 && value) cgroup_write(leaf, knob, "%lld", (long long)json_value_integer(value));
}

static void limit_memory(const struct cgroups *groups, const struct json *memory) {
  if (!memory) return;
  int leaf = leaf_of(groups, "memory", "the memory limit");
  if (leaf < 0) return;
  /* The cgroup is new: memory first, for memory and swap together may never be below memory alone. */
  write_number(leaf, "memory.limit_in_bytes", memory, "limit");
  write_number(leaf, "memory.memsw.limit_in_bytes", memory, "swap");
  write_number(leaf, "memory.soft_limit_in_bytes", memory, "reservation");
  write_number(leaf, "memory.swappiness", memory, "swappiness");
  if (json_true(memory, "disableOOMKiller")) cgroup_write(leaf, "memory.oom_control", "1");
}

static void limit_cpu(const struct cgroups *groups, const struct json *cpu) {
  if (!cpu) return;
  if (json_get(cpu, "shares") || json_get(cpu, "quota") || json_get(cpu, "period") || json_get(cpu, "idle") ||
      json_get(cpu, "burst") || json_get(cpu, "realtimeRuntime") || json_get(cpu, "realtimePeriod")) {
    int leaf = leaf_of(groups, "cpu", "the CPU limit");
    write_number(leaf, "cpu.shares", cpu, "shares");
    write_number(leaf, "cpu.cfs_period_us", cpu, "period");
    write_number(leaf, "cpu.cfs_quota_us", cpu, "quota");
    write_number(leaf, "cpu.cfs_burst_us", cpu, "burst");
    write_number(leaf, "cpu.idle", cpu, "idle");
    write_number(leaf, "cpu.rt_period_us", cpu, "realtimePeriod");
    write_number(leaf, "cpu.rt_runtime_us", cpu, "realtimeRuntime");
  }
  const char *cpus = json_string(cpu, "cpus"), *mems = json_string(cpu, "mems");
  if ((cpus && *cpus) || (mems && *mems)) {
    int leaf = leaf_of(groups, "cpuset", "the CPU set");
    if (leaf >= 0 && cpus && *cpus) cgroup_write(leaf, "cpuset.cpus", "%s", cpus);
    if (leaf >= 0 && mems && *mems) cgroup_write(leaf, "cpuset.mems", "%s", mems);
  }
}

static void limit_rates(int leaf, const struct json *io, const char *key, const char *knob) {
  json_each(item, json_get(io, key))
    cgroup_write(leaf, knob, "%lld:%lld %lld", (long long)json_integer(item, "major", 0),
                 (long long)json_integer(item, "minor", 0), (long long)json_integer(item, "rate", 0));
}

static void limit_io(const struct cgroups *groups, const struct json *io) {
  if (!io) return;
  int leaf = leaf_of(groups, "blkio", "the block I/O limit");
  if (leaf < 0) return;
  int64_t weight = json_integer(io, "weight", 0);
  if (weight > 0) {
    /* The CFQ knob went with kernel 5.0; BFQ has one of its own where it is built in. */
    bool bfq = faccessat(leaf, "blkio.weight", W_OK, 0) != 0;
    cgroup_write(leaf, bfq ? "blkio.bfq.weight" : "blkio.weight", "%lld", (long long)weight);
  }
  json_each(item, json_get(io, "weightDevice"))
    cgroup_write(leaf, "blkio.bfq.weight_device", "%lld:%lld %lld", (long long)json_integer(item, "major", 0),
                 (long long)json_integer(item, "minor", 0), (long long)json_integer(item, "weight", 0));
  limit_rates(leaf, io, "throttleReadBpsDevice", "blkio.throttle.read_bps_device");
  limit_rates(leaf, io, "throttleWriteBpsDevice", "blkio.throttle.write_bps_device");
  limit_rates(leaf, io, "throttleReadIOPSDevice", "blkio.throttle.read_iops_device");
  limit_rates(leaf, io, "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device");
}

static void limit_huge_pages(const struct cgroups *groups, const struct json *list) {
  if (!list || !list->count) return;
  int leaf = leaf_of(groups, "hugetlb", "the huge page limit");
  if (leaf < 0) return;
  json_each(item, list) {
    char knob[64];
    const char *size = json_string(item, "pageSize");
    snprintf(knob, sizeof knob, "hugetlb.%s.limit_in_bytes", size ? size : "");
    write_number(leaf, knob, item, "limit");
  }
}

void cgroup_v1_limit(const struct cgroups *groups, const struct json *resources) {
  limit_memory(groups, json_get(resources, "memory"));
  limit_cpu(groups, json_get(resources, "cpu"));
  limit_io(groups, json_get(resources, "blockIO"));
  limit_huge_pages(groups, json_get(resources, "hugepageLimits"));
  int64_t pids = json_integer(json_get(resources, "pids"), "limit", 0);
  if (pids > 0) {
    int leaf = leaf_of(groups, "pids", "the process limit");
    if (leaf >= 0) cgroup_write(leaf, "pids.max", "%lld", (long long)pids);
  }
  const struct hierarchy *device_controller = cgroup_with(groups, "devices");
  unsigned count;
  struct device_rule *rules = device_rules(resources, &count);
  if (count && device_controller && !device_controller->v2) device_rules_v1(device_controller->leaf, rules, count);
}
