// The addon's shared parts: arguments in, values out. A function that fails returns a negative errno to TypeScript, which
// makes the error from it (addon.ts): so errors look the same everywhere and C carries no texts.
#ifndef TSSWARM_ADDON_H
#define TSSWARM_ADDON_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_ARGS 8

// Netlink ports of the sockets by which this process changes rules: beyond any process id, and not among those that the kernel chooses.
#define OWN_PORTS 0x74730000u
#define OWN_PORTS_MASK 0xffffu

struct args {
  napi_env env;
  size_t count;
  napi_value value[MAX_ARGS];
  char *owned[MAX_ARGS];
  size_t owned_count;
  bool bad;
};

// Takes the arguments of a call; args_free gives back what arg_text and arg_copy made.
void args_take(struct args *args, napi_env env, napi_callback_info info);
void args_free(struct args *args);
// Throws a TypeError if an argument had the wrong type; true if so.
bool args_bad(struct args *args);

// A zero-terminated copy of a string or Buffer (a path need not be UTF-8); NULL for undefined or null. Lives until args_free.
const char *arg_text(struct args *args, size_t index);
// A string or Buffer in memory of the caller's, zero-terminated; NULL for undefined or null.
char *value_copy(napi_env env, napi_value value, size_t *length);
int64_t arg_int(struct args *args, size_t index);
int64_t arg_bigint(struct args *args, size_t index);

napi_value make_int(napi_env env, int64_t value);
// 0 or more as it is, -1 as negative errno.
napi_value make_result(napi_env env, int64_t result);
napi_value make_buffer(napi_env env, const void *data, size_t length);
void set_named(napi_env env, napi_value object, const char *name, napi_value value);
void export_function(napi_env env, napi_value exports, const char *name, napi_callback callback);

// Work on a thread of its own, which ends afterwards: it may enter other namespaces without spoiling a thread of Node's.
struct job {
  // On the new thread. Must not touch the JavaScript engine.
  void (*run)(struct job *job);
  // On Node's thread: what the promise resolves to.
  napi_value (*result)(napi_env env, struct job *job);
  void (*free)(struct job *job);
  // The process may end while it runs.
  bool background;
  napi_deferred deferred;
  napi_threadsafe_function done;
};

// Starts the job and returns its promise. The job is freed in the end, also on failure.
napi_value job_start(napi_env env, struct job *job);

void export_container(napi_env env, napi_value exports);
void export_devices(napi_env env, napi_value exports);
void export_filesystem(napi_env env, napi_value exports);
void export_network(napi_env env, napi_value exports);
void export_process(napi_env env, napi_value exports);
void export_watch(napi_env env, napi_value exports);
void export_program(napi_env env, napi_value exports);

#endif
