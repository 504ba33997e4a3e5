/* SPDX-License-Identifier: BSD-3-Clause */
#include "group/conf.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <rte_cfgfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONF_FILE_MAX_BYTES (1024u * 1024u)
#define CONF_LINE_MAX_BYTES ((size_t)CFG_NAME_LEN + CFG_VALUE_LEN) // rte_cfgfile reads 4 more
#define CONF_LIST_BYTES 256u

struct conf_section_entries {
    char name[CFG_NAME_LEN];
    struct rte_cfgfile_entry *entries;
    uint32_t count;
};

struct conf {
    char path[CONF_WHERE_BYTES - 2 * CFG_NAME_LEN - 8];
    struct conf_section_entries *sections;
    uint32_t count;
};

/* ---- what rte_cfgfile would skip, cut or only log: the shape of each line */

struct line_scan {
    const char *path;
    uint32_t number;
    uint32_t sections;
    char *err;
};

static bool line_error(const struct line_scan *s, const char *what) {
    snprintf(s->err, GROUP_ERROR_BYTES, "%s: line %u: %s", s->path, s->number, what);
    return false;
}

/* Cuts the comment off and the white space around the rest; returns the start of it. */
static char *line_strip(char *line) {
    char *end = strchr(line, ';');
    while (end != NULL && end > line && end[-1] == '\\')
        end = strchr(end + 1, ';');
    if (end == NULL)
        end = line + strlen(line);
    while (end > line && isspace((unsigned char)end[-1]))
        end--;
    *end = '\0';
    while (isspace((unsigned char)*line))
        line++;
    return line;
}

static bool scan_section(struct line_scan *s, const char *text) {
    const char *end = strchr(text, ']');
    if (end == NULL)
        return line_error(s, "']' is missing: write [section]");
    if (end[1] != '\0')
        return line_error(s, "text after ']': write [section] alone on its line");
    if (end == text + 1)
        return line_error(s, "empty section name: write [section]");
    if (end - text - 1 >= CFG_NAME_LEN)
        return line_error(s, "section name too long: at most 63 characters");
    s->sections++;
    return true;
}

static bool scan_entry(struct line_scan *s, const char *text) {
    const char *equals = strchr(text, '=');
    if (text[0] == '#')
        return line_error(s, "comments begin with ';', not '#'");
    if (equals == NULL)
        return line_error(s, "neither a [section] nor 'key = value'");
    if (s->sections == 0)
        return line_error(s, "a key before the first [section]");
    const char *key_end = equals, *value = equals + 1;
    while (key_end > text && isspace((unsigned char)key_end[-1]))
        key_end--;
    while (isspace((unsigned char)*value))
        value++;
    if (key_end == text)
        return line_error(s, "no key before '=': write 'key = value'");
    if (*value == '\0')
        return line_error(s, "no value after '=': write 'key = value', or leave the line out");
    if (key_end - text >= CFG_NAME_LEN)
        return line_error(s, "key too long: at most 63 characters");
    if (strlen(value) >= CFG_VALUE_LEN)
        return line_error(s, "value too long: at most 255 characters");
    return true;
}

static bool scan_line(struct line_scan *s, char *line, size_t len) {
    if (memchr(line, '\0', len) != NULL)
        return line_error(s, "a NUL byte: this is not a text file");
    if (len > CONF_LINE_MAX_BYTES)
        return line_error(s, "line too long: at most 320 characters, comment included");
    const char *text = line_strip(line);
    if (text[0] == '\0')
        return true;
    return text[0] == '[' ? scan_section(s, text) : scan_entry(s, text);
}

static bool scan_stream(FILE *f, const char *path, char err[GROUP_ERROR_BYTES]) {
    struct line_scan s = {.path = path, .err = err};
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    bool ok = true;
    while (ok && (len = getline(&line, &cap, f)) >= 0) {
        s.number++;
        ok = scan_line(&s, line, (size_t)len);
    }
    free(line);
    if (ok && ferror(f)) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: cannot be read: %s", path, strerror(errno));
        return false;
    }
    if (ok && s.sections == 0) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: is empty: no [section] in it", path);
        return false;
    }
    return ok;
}

static bool scan_file(const char *path, char err[GROUP_ERROR_BYTES]) {
    struct stat st;
    FILE *f = fopen(path, "re");
    if (f == NULL || fstat(fileno(f), &st) != 0) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: cannot be read: %s", path, strerror(errno));
        if (f != NULL)
            fclose(f);
        return false;
    }
    bool ok = S_ISREG(st.st_mode) && st.st_size <= CONF_FILE_MAX_BYTES;
    if (!ok)
        snprintf(err, GROUP_ERROR_BYTES, "%s: must be a regular file of at most 1 MiB", path);
    ok = ok && scan_stream(f, path, err);
    fclose(f);
    return ok;
}

