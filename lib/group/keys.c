/* SPDX-License-Identifier: BSD-3-Clause */
#include "group/group.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_LINE_MAX_BYTES 48u // "47 " and 32 digits, with room for white space
#define KEY_FILE_MAX_BYTES (GROUP_PRINCIPALS_MAX * KEY_LINE_MAX_BYTES)
#define KEY_PATH_BYTES 512u

/* ---- reading */

/* Reads the whole file without stdio, whose buffer could not be wiped. */
static bool read_secret_file(const char *path, char *buf, size_t cap, size_t *len,
                             char err[GROUP_ERROR_BYTES]) {
    struct stat st;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: cannot be read: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: must be a regular file", path);
    } else if ((st.st_mode & 077) != 0) {
        snprintf(err, GROUP_ERROR_BYTES,
                 "%s: mode %04o lets others than its owner at the keys; run chmod 600 on it", path,
                 st.st_mode & 07777u);
    } else if (st.st_size > (off_t)cap) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: is too long for a key file: at most %zu bytes", path,
                 cap);
    } else if ((n = read(fd, buf, cap)) < 0) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: cannot be read: %s", path, strerror(errno));
    }
    if (fd >= 0)
        close(fd);
    *len = n < 0 ? 0 : (size_t)n;
    return n >= 0;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* "PRINCIPAL HEX": the message of a failure never shows the line, it may be half a key. */
static const char *parse_key_line(const char *line, size_t len, uint32_t *principal,
                                  uint8_t key[CRYPTO_KEY_BYTES]) {
    static const char form[] = "must read 'PRINCIPAL HEX' with 32 lower-case hexadecimal digits";
    size_t digits = 0;
    *principal = 0;
    while (digits < len && digits < 4 && line[digits] >= '0' && line[digits] <= '9')
        *principal = *principal * 10 + (uint32_t)(line[digits++] - '0');
    if (digits == 0 || len != digits + 1 + 2 * CRYPTO_KEY_BYTES || line[digits] != ' ')
        return form;
    line += digits + 1;
    for (size_t i = 0; i < CRYPTO_KEY_BYTES; i++) {
        int high = hex_digit(line[2 * i]), low = hex_digit(line[2 * i + 1]);
        if (high < 0 || low < 0)
            return form;
        key[i] = (uint8_t)(high << 4 | low);
    }
    return NULL;
}

static const char *take_key(struct group_keys *keys, bool *seen, const char *line, size_t len) {
    uint32_t principal;
    uint8_t key[CRYPTO_KEY_BYTES];
    const char *wrong = parse_key_line(line, len, &principal, key);
    if (wrong == NULL && principal == keys->self)
        wrong = "names the principal whose file this is: it has no key with itself; is this the "
                "key file of another principal?";
    if (wrong == NULL && principal >= keys->count)
        wrong = "names a principal that the group does not have; was it made for another group "
                "file?";
    if (wrong == NULL && seen[principal])
        wrong = "gives a second key for one principal";
    if (wrong == NULL) {
        seen[principal] = true;
        memcpy(keys->key[principal], key, CRYPTO_KEY_BYTES);
    }
    crypto_wipe(key, sizeof key);
    return wrong;
}

static bool parse_keys(const char *path, const char *buf, size_t len, struct group_keys *keys,
                       char err[GROUP_ERROR_BYTES]) {
    bool seen[GROUP_PRINCIPALS_MAX] = {false};
    uint32_t number = 0;
    for (size_t pos = 0; pos < len;) {
        const char *end = memchr(buf + pos, '\n', len - pos);
        size_t line_len = end == NULL ? len - pos : (size_t)(end - buf) - pos;
        const char *wrong = take_key(keys, seen, buf + pos, line_len);
        number++;
        if (wrong != NULL) {
            snprintf(err, GROUP_ERROR_BYTES, "%s: line %u: %s", path, number, wrong);
            return false;
        }
        pos += line_len + 1;
    }
    for (uint32_t p = 0; p < keys->count; p++) {
        if (p == keys->self || seen[p])
            continue;
        snprintf(err, GROUP_ERROR_BYTES,
                 "%s: no key for principal %u; was it made for another group file?", path, p);
        return false;
    }
    return true;
}

bool group_keys_read(const char *path, const struct group *g, uint32_t principal,
                     struct group_keys *out, char err[GROUP_ERROR_BYTES]) {
    char buf[KEY_FILE_MAX_BYTES];
    size_t len = 0;
    memset(out, 0, sizeof *out);
    out->self = principal;
    out->count = g->replicas + g->clients;
    bool ok =
        read_secret_file(path, buf, sizeof buf, &len, err) && parse_keys(path, buf, len, out, err);
    crypto_wipe(buf, sizeof buf);
    if (!ok)
        crypto_wipe(out, sizeof *out);
    return ok;
}

