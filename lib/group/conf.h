/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * conf - reading rte_cfgfile files strictly.
 *
 * rte_cfgfile does the parsing; this adds what it is lenient about and what an operator needs told:
 * it skips a line that is neither a section nor "key = value", cuts long names and values short,
 * accepts a section or a key twice, and knows no key by heart. Comments begin with ';' ("\;" is a
 * semicolon). Every message names file, line or section and key, what is wrong, and what would be
 * right.
 */
#ifndef PROPHECY_GROUP_CONF_H
#define PROPHECY_GROUP_CONF_H

#include "group/group.h"

struct conf;

/* NULL on failure, err says why. Free with conf_free. */
struct conf *conf_read(const char *path, char err[GROUP_ERROR_BYTES]);
void conf_free(struct conf *c);

/*
 * Every section must be one of names (NULL-terminated); a name that ends in " #" stands for
 * numbered sections: "replica #" matches "replica 0", "replica 1" ...
 */
bool conf_check_sections(const struct conf *c, const char *const *names,
                         char err[GROUP_ERROR_BYTES]);
/* Every key of the section must be one of keys (NULL-terminated); the nearest is suggested. */
bool conf_check_keys(const struct conf *c, const char *section, const char *const *keys,
                     char err[GROUP_ERROR_BYTES]);
bool conf_has_section(const struct conf *c, const char *section);

/* The value, or NULL when it is not there. */
const char *conf_get(const struct conf *c, const char *section, const char *key);
/* The value; when it is not there, NULL and a message that shows example. */
const char *conf_need(const struct conf *c, const char *section, const char *key,
                      const char *example, char err[GROUP_ERROR_BYTES]);

/* For sections of free keys (lists): entry i in the order of the file, false after the last. */
bool conf_entry(const struct conf *c, const char *section, uint32_t i, const char **key,
                const char **value);
/* Section i in the order of the file, NULL after the last. */
const char *conf_section(const struct conf *c, uint32_t i);

/* "FILE: [SECTION] KEY", the `where` of the group_parse functions; returns buf. */
#define CONF_WHERE_BYTES 320u
const char *conf_where(const struct conf *c, const char *section, const char *key,
                       char buf[CONF_WHERE_BYTES]);

/* Typed values; absent: *out keeps its value (the default). */
bool conf_u64(const struct conf *c, const char *section, const char *key, uint64_t min,
              uint64_t max, uint64_t *out, char err[GROUP_ERROR_BYTES]);
bool conf_bool(const struct conf *c, const char *section, const char *key, bool *out,
               char err[GROUP_ERROR_BYTES]);

#endif
