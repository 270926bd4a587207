// A job: a thread of its own, a promise for its result.
#include "addon.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

// Deep enough for the jobs here, which keep their buffers on the heap.
#define STACK_BYTES (128 * 1024)

static void on_node_thread(napi_env env, napi_value callback, void *context, void *data) {
  struct job *job = data;
  // env is NULL when Node is ending: nobody waits for the result any more.
  if (env) {
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    napi_resolve_deferred(env, job->deferred, job->result(env, job));
    napi_close_handle_scope(env, scope);
  }
  job->free(job);
}

static void *on_own_thread(void *data) {
  struct job *job = data;
  napi_threadsafe_function done = job->done;
  job->run(job);
  if (napi_call_threadsafe_function(done, job, napi_tsfn_blocking) != napi_ok) job->free(job);
  napi_release_threadsafe_function(done, napi_tsfn_release);
  return NULL;
}

napi_value job_start(napi_env env, struct job *job) {
  napi_value promise, name;
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;
  int failed;

  napi_create_promise(env, &job->deferred, &promise);
  napi_create_string_utf8(env, "tsswarm job", NAPI_AUTO_LENGTH, &name);
  napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, NULL, on_node_thread, &job->done);
  if (job->background) napi_unref_threadsafe_function(env, job->done);

  // Signals are Node's: the thread is born with all of them blocked.
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  failed = pthread_create(&thread, &attributes, on_own_thread, job);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, NULL);

  if (failed) {
    napi_resolve_deferred(env, job->deferred, make_int(env, -failed));
    napi_release_threadsafe_function(job->done, napi_tsfn_release);
    job->free(job);
  }
  return promise;
}
