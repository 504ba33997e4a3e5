/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config - reading rte_cfgfile files strictly.
 *
 * rte_cfgfile does the parsing; this adds what it is lenient about and what an operator needs told:
 * it skips a line that is neither a section nor "key = value", cuts long names and values short,
 * accepts a section or a key twice, and knows no key by heart. Comments begin with ';' ("\;" is a
 * semicolon). Every message names file, line or section and key, what is wrong, and what would be
 * right.
 */
#ifndef PROPHECY_CONFIG_H
#define PROPHECY_CONFIG_H

#include "group/group.h"

struct config;

/* NULL on failure, err says why. Free with config_free. */
struct config *config_read(const char *path, char err[GROUP_ERROR_BYTES]);
void config_free(struct config *c);

/*
 * Every section must be one of names (NULL-terminated); a name that ends in " #" stands for
 * numbered sections: "replica #" matches "replica 0", "replica 1" ...
 */
bool config_check_sections(const struct config *c, const char *const *names,
                           char err[GROUP_ERROR_BYTES]);
/* Every key of the section must be one of keys (NULL-terminated); the nearest is suggested. */
bool config_check_keys(const struct config *c, const char *section, const char *const *keys,
                       char err[GROUP_ERROR_BYTES]);
bool config_has_section(const struct config *c, const char *section);

/* The value, or NULL when it is not there. */
const char *config_get(const struct config *c, const char *section, const char *key);
/* The value; when it is not there, NULL and a message that shows example. */
const char *config_need(const struct config *c, const char *section, const char *key,
                        const char *example, char err[GROUP_ERROR_BYTES]);

/* For sections of free keys (lists): entry i in the order of the file, false after the last. */
bool config_entry(const struct config *c, const char *section, uint32_t i, const char **key,
                  const char **value);
/* Section i in the order of the file, NULL after the last. */
const char *config_section(const struct config *c, uint32_t i);

/* "FILE: [SECTION] KEY", the `where` of the group_parse functions; returns buf. */
#define CONFIG_WHERE_BYTES 320u
const char *config_where(const struct config *c, const char *section, const char *key,
                         char buf[CONFIG_WHERE_BYTES]);

/* Typed values; absent: *out keeps its value (the default). */
bool config_u64(const struct config *c, const char *section, const char *key, uint64_t min,
                uint64_t max, uint64_t *out, char err[GROUP_ERROR_BYTES]);
bool config_bool(const struct config *c, const char *section, const char *key, bool *out,
                 char err[GROUP_ERROR_BYTES]);

#endif
