/* A small JSON reader: the text is decoded in place, the nodes live in an arena that is unmapped as a whole. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
  enum json_type type;
  const char *key;    /* in an object */
  const char *string; /* of a string; never NULL there */
  uint64_t magnitude; /* of a whole number */
  bool negative;
  unsigned count; /* members or elements */
  struct json *first, *next;
};

/* Reads the file `name` in directory `dir` as JSON. Fails the launch at stage "config". The result lives until json_free_all. */
const struct json *json_load(int dir, const char *name);
/* Parses text that is changed in the process and must outlive the result; NULL with a reason on bad input. */
const struct json *json_parse(char *text, size_t length, const char **reason);
/* Gives back the memory of everything read so far. */
void json_free_all(void);

/* NULL when absent, null or not an object. */
const struct json *json_get(const struct json *object, const char *key);
/* The string, or NULL when absent; another type fails the launch. */
const char *json_string(const struct json *object, const char *key);
/* The whole number, or `otherwise` when absent. */
int64_t json_integer(const struct json *object, const char *key, int64_t otherwise);
bool json_true(const struct json *object, const char *key);
int64_t json_value_integer(const struct json *value);
/* The elements as a NULL-terminated array in the arena; empty when absent. */
char **json_strings(const struct json *object, const char *key, unsigned *count);

#define json_each(item, list) for (const struct json *item = (list) ? (list)->first : NULL; item; item = item->next)

/* Writes `text` as a JSON string with its quotes, cut to fit. */
void json_quote(char *out, size_t size, const char *text);
/* Memory beside the nodes, freed with them. */
void *json_allocate(size_t size);
