/* Rules for devices, and the program that they are where only version 2 of the control groups is. The addon has it too: it
   gives a container that runs another program. Nothing here prints or exits; errors are -1 and errno. */
#pragma once
#include <stdbool.h>

struct device_rule {
  bool allow;
  char type;        /* 'a', 'b', 'c' */
  int major, minor; /* -1: every */
  char access[4];   /* of "rwm" */
};

enum {
  DEVICE_BASE_RULES = 11, /* how many device_rules_complete may add */
  DEVICE_TAG_BYTES = 8,
};

/* Puts what every container may do behind the first "deny all", if there is one: `rules` has room for DEVICE_BASE_RULES
   more. Returns how many there are now. */
unsigned device_rules_complete(struct device_rule *rules, unsigned count);
/* The kernel can do it: type and access are known letters. */
bool device_rule_is_valid(const struct device_rule *rule);

/* Loads the program of these rules; its descriptor. */
int device_program_load(const struct device_rule *rules, unsigned count);
/* The program of ours that is attached to a control group itself, not to one above; ENOENT without one. */
int device_program_find(int cgroup);
/* Attaches a program, in place of another (-1: beside what is there), in one step: no access is decided by both or none. */
int device_program_attach(int cgroup, int program, int instead_of);
/* The kernel's digest of a program's instructions: alike for the same rules. */
int device_program_tag(int program, unsigned char tag[DEVICE_TAG_BYTES]);
