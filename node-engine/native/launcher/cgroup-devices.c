#include "cgroup.h"
#include "failure.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct device_rule read_rule(const struct json *item) {
  struct device_rule rule = {.allow = json_true(item, "allow")};
  const char *type = json_string(item, "type"), *access = json_string(item, "access");
  rule.type = type && *type ? *type : 'a';
  if (rule.type == 'u') rule.type = 'c'; /* unbuffered: the specification's other word for a character device */
  rule.major = (int)json_integer(item, "major", -1);
  rule.minor = (int)json_integer(item, "minor", -1);
  snprintf(rule.access, sizeof rule.access, "%s", access && *access ? access : "rwm");
  if (!device_rule_is_valid(&rule))
    fail_because(EINVAL, "cgroup", "devices", "reading linux.resources.devices: type \"%s\", access \"%s\"",
                 type ? type : "", access ? access : "");
  return rule;
}

struct device_rule *device_rules(const struct json *resources, unsigned *count) {
  const struct json *list = json_get(resources, "devices");
  *count = 0;
  if (!list || !list->count) return NULL;
  struct device_rule *rules = json_allocate((list->count + DEVICE_BASE_RULES) * sizeof *rules);
  unsigned n = 0;
  json_each(item, list) rules[n++] = read_rule(item);
  *count = device_rules_complete(rules, n);
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

void device_rules_v2(int leaf, const struct device_rule *rules, unsigned count) {
  int program = device_program_load(rules, count);
  if (program >= 0 && !device_program_attach(leaf, program, -1)) {
    close(program);
    return;
  }
  if (errno != ENOSYS && errno != EINVAL) fail("cgroup", "devices", "loading the device rules");
  warning("this kernel has no device control groups: the device rules are not applied");
}