/* ---- loading */

static bool load_section(struct rte_cfgfile *file, int index, struct conf_section_entries *out) {
    int count = rte_cfgfile_section_num_entries_by_index(file, out->name, index);
    if (count < 0)
        return false;
    out->entries = calloc((size_t)count + 1, sizeof *out->entries);
    if (out->entries == NULL)
        return false;
    int got = rte_cfgfile_section_entries_by_index(file, index, out->name, out->entries, count);
    out->count = (uint32_t)count;
    return got == count;
}

static bool load_sections(struct conf *c, struct rte_cfgfile *file) {
    int count = rte_cfgfile_num_sections(file, "", 0);
    if (count <= 0)
        return false;
    c->sections = calloc((size_t)count, sizeof *c->sections);
    if (c->sections == NULL)
        return false;
    c->count = (uint32_t)count;
    for (int i = 0; i < count; i++)
        if (!load_section(file, i, &c->sections[i]))
            return false;
    return true;
}

static const struct conf_section_entries *find_section(const struct conf *c, const char *name) {
    for (uint32_t i = 0; i < c->count; i++)
        if (strcmp(c->sections[i].name, name) == 0)
            return &c->sections[i];
    return NULL;
}

static const char *find_value(const struct conf_section_entries *s, const char *key) {
    for (uint32_t i = 0; i < s->count; i++)
        if (strcmp(s->entries[i].name, key) == 0)
            return s->entries[i].value;
    return NULL;
}

static bool check_duplicates(const struct conf *c, char err[GROUP_ERROR_BYTES]) {
    for (uint32_t i = 0; i < c->count; i++) {
        const struct conf_section_entries *s = &c->sections[i];
        if (find_section(c, s->name) != s) {
            snprintf(err, GROUP_ERROR_BYTES, "%s: [%s]: the section is there twice: merge them",
                     c->path, s->name);
            return false;
        }
        for (uint32_t k = 0; k < s->count; k++) {
            if (find_value(s, s->entries[k].name) == s->entries[k].value)
                continue;
            snprintf(err, GROUP_ERROR_BYTES, "%s: [%s] %s: the key is there twice: keep one",
                     c->path, s->name, s->entries[k].name);
            return false;
        }
    }
    return true;
}

struct conf *conf_read(const char *path, char err[GROUP_ERROR_BYTES]) {
    struct conf *c = calloc(1, sizeof *c);
    if (c == NULL || strlen(path) >= sizeof c->path) {
        snprintf(err, GROUP_ERROR_BYTES, "%.100s: %s", path,
                 c == NULL ? "out of memory" : "the path is too long");
        free(c);
        return NULL;
    }
    memcpy(c->path, path, strlen(path) + 1);
    struct rte_cfgfile *file = scan_file(path, err) ? rte_cfgfile_load(path, 0) : NULL;
    if (file == NULL) {
        conf_free(c);
        return NULL;
    }
    bool ok = load_sections(c, file);
    if (!ok)
        snprintf(err, GROUP_ERROR_BYTES, "%s: cannot be loaded: out of memory", path);
    rte_cfgfile_close(file);
    if (!ok || !check_duplicates(c, err)) {
        conf_free(c);
        return NULL;
    }
    return c;
}

void conf_free(struct conf *c) {
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < c->count; i++)
        free(c->sections[i].entries);
    free(c->sections);
    free(c);
}

/* ---- unknown names */