/* ---- making */

struct key_table {
    uint8_t pair[GROUP_PRINCIPALS_MAX][GROUP_PRINCIPALS_MAX][CRYPTO_KEY_BYTES]; // [smaller][larger]
};

static void key_file_path(const struct group *g, const char *dir, uint32_t principal,
                          char out[KEY_PATH_BYTES]) {
    bool replica = principal < g->replicas;
    snprintf(out, KEY_PATH_BYTES, "%s/%s-%u.key", dir, replica ? "replica" : "client",
             replica ? principal : principal - g->replicas);
}

static size_t format_keys(const struct key_table *t, uint32_t principal, uint32_t count, char *buf,
                          size_t cap) {
    size_t len = 0;
    for (uint32_t p = 0; p < count; p++) {
        const uint8_t *key = p < principal ? t->pair[p][principal] : t->pair[principal][p];
        if (p == principal)
            continue;
        len += (size_t)snprintf(buf + len, cap - len, "%u ", p);
        for (size_t i = 0; i < CRYPTO_KEY_BYTES; i++)
            len += (size_t)snprintf(buf + len, cap - len, "%02x", key[i]);
        len += (size_t)snprintf(buf + len, cap - len, "\n");
    }
    return len;
}

static bool write_key_file(const char *path, const char *buf, size_t len,
                           char err[GROUP_ERROR_BYTES]) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: cannot be made: %s%s", path, strerror(errno),
                 errno == EEXIST ? "; keys are never overwritten, remove the old ones first" : "");
        return false;
    }
    bool ok = write(fd, buf, len) == (ssize_t)len && fsync(fd) == 0;
    int saved = errno;
    if (close(fd) != 0 || !ok) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: cannot be written: %s", path, strerror(saved));
        unlink(path);
        return false;
    }
    return true;
}

static bool refuse_existing(const struct group *g, const char *dir, uint32_t count,
                            char err[GROUP_ERROR_BYTES]) {
    for (uint32_t p = 0; p < count; p++) {
        char path[KEY_PATH_BYTES];
        struct stat st;
        key_file_path(g, dir, p, path);
        if (lstat(path, &st) != 0 && errno == ENOENT)
            continue;
        snprintf(err, GROUP_ERROR_BYTES,
                 "%s: exists already; keys are never overwritten, remove the old ones first", path);
        return false;
    }
    return true;
}

static void remove_files(const struct group *g, const char *dir, uint32_t count) {
    for (uint32_t p = 0; p < count; p++) {
        char path[KEY_PATH_BYTES];
        key_file_path(g, dir, p, path);
        unlink(path);
    }
}

static bool write_all(const struct group *g, const char *dir, const struct key_table *t,
                      uint32_t count, char err[GROUP_ERROR_BYTES]) {
    char buf[KEY_FILE_MAX_BYTES];
    bool ok = true;
    for (uint32_t p = 0; ok && p < count; p++) {
        char path[KEY_PATH_BYTES];
        key_file_path(g, dir, p, path);
        ok = write_key_file(path, buf, format_keys(t, p, count, buf, sizeof buf), err);
        if (!ok)
            remove_files(g, dir, p);
    }
    crypto_wipe(buf, sizeof buf);
    return ok;
}

bool group_keygen(const struct group *g, const char *dir, char err[GROUP_ERROR_BYTES]) {
    uint32_t count = g->replicas + g->clients;
    struct stat st;
    if (strlen(dir) > KEY_PATH_BYTES - 32) {
        snprintf(err, GROUP_ERROR_BYTES, "%.100s...: the path is too long", dir);
        return false;
    }
    if ((mkdir(dir, 0700) != 0 && errno != EEXIST) || stat(dir, &st) != 0) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: cannot be made: %s", dir, strerror(errno));
        return false;
    }
    if (!S_ISDIR(st.st_mode)) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: is not a directory", dir);
        return false;
    }
    struct key_table *t = malloc(sizeof *t);
    if (t == NULL) {
        snprintf(err, GROUP_ERROR_BYTES, "out of memory");
        return false;
    }
    crypto_random(t, sizeof *t);
    bool ok = refuse_existing(g, dir, count, err) && write_all(g, dir, t, count, err);
    crypto_wipe(t, sizeof *t);
    free(t);
    return ok;
}
