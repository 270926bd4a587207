// The end of the process, its memory, and the time since the boot.
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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

// Whether a line of smaps (proc(5)) begins a mapping, and if so where it is and whether it is of the file `program` and never written to.
static bool begins_mapping(char *line, const char *program, unsigned long *from, unsigned long *to, bool *wanted) {
  char rights[5];
  int name = 0;
  // Other lines begin with what may be read as a number too ("Anonymous").
  unsigned long first, last;
  if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %n", &first, &last, rights, &name) != 3 || name == 0) return false;
  *from = first;
  *to = last;
  line[strcspn(line, "\n")] = '\0';
  *wanted = rights[0] == 'r' && rights[1] == '-' && rights[3] == 'p' && strcmp(line + name, program) == 0;
  return true;
}

// releaseProgram(): takes the unchanged pages of the program's own file out of this process; they are in the page cache still, and what is
// used comes back by a fault without any reading. The number of bytes of address space that this was done for.
static napi_value js_release_program(napi_env env, napi_callback_info info) {
  char program[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
  if (length < 0) return make_int(env, 0);
  program[length] = '\0';
  FILE *maps = fopen("/proc/self/smaps", "re");
  if (maps == NULL) return make_int(env, 0);
  char line[PATH_MAX + 128];
  unsigned long from = 0, to = 0, changed_kb;
  bool wanted = false;
  int64_t released = 0;
  while (fgets(line, sizeof(line), maps) != NULL) {
    if (begins_mapping(line, program, &from, &to, &wanted) || !wanted) continue;
    if (sscanf(line, "Anonymous: %lu", &changed_kb) != 1) continue;
    // What was changed (relocations, a debugger's breakpoints) is nowhere else.
    if (changed_kb == 0 && madvise((void *)from, to - from, MADV_DONTNEED) == 0) released += (int64_t)(to - from);
    wanted = false;
  }
  fclose(maps);
  return make_int(env, released);
}

void export_process(napi_env env, napi_value exports) {
  export_function(env, exports, "exit", js_exit);
  export_function(env, exports, "bootTime", js_boot_time);
  export_function(env, exports, "trimMemory", js_trim_memory);
  export_function(env, exports, "releaseProgram", js_release_program);
}
