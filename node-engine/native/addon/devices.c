// Rights to devices of a container that runs, where version 2 of the control groups keeps them in a program.
#include "addon.h"

#include "../launcher/device-program.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void close_keeping_errno(int fd) {
  int error = errno;
  if (fd >= 0) close(fd);
  errno = error;
}

// "+ c 10 237 rw", a rule a line; -1 is every number. The descriptor of their program.
static int load(const char *text) {
  unsigned most = DEVICE_BASE_RULES + 1, count = 0;
  for (const char *at = text; *at; at++) most += *at == '\n';
  struct device_rule *rules = calloc(most, sizeof *rules);
  if (!rules) return -1;
  for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
    struct device_rule *rule = &rules[count++];
    char sign;
    if (sscanf(line, "%c %c %d %d %3s", &sign, &rule->type, &rule->major, &rule->minor, rule->access) != 5 ||
        !device_rule_is_valid(rule)) {
      free(rules);
      return errno = EINVAL, -1;
    }
    rule->allow = sign == '+';
  }
  int program = device_program_load(rules, device_rules_complete(rules, count));
  int error = errno;
  free(rules);
  errno = error;
  return program;
}

static int open_group(const char *path) { return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); }

// The tag of a program in hexadecimal digits, or a negative errno; the descriptor is closed.
static napi_value make_tag(napi_env env, int program) {
  unsigned char tag[DEVICE_TAG_BYTES];
  char text[2 * DEVICE_TAG_BYTES + 1] = "";
  int result = program < 0 ? -1 : device_program_tag(program, tag);
  close_keeping_errno(program);
  if (result < 0) return make_result(env, result);
  for (int i = 0; i < DEVICE_TAG_BYTES; i++) snprintf(text + 2 * i, 3, "%02x", tag[i]);
  napi_value value;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  return value;
}

// deviceProgramTag(rules): of the program that these rules would be.
static napi_value js_tag(napi_env env, napi_callback_info info) {
  struct args args;
  args_take(&args, env, info);
  const char *rules = arg_text(&args, 0);
  if (!rules) args.bad = true;
  napi_value value = args_bad(&args) ? NULL : make_tag(env, load(rules));
  args_free(&args);
  return value;
}

// attachedDeviceProgram(cgroup): the tag of ours; -ENOENT: there is none.
static napi_value js_attached(napi_env env, napi_callback_info info) {
  struct args args;
  args_take(&args, env, info);
  const char *path = arg_text(&args, 0);
  if (!path) args.bad = true;
  napi_value value = NULL;
  if (!args_bad(&args)) {
    int cgroup = open_group(path);
    // A group that is not there is an error of another kind.
    if (cgroup < 0 && errno == ENOENT) errno = ENOTDIR;
    int program = cgroup < 0 ? -1 : device_program_find(cgroup);
    close_keeping_errno(cgroup);
    value = make_tag(env, program);
  }
  args_free(&args);
  return value;
}

// attachDeviceProgram(cgroup, rules): in place of ours that is there.
static napi_value js_attach(napi_env env, napi_callback_info info) {
  struct args args;
  args_take(&args, env, info);
  const char *path = arg_text(&args, 0), *rules = arg_text(&args, 1);
  if (!path || !rules) args.bad = true;
  napi_value value = NULL;
  if (!args_bad(&args)) {
    int cgroup = open_group(path), old = cgroup < 0 ? -1 : device_program_find(cgroup);
    bool good = cgroup >= 0 && (old >= 0 || errno == ENOENT);
    int fresh = good ? load(rules) : -1;
    value = make_result(env, fresh < 0 ? -1 : device_program_attach(cgroup, fresh, old));
    for (int i = 0; i < 3; i++) close_keeping_errno((int[]){cgroup, old, fresh}[i]);
  }
  args_free(&args);
  return value;
}

void export_devices(napi_env env, napi_value exports) {
  export_function(env, exports, "deviceProgramTag", js_tag);
  export_function(env, exports, "attachedDeviceProgram", js_attached);
  export_function(env, exports, "attachDeviceProgram", js_attach);
}
