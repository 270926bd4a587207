// The end of the process, and the time since the boot.
#include <malloc.h>
#include <time.h>
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

// bootTime(): milliseconds of CLOCK_BOOTTIME, which goes on while the machine is suspended.
static napi_value js_boot_time(napi_env env, napi_callback_info info) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return make_int(env, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

// trimMemory(): malloc_trim(3), true where something was given back.
static napi_value js_trim_memory(napi_env env, napi_callback_info info) { return make_int(env, malloc_trim(0)); }

void export_process(napi_env env, napi_value exports) {
  export_function(env, exports, "exit", js_exit);
  export_function(env, exports, "bootTime", js_boot_time);
  export_function(env, exports, "trimMemory", js_trim_memory);
}