/* Levenshtein distance, of names short enough for one row. */
static uint32_t edit_distance(const char *a, const char *b) {
    uint32_t row[CFG_NAME_LEN];
    size_t n = strlen(b);
    assert(n < CFG_NAME_LEN);
    for (uint32_t j = 0; j <= n; j++)
        row[j] = j;
    for (uint32_t i = 1; a[i - 1] != '\0'; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            uint32_t best = diagonal + (a[i - 1] != b[j - 1]);
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

static const char *nearest(const char *name, const char *const *names) {
    const char *best = NULL;
    uint32_t best_distance = 4; // further away is no typing slip
    for (; *names != NULL; names++) {
        uint32_t d = edit_distance(name, *names);
        if (d < best_distance && d < strlen(*names)) {
            best_distance = d;
            best = *names;
        }
    }
    return best;
}

/* "did you mean 'x'?" or the list of what is known. */
static void suggest(const char *name, const char *const *names, char out[CONF_LIST_BYTES]) {
    const char *best = nearest(name, names);
    if (best != NULL) {
        snprintf(out, CONF_LIST_BYTES, "did you mean '%s'?", best);
        return;
    }
    size_t len = (size_t)snprintf(out, CONF_LIST_BYTES, "known are");
    for (; *names != NULL && len < CONF_LIST_BYTES; names++)
        len += (size_t)snprintf(out + len, CONF_LIST_BYTES - len, " %s", *names);
}

static bool is_number(const char *s) {
    if (s[0] == '\0' || (s[0] == '0' && s[1] != '\0'))
        return false;
    return strspn(s, "0123456789") == strlen(s) && strlen(s) <= 9;
}

static bool section_matches(const char *section, const char *name) {
    size_t len = strlen(name);
    if (len < 2 || strcmp(name + len - 2, " #") != 0)
        return strcmp(section, name) == 0;
    return strncmp(section, name, len - 1) == 0 && is_number(section + len - 1);
}

bool conf_check_sections(const struct conf *c, const char *const *names,
                         char err[GROUP_ERROR_BYTES]) {
    for (uint32_t i = 0; i < c->count; i++) {
        const char *const *n = names;
        char list[CONF_LIST_BYTES];
        while (*n != NULL && !section_matches(c->sections[i].name, *n))
            n++;
        if (*n != NULL)
            continue;
        suggest(c->sections[i].name, names, list);
        snprintf(err, GROUP_ERROR_BYTES, "%s: [%s]: unknown section; %s (# is a number)", c->path,
                 c->sections[i].name, list);
        return false;
    }
    return true;
}

bool conf_check_keys(const struct conf *c, const char *section, const char *const *keys,
                     char err[GROUP_ERROR_BYTES]) {
    const struct conf_section_entries *s = find_section(c, section);
    for (uint32_t i = 0; s != NULL && i < s->count; i++) {
        const char *const *k = keys;
        char list[CONF_LIST_BYTES];
        while (*k != NULL && strcmp(s->entries[i].name, *k) != 0)
            k++;
        if (*k != NULL)
            continue;
        suggest(s->entries[i].name, keys, list);
        snprintf(err, GROUP_ERROR_BYTES, "%s: [%s] %s: unknown key; %s", c->path, section,
                 s->entries[i].name, list);
        return false;
    }
    return true;
}

/* ---- values */

bool conf_has_section(const struct conf *c, const char *section) {
    return find_section(c, section) != NULL;
}

const char *conf_get(const struct conf *c, const char *section, const char *key) {
    const struct conf_section_entries *s = find_section(c, section);
    return s == NULL ? NULL : find_value(s, key);
}

const char *conf_need(const struct conf *c, const char *section, const char *key,
                      const char *example, char err[GROUP_ERROR_BYTES]) {
    const char *value = conf_get(c, section, key);
    if (value == NULL)
        snprintf(err, GROUP_ERROR_BYTES, "%s: [%s] %s: is missing; write for example '%s = %s'",
                 c->path, section, key, key, example);
    return value;
}

bool conf_entry(const struct conf *c, const char *section, uint32_t i, const char **key,
                const char **value) {
    const struct conf_section_entries *s = find_section(c, section);
    if (s == NULL || i >= s->count)
        return false;
    *key = s->entries[i].name;
    *value = s->entries[i].value;
    return true;
}

const char *conf_section(const struct conf *c, uint32_t i) {
    return i < c->count ? c->sections[i].name : NULL;
}

const char *conf_where(const struct conf *c, const char *section, const char *key,
                       char buf[CONF_WHERE_BYTES]) {
    snprintf(buf, CONF_WHERE_BYTES, "%s: [%s] %s", c->path, section, key);
    return buf;
}

bool conf_u64(const struct conf *c, const char *section, const char *key, uint64_t min,
              uint64_t max, uint64_t *out, char err[GROUP_ERROR_BYTES]) {
    char where[CONF_WHERE_BYTES];
    const char *value = conf_get(c, section, key);
    return value == NULL ||
           group_parse_u64(value, conf_where(c, section, key, where), min, max, out, err);
}

bool conf_bool(const struct conf *c, const char *section, const char *key, bool *out,
               char err[GROUP_ERROR_BYTES]) {
    char where[CONF_WHERE_BYTES];
    const char *value = conf_get(c, section, key);
    return value == NULL || group_parse_bool(value, conf_where(c, section, key, where), out, err);
}
