// Registration of the addon and the handling of arguments and values.
#include "addon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void args_take(struct args *args, napi_env env, napi_callback_info info) {
  memset(args, 0, sizeof *args);
  args->env = env;
  args->count = MAX_ARGS;
  if (napi_get_cb_info(env, info, &args->count, args->value, NULL, NULL) != napi_ok) args->bad = true;
}

void args_free(struct args *args) {
  for (size_t i = 0; i < args->owned_count; i++) free(args->owned[i]);
}

bool args_bad(struct args *args) {
  if (args->bad) napi_throw_type_error(args->env, NULL, "tsswarm addon: wrong type or number of arguments");
  return args->bad;
}

static bool is_nothing(napi_env env, napi_value value) {
  napi_valuetype type;
  return napi_typeof(env, value, &type) != napi_ok || type == napi_undefined || type == napi_null;
}

char *value_copy(napi_env env, napi_value value, size_t *length) {
  bool is_buffer = false;
  size_t size = 0;
  char *copy;
  *length = 0;
  if (is_nothing(env, value)) return NULL;
  napi_is_buffer(env, value, &is_buffer);
  if (is_buffer) {
    void *data;
    if (napi_get_buffer_info(env, value, &data, &size) != napi_ok) return NULL;
    copy = malloc(size + 1);
    if (!copy) return NULL;
    if (size) memcpy(copy, data, size);
    copy[size] = 0;
  } else {
    if (napi_get_value_string_utf8(env, value, NULL, 0, &size) != napi_ok) return NULL;
    copy = malloc(size + 1);
    if (!copy) return NULL;
    napi_get_value_string_utf8(env, value, copy, size + 1, &size);
  }
  *length = size;
  return copy;
}

const char *arg_text(struct args *args, size_t index) {
  size_t length;
  if (index >= args->count || is_nothing(args->env, args->value[index])) return NULL;
  char *copy = value_copy(args->env, args->value[index], &length);
  // A zero byte inside would cut the path short behind the caller's back.
  if (!copy || strlen(copy) != length) {
    free(copy);
    args->bad = true;
    return NULL;
  }
  args->owned[args->owned_count++] = copy;
  return copy;
}

int64_t arg_int(struct args *args, size_t index) {
  int64_t value = 0;
  if (index >= args->count || napi_get_value_int64(args->env, args->value[index], &value) != napi_ok) args->bad = true;
  return value;
}

int64_t arg_bigint(struct args *args, size_t index) {
  int64_t value = 0;
  bool lossless = false;
  if (index >= args->count || napi_get_value_bigint_int64(args->env, args->value[index], &value, &lossless) != napi_ok ||
      !lossless)
    args->bad = true;
  return value;
}

napi_value make_int(napi_env env, int64_t value) {
  napi_value result;
  napi_create_int64(env, value, &result);
  return result;
}

napi_value make_result(napi_env env, int64_t result) { return make_int(env, result < 0 ? -(int64_t)errno : result); }

napi_value make_buffer(napi_env env, const void *data, size_t length) {
  napi_value result;
  napi_create_buffer_copy(env, length, data, NULL, &result);
  return result;
}

void set_named(napi_env env, napi_value object, const char *name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

void export_function(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, NULL, &function);
  set_named(env, exports, name, function);
}

NAPI_MODULE_INIT() {
  export_container(env, exports);
  export_devices(env, exports);
  export_filesystem(env, exports);
  export_network(env, exports);
  export_process(env, exports);
  export_watch(env, exports);
  export_program(env, exports);
  return exports;
}
