// A program run to its end, and one that goes on beside this process. Node's own spawn forks: it copies the page tables of the whole daemon (3 ms of CPU at 100 MiB) on
// the thread that everything else waits for, and each page that is written afterwards faults. posix_spawn(3) shares the memory
// with the child until it executes, and only this job's thread waits.
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// More than this is read and thrown away, so that the program is not held up.
#define KEPT_BYTES (1024 * 1024)

struct output {
  int fd;
  char *data;
  size_t length;
  size_t capacity;
};

struct program_job {
  struct job job;
  char *path;
  char **argv;
  char **envp;
  char *input;
  size_t input_length;
  struct output out;
  struct output err;
  int error;
  int status;
};

static void texts_free(char **texts) {
  for (size_t i = 0; texts && texts[i]; i++) free(texts[i]);
  free(texts);
}

// An array of strings as execve(2) takes it; NULL when it is none.
static char **texts_take(napi_env env, napi_value array) {
  uint32_t count = 0;
  if (napi_get_array_length(env, array, &count) != napi_ok) return NULL;
  char **texts = calloc((size_t)count + 1, sizeof *texts);
  for (uint32_t i = 0; texts && i < count; i++) {
    napi_value element;
    size_t length;
    napi_get_element(env, array, i, &element);
    texts[i] = value_copy(env, element, &length);
    if (!texts[i] || strlen(texts[i]) != length) {
      texts_free(texts);
      return NULL;
    }
  }
  return texts;
}

// A descriptor from which the program reads its input: nothing, or a file in memory, which never makes the writer wait.
static int open_input(const struct program_job *job) {
  if (!job->input) return open("/dev/null", O_RDONLY | O_CLOEXEC);
  int fd = memfd_create("input", MFD_CLOEXEC);
  size_t written = 0;
  while (fd >= 0 && written < job->input_length) {
    ssize_t part = write(fd, job->input + written, job->input_length - written);
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) {
      int error = errno;
      close(fd);
      errno = error;
      return -1;
    }
    written += (size_t)part;
  }
  if (fd >= 0) lseek(fd, 0, SEEK_SET);
  return fd;
}

// Descriptors become the program's 0, 1, 2 …
static int spawn_program(const char *path, char **argv, char **envp, const int *fds, int count, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&actions);
  for (int i = 0; i < count; i++) posix_spawn_file_actions_adddup2(&actions, fds[i], i);
  posix_spawnattr_init(&attributes);
  // A job's thread blocks all signals and Node ignores some: neither is the program's.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  int error = posix_spawnp(pid, path, &actions, &attributes, argv, envp);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

// Reads once; closes at the end. What does not fit any more is dropped.
static void take(struct output *output) {
  char dropped[4096];
  char *into = dropped;
  size_t room = sizeof dropped;
  if (output->length == output->capacity && output->capacity < KEPT_BYTES) {
    size_t capacity = output->capacity ? output->capacity * 4 : 4096;
    char *grown = realloc(output->data, capacity);
    if (grown) {
      output->data = grown;
      output->capacity = capacity;
    }
  }
  bool keep = output->length < output->capacity;
  if (keep) {
    into = output->data + output->length;
    room = output->capacity - output->length;
  }
  ssize_t got = read(output->fd, into, room);
  if (got < 0 && errno == EINTR) return;
  if (got > 0) {
    if (keep) output->length += (size_t)got;
    return;
  }
  close(output->fd);
  output->fd = -1;
}

