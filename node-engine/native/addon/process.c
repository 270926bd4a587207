// The end of the process.
#include <unistd.h>

#include "addon.h"

// exit(code): _exit(2). Does not return.
static napi_value js_exit(napi_env env, napi_callback_info info) {
  struct args args;
  args_take(&args, env, info);
  int64_t code = arg_int(&args, 0);
  if (!args_bad(&args)) _exit((int)code);
  args_free(&args);
  return NULL;
}

void export_process(napi_env env, napi_value exports) { export_function(env, exports, "exit", js_exit); }