static void read_all(struct output *out, struct output *err) {
  while (out->fd >= 0 || err->fd >= 0) {
    struct pollfd fds[] = {{.fd = out->fd, .events = POLLIN}, {.fd = err->fd, .events = POLLIN}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (out->fd >= 0 && fds[0].revents) take(out);
    if (err->fd >= 0 && fds[1].revents) take(err);
  }
}

static void program_run(struct job *base) {
  struct program_job *job = (struct program_job *)base;
  int out[2] = {-1, -1}, err[2] = {-1, -1};
  pid_t pid;
  int input = open_input(job);
  if (input < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) job->error = errno;
  else job->error = spawn_program(job->path, job->argv, job->envp, (int[]){input, out[1], err[1]}, 3, &pid);
  if (input >= 0) close(input);
  if (out[1] >= 0) close(out[1]);
  if (err[1] >= 0) close(err[1]);
  job->out.fd = out[0];
  job->err.fd = err[0];
  if (job->error) return;
  read_all(&job->out, &job->err);
  // The only one that waits for this process: libuv asks for its own children by their pids.
  while (waitpid(pid, &job->status, 0) < 0)
    if (errno != EINTR) {
      job->error = errno;
      return;
    }
}

static napi_value program_result(napi_env env, struct job *base) {
  struct program_job *job = (struct program_job *)base;
  napi_value result;
  napi_create_object(env, &result);
  set_named(env, result, "error", make_int(env, -(int64_t)job->error));
  set_named(env, result, "code", make_int(env, WIFEXITED(job->status) ? WEXITSTATUS(job->status) : -1));
  set_named(env, result, "signal", make_int(env, WIFSIGNALED(job->status) ? WTERMSIG(job->status) : 0));
  set_named(env, result, "stdout", make_buffer(env, job->out.data, job->out.length));
  set_named(env, result, "stderr", make_buffer(env, job->err.data, job->err.length));
  return result;
}

static void program_free(struct job *base) {
  struct program_job *job = (struct program_job *)base;
  if (job->out.fd >= 0) close(job->out.fd);
  if (job->err.fd >= 0) close(job->err.fd);
  free(job->out.data);
  free(job->err.data);
  free(job->path);
  free(job->input);
  texts_free(job->argv);
  texts_free(job->envp);
  free(job);
}

// runProgram(path, argv, envp, input) → Promise<{error, code, signal, stdout, stderr}>
static napi_value js_run_program(napi_env env, napi_callback_info info) {
  struct args args;
  size_t length;
  args_take(&args, env, info);
  struct program_job *job = calloc(1, sizeof *job);
  job->job = (struct job){.run = program_run, .result = program_result, .free = program_free};
  job->out.fd = job->err.fd = -1;
  if (args.count != 4) args.bad = true;
  if (!args.bad) job->path = value_copy(env, args.value[0], &length);
  if (!args.bad) job->argv = texts_take(env, args.value[1]);
  if (!args.bad) job->envp = texts_take(env, args.value[2]);
  if (!args.bad) job->input = value_copy(env, args.value[3], &job->input_length);
  if (!job->path || !job->argv || !job->envp) args.bad = true;
  if (args_bad(&args)) {
    program_free(&job->job);
    return NULL;
  }
  return job_start(env, &job->job);
}

// ---------------------------------------------------------------------------------------------- beside this process

#define MOST_STREAMS 8
// Above the numbers that streams have in the program.
#define FIRST_OWN 16

// Waits for the end without taking it: as long as the process is a zombie, its id is nobody else's.
struct end_job {
  struct job job;
  pid_t pid;
  bool waited;
  bool reaped;
  int status;
};

static void reap(struct end_job *job) {
  if (job->reaped) return;
  while (waitpid(job->pid, &job->status, 0) < 0 && errno == EINTR) continue;
  job->reaped = true;
}

static void end_run(struct job *base) {
  struct end_job *job = (struct end_job *)base;
  siginfo_t info;
  while (waitid(P_PID, (id_t)job->pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) continue;
  job->waited = true;
}

static napi_value end_result(napi_env env, struct job *base) {
  struct end_job *job = (struct end_job *)base;
  napi_value result;
  reap(job);
  napi_create_object(env, &result);
  set_named(env, result, "code", make_int(env, WIFEXITED(job->status) ? WEXITSTATUS(job->status) : -1));
  set_named(env, result, "signal", make_int(env, WIFSIGNALED(job->status) ? WTERMSIG(job->status) : 0));
  return result;
}

static void end_free(struct job *base) {
  struct end_job *job = (struct end_job *)base;
  // No thread could be made for it.
  if (!job->waited) kill(job->pid, SIGKILL);
  reap(job);
  free(job);
}

// One end is the program's. Sockets, as Node makes them: each is read and written, and tells when the other end is gone.
static int open_stream(bool connected, int ends[2]) {
  int made[2] = {-1, -1};
  ends[0] = ends[1] = -1;
  if (connected && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, made) < 0) return errno;
  if (!connected) made[1] = open("/dev/null", O_RDWR | O_CLOEXEC);
  ends[0] = made[0];
  if (made[1] >= 0) ends[1] = fcntl(made[1], F_DUPFD_CLOEXEC, FIRST_OWN);
  int error = ends[1] < 0 ? errno : 0;
  if (made[1] >= 0) close(made[1]);
  return error;
}

// startProgram(path, argv, envp, streams) → {pid, fds, ended: Promise<{code, signal}>} | -errno
//   streams: a character for each descriptor of the program from 0 on, 's' a socket to it, '-' nothing
static napi_value js_start_program(napi_env env, napi_callback_info info) {
  struct args args;
  size_t length = 0, count = 0;
  char *path = NULL, *streams = NULL, **argv = NULL, **envp = NULL;
  int own[MOST_STREAMS], theirs[MOST_STREAMS], error = 0;
  pid_t pid = -1;
  args_take(&args, env, info);
  if (args.count != 4) args.bad = true;
  if (!args.bad) path = value_copy(env, args.value[0], &length);
  if (!args.bad) argv = texts_take(env, args.value[1]);
  if (!args.bad) envp = texts_take(env, args.value[2]);
  if (!args.bad) streams = value_copy(env, args.value[3], &count);
  struct end_job *job = calloc(1, sizeof *job);
  if (!path || !argv || !envp || !streams || count > MOST_STREAMS || !job) args.bad = true;
  napi_value result = NULL;
  if (!args_bad(&args)) {
    for (size_t i = 0; i < count; i++) {
      int ends[2];
      int failed = open_stream(streams[i] == 's', ends);
      own[i] = ends[0];
      theirs[i] = ends[1];
      if (failed && !error) error = failed;
    }
    if (!error) error = spawn_program(path, argv, envp, theirs, (int)count, &pid);
    for (size_t i = 0; i < count; i++) {
      if (theirs[i] >= 0) close(theirs[i]);
      if (error && own[i] >= 0) close(own[i]);
    }
    if (error) {
      result = make_int(env, -(int64_t)error);
    } else {
      napi_value fds;
      napi_create_object(env, &result);
      napi_create_array_with_length(env, count, &fds);
      for (size_t i = 0; i < count; i++) napi_set_element(env, fds, (uint32_t)i, make_int(env, own[i]));
      // Nobody has to wait for it when this process ends.
      job->job = (struct job){.run = end_run, .result = end_result, .free = end_free, .background = true};
      job->pid = pid;
      set_named(env, result, "pid", make_int(env, pid));
      set_named(env, result, "fds", fds);
      set_named(env, result, "ended", job_start(env, &job->job));
      job = NULL;
    }
  }
  free(job);
  free(path);
  free(streams);
  texts_free(argv);
  texts_free(envp);
  return result;
}

void export_program(napi_env env, napi_value exports) {
  export_function(env, exports, "runProgram", js_run_program);
  export_function(env, exports, "startProgram", js_start_program);
}
