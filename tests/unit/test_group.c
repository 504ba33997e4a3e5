/* SPDX-License-Identifier: BSD-3-Clause */
#include "group/conf.h"
#include "group/group.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/prophecy-test-group-XXXXXX";

static const char *file_path(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static const char *write_file(const char *name, const char *text, size_t len) {
    const char *path = file_path(name);
    FILE *f = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_EQUAL(fwrite(text, 1, len, f), len);
    CU_ASSERT_EQUAL(fclose(f), 0);
    return path;
}

#define GROUP_HEAD "[group]\nreplicas = 4\nf = 1\nincarnation = 8f1d6c0a52b79e34\n"
#define REPLICAS                                                                                   \
    "[replica 0]\naddress = 10.0.0.10:7000\nhttp = 10.0.0.10:80\n"                                 \
    "[replica 1]\naddress = 10.0.0.11:7000\nhttp = 10.0.0.11:80\n"                                 \
    "[replica 2]\naddress = 10.0.0.12:7000\nhttp = 10.0.0.12:80\n"                                 \
    "[replica 3]\naddress = 10.0.0.13:7000\nhttp = 10.0.0.13:80\n"
#define CLIENT "[client 0]\naddress = 10.0.0.1:7100\nendpoints = 4\n"

static const char full[] = "; a comment before everything\n"
                           "[group]\n"
                           "replicas = 4   ; four\n"
                           "f = 1\n"
                           "incarnation = 8F1d6c0a52b79e34\n"
                           "read-optimisation = yes\n"
                           "unordered-writes = no\n"
                           "request-max-bytes = 1048576\n"
                           "response-max-bytes = 2097152\n"
                           "excluded-headers = X-Served-By, x-node\n"
                           "checkpoint-interval = 64\n"
                           "log-window = 256\n"
                           "\n" REPLICAS CLIENT "[client 1]\naddress = 10.0.0.1:7200\n";

static void test_full(void) {
    struct group g;
    char err[GROUP_ERROR_BYTES] = "";
    bool ok = group_read(write_file("full.conf", full, strlen(full)), &g, err);
    CU_ASSERT_TRUE(ok);
    CU_ASSERT_STRING_EQUAL(err, "");
    CU_ASSERT_EQUAL(g.replicas, 4);
    CU_ASSERT_EQUAL(g.f, 1);
    CU_ASSERT_EQUAL(g.clients, 2);
    CU_ASSERT_EQUAL(g.incarnation, 0x8f1d6c0a52b79e34u);
    CU_ASSERT_TRUE(g.read_optimisation);
    CU_ASSERT_FALSE(g.unordered_writes);
    CU_ASSERT_EQUAL(g.request_max_bytes, 1048576);
    CU_ASSERT_EQUAL(g.response_max_bytes, 2097152);
    CU_ASSERT_EQUAL(g.checkpoint_interval, 64);
    CU_ASSERT_EQUAL(g.log_window, 256);
    CU_ASSERT_EQUAL_FATAL(g.excluded_headers.count, 2);
    CU_ASSERT_STRING_EQUAL(g.excluded_headers.name[0], "x-served-by");
    CU_ASSERT_STRING_EQUAL(g.excluded_headers.name[1], "x-node");
    CU_ASSERT_EQUAL(g.replica_agreement[2].addr, 0x0a00000cu);
    CU_ASSERT_EQUAL(g.replica_agreement[2].port, 7000);
    CU_ASSERT_EQUAL(g.replica_http[3].addr, 0x0a00000du);
    CU_ASSERT_EQUAL(g.replica_http[3].port, 80);
    CU_ASSERT_EQUAL(g.client_agreement[0].port, 7100);
    CU_ASSERT_EQUAL(g.client_endpoints[0], 4);
    CU_ASSERT_EQUAL(g.client_endpoints[1], 1);
}

static void test_defaults(void) {
    struct group g;
    char err[GROUP_ERROR_BYTES] = "";
    static const char text[] = GROUP_HEAD REPLICAS CLIENT;
    CU_ASSERT_TRUE(group_read(write_file("defaults.conf", text, strlen(text)), &g, err));
    CU_ASSERT_FALSE(g.read_optimisation);
    CU_ASSERT_FALSE(g.unordered_writes);
    CU_ASSERT_EQUAL(g.request_max_bytes, 16777216);
    CU_ASSERT_EQUAL(g.response_max_bytes, 16777216);
    CU_ASSERT_EQUAL(g.checkpoint_interval, 128);
    CU_ASSERT_EQUAL(g.log_window, 512);
    CU_ASSERT_EQUAL(g.excluded_headers.count, 0);
}

struct bad_file {
    const char *text;
    const char *message; // what follows the path
};

#define LONG_60 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONG_300 LONG_60 LONG_60 LONG_60 LONG_60 LONG_60

static const struct bad_file bad_files[] = {
    // What rte_cfgfile would skip, cut or accept.
    {"", ": is empty: no [section] in it"},
    {"; nothing but a comment\n", ": is empty: no [section] in it"},
    {"replicas = 4\n", ": line 1: a key before the first [section]"},
    {"[group\nreplicas = 4\n", ": line 1: ']' is missing: write [section]"},
    {"[]\n", ": line 1: empty section name: write [section]"},
    {"[group] replicas = 4\n", ": line 1: text after ']': write [section] alone on its line"},
    {"[group]\nreplicas 4\n", ": line 2: neither a [section] nor 'key = value'"},
    {"[group]\n# comment\n", ": line 2: comments begin with ';', not '#'"},
    {"[group]\nreplicas =\n", ": line 2: no value after '=': write 'key = value', or leave the "
                              "line out"},
    {"[group]\n= 4\n", ": line 2: no key before '=': write 'key = value'"},
    {"[group]\n" LONG_60 "yyyy = 1\n", ": line 2: key too long: at most 63 characters"},
    {"[" LONG_60 "yyyy]\n", ": line 1: section name too long: at most 63 characters"},
    {"[group]\nk = " LONG_60 LONG_60 LONG_60 LONG_60 "yyyyyyyyyyyyyyyy\n",
     ": line 2: value too long: at most 255 characters"},
    {"[group]\nf = 1 ; " LONG_300 "yyyyyyyyyyyyyyyy\n",
     ": line 2: line too long: at most 320 characters, comment included"},
    {GROUP_HEAD "f = 1\n" REPLICAS CLIENT, ": [group] f: the key is there twice: keep one"},
    {GROUP_HEAD REPLICAS CLIENT "[replica 2]\n",
     ": [replica 2]: the section is there twice: merge them"},
    // Names.
    {GROUP_HEAD REPLICAS CLIENT "[replika 4]\n",
     ": [replika 4]: unknown section; did you mean 'replica #'?"},
    {GROUP_HEAD REPLICAS CLIENT "[whitelist]\n",
     ": [whitelist]: unknown section; known are group replica # client #"},
    {GROUP_HEAD REPLICAS CLIENT "[replica 04]\n",
     ": [replica 04]: unknown section; did you mean 'replica #'?"},
    {GROUP_HEAD "read-optimization = no\n" REPLICAS CLIENT,
     ": [group] read-optimization: unknown key; did you mean 'read-optimisation'?"},
    {GROUP_HEAD REPLICAS CLIENT "port = 7\n",
     ": [client 0] port: unknown key; known are address endpoints"},
    {GROUP_HEAD REPLICAS "adress = 1\n" CLIENT,
     ": [replica 3] adress: unknown key; did you mean 'address'?"},
    // [group].
    {REPLICAS CLIENT, ": [group] replicas: is missing; write for example 'replicas = 4'"},
    {"[group]\nreplicas = 4\n" REPLICAS CLIENT,
     ": [group] f: is missing; write for example 'f = 1'"},
    {"[group]\nreplicas = 4\nf = 1\n" REPLICAS CLIENT,
     ": [group] incarnation: is missing; write for example 'incarnation = 8f1d6c0a52b79e34'"},
    {"[group]\nreplicas = 3\nf = 1\nincarnation = 1\n",
     ": [group] replicas: 3 replicas are too few to bear f = 1 faulty ones: at least 3f + 1 = 4"},
    {"[group]\nreplicas = 9\nf = 3\nincarnation = 1\n",
     ": [group] replicas: 9 replicas are too few to bear f = 3 faulty ones: at least 3f + 1 = 10"},
    {"[group]\nreplicas = 33\nf = 1\nincarnation = 1\n",
     ": [group] replicas: '33' is not a whole number from 1 to 32"},
    {"[group]\nreplicas = four\nf = 1\n",
     ": [group] replicas: 'four' is not a whole number from 1 to 32"},
    {"[group]\nreplicas = -4\nf = 1\n",
     ": [group] replicas: '-4' is not a whole number from 1 to 32"},
    {"[group]\nreplicas = 4\nf = 11\n", ": [group] f: '11' is not a whole number from 0 to 10"},
    {"[group]\nreplicas = 4\nf = 1\nincarnation = xyz\n",
     ": [group] incarnation: must be 1 to 16 hexadecimal digits, not all zero"},
    {"[group]\nreplicas = 4\nf = 1\nincarnation = 0000\n",
     ": [group] incarnation: must be 1 to 16 hexadecimal digits, not all zero"},
    {"[group]\nreplicas = 4\nf = 1\nincarnation = 10000000000000000\n",
     ": [group] incarnation: must be 1 to 16 hexadecimal digits, not all zero"},
    {GROUP_HEAD "read-optimisation = maybe\n",
     ": [group] read-optimisation: 'maybe' is neither yes nor no"},
    {GROUP_HEAD "request-max-bytes = 1\n",
     ": [group] request-max-bytes: '1' is not a whole number from 1024 to 268435456"},
    {GROUP_HEAD "response-max-bytes = 16M\n",
     ": [group] response-max-bytes: '16M' is not a whole number from 1024 to 268435456"},
    {GROUP_HEAD "checkpoint-interval = 0\n",
     ": [group] checkpoint-interval: '0' is not a whole number from 1 to 16384"},
    {GROUP_HEAD "checkpoint-interval = 100\nlog-window = 199\n",
     ": [group] log-window: '199' is not a whole number from 200 to 65536"},
    {GROUP_HEAD "excluded-headers = x:y\n",
     ": [group] excluded-headers: must be header names of at most 63 characters"},
    // [replica I] and [client I].
    {GROUP_HEAD "[replica 0]\nhttp = 10.0.0.10:80\n",
     ": [replica 0] address: is missing; write for example 'address = 10.0.0.10:7000'"},
    {GROUP_HEAD "[replica 0]\naddress = 10.0.0.10:7000\n",
     ": [replica 0] http: is missing; write for example 'http = 10.0.0.10:80'"},
    {GROUP_HEAD "[replica 0]\naddress = 10.0.0:7000\nhttp = 10.0.0.10:80\n",
     ": [replica 0] address: '10.0.0:7000' is not an IPv4 address and port; write for example "
     "10.0.0.10:7000"},
    {GROUP_HEAD "[replica 0]\naddress = 10.0.0.10\nhttp = 10.0.0.10:80\n",
     ": [replica 0] address: '10.0.0.10' is not an IPv4 address and port"},
    {GROUP_HEAD "[replica 0]\naddress = 10.0.0.10:0\nhttp = 10.0.0.10:80\n",
     ": [replica 0] address: '10.0.0.10:0' is not an IPv4 address and port"},
    {GROUP_HEAD "[replica 0]\naddress = 10.0.0.10:65536\nhttp = 10.0.0.10:80\n",
     ": [replica 0] address: '10.0.0.10:65536' is not an IPv4 address and port"},
    {GROUP_HEAD "[replica 0]\naddress = 239.0.0.1:7000\nhttp = 10.0.0.10:80\n",
     ": [replica 0] address: '239.0.0.1:7000' is not the address of one host"},
    {GROUP_HEAD "[replica 0]\naddress = 10.0.0.10:7000\nhttp = 0.0.0.0:80\n",
     ": [replica 0] http: '0.0.0.0:80' is not the address of one host"},
    {GROUP_HEAD REPLICAS "[replica 4]\naddress = 10.0.0.14:7000\nhttp = 10.0.0.14:80\n" CLIENT,
     ": [replica 4]: too many, there are 4, numbered from 0"},
    {GROUP_HEAD "[replica 0]\naddress = 10.0.0.10:7000\nhttp = 10.0.0.10:80\n[replica 2]\n",
     ": [replica 1]: is missing, and a higher one is there; number them from 0 without a gap"},
    {GROUP_HEAD "[replica 0]\naddress = 10.0.0.10:7000\nhttp = 10.0.0.10:80\n",
     ": [replica 1] address: is missing"},
    {GROUP_HEAD REPLICAS, ": [client 0] address: is missing; write for example 'address = "
                          "10.0.0.1:7100'"},
    {GROUP_HEAD REPLICAS "[client 1]\naddress = 10.0.0.1:7100\n",
     ": [client 0]: is missing, and a higher one is there"},
    {GROUP_HEAD REPLICAS "[client 0]\naddress = 10.0.0.1:7100\nendpoints = 17\n",
     ": [client 0] endpoints: '17' is not a whole number from 1 to 16"},
    {GROUP_HEAD REPLICAS "[client 0]\naddress = 10.0.0.1:65530\nendpoints = 7\n",
     ": [client 0] endpoints: endpoint k listens on port + k, which goes beyond 65535"},
    // Twice the same address.
    {GROUP_HEAD REPLICAS "[client 0]\naddress = 10.0.0.12:6999\nendpoints = 2\n",
     ": [client 0] address: the same address and port as [replica 2]; each needs its own"},
    {GROUP_HEAD REPLICAS CLIENT "[client 1]\naddress = 10.0.0.1:7103\n",
     ": [client 1] address: the same address and port as [client 0]; each needs its own"},
    {GROUP_HEAD "[replica 0]\naddress = 10.0.0.10:7000\nhttp = 10.0.0.10:80\n"
                "[replica 1]\naddress = 10.0.0.10:7000\nhttp = 10.0.0.10:81\n"
                "[replica 2]\naddress = 10.0.0.12:7000\nhttp = 10.0.0.12:80\n"
                "[replica 3]\naddress = 10.0.0.13:7000\nhttp = 10.0.0.13:80\n" CLIENT,
     ": [replica 1] address: the same address and port as [replica 0]; each needs its own"},
    {GROUP_HEAD "[replica 0]\naddress = 10.0.0.10:7000\nhttp = 10.0.0.10:80\n"
                "[replica 1]\naddress = 10.0.0.11:7000\nhttp = 10.0.0.11:80\n"
                "[replica 2]\naddress = 10.0.0.12:7000\nhttp = 10.0.0.12:80\n"
                "[replica 3]\naddress = 10.0.0.13:7000\nhttp = 10.0.0.11:80\n" CLIENT,
     ": [replica 3] http: the same address and port as [replica 1]; each needs its own"},
};

static void expect_refused(const char *path, const char *message) {
    struct group g;
    char err[GROUP_ERROR_BYTES] = "", want[GROUP_ERROR_BYTES];
    snprintf(want, sizeof want, "%s%s", path, message);
    CU_ASSERT_FALSE(group_read(path, &g, err));
    CU_ASSERT_EQUAL(strncmp(err, want, strlen(want)), 0);
    if (strncmp(err, want, strlen(want)) != 0)
        printf("\n  got  %s\n  want %s\n", err, want);
    CU_ASSERT_PTR_NULL(strchr(err, '\n'));
}

static void test_bad_files(void) {
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++)
        expect_refused(write_file("bad.conf", bad_files[i].text, strlen(bad_files[i].text)),
                       bad_files[i].message);
}

static void test_unreadable(void) {
    static const char nul[] = "[group]\nreplicas = 4\0\n";
    expect_refused(file_path("absent.conf"), ": cannot be read: No such file or directory");
    expect_refused(dir, ": must be a regular file of at most 1 MiB");
    expect_refused(write_file("nul.conf", nul, sizeof nul - 1),
                   ": line 2: a NUL byte: this is not a text file");
}

static void test_too_many_endpoints(void) {
    char text[4096];
    size_t len = (size_t)snprintf(text, sizeof text, "%s%s", GROUP_HEAD, REPLICAS);
    for (int i = 0; i < 7; i++)
        len +=
            (size_t)snprintf(text + len, sizeof text - len,
                             "[client %d]\naddress = 10.0.1.%d:7000\nendpoints = 16\n", i, i + 1);
    expect_refused(write_file("endpoints.conf", text, len),
                   ": the clients have 112 endpoints together: at most 96");
}

static void test_parse(void) {
    char err[GROUP_ERROR_BYTES];
    struct group_endpoint at;
    uint32_t addr;
    uint8_t prefix;
    uint64_t v = 7;
    bool b = false;
    CU_ASSERT_TRUE(group_parse_endpoint("255.1.2.3:1", "x", &at, err) == false);
    CU_ASSERT_TRUE(group_parse_endpoint("127.0.0.1:65535", "x", &at, err));
    CU_ASSERT_EQUAL(at.addr, 0x7f000001u);
    CU_ASSERT_EQUAL(at.port, 65535);
    CU_ASSERT_FALSE(group_parse_endpoint("127.0.0.1:80 ", "x", &at, err));
    CU_ASSERT_FALSE(group_parse_endpoint("127.0.0.01:80", "x", &at, err));
    CU_ASSERT_FALSE(group_parse_endpoint("localhost:80", "--backend", &at, err));
    CU_ASSERT_STRING_EQUAL(err, "--backend: 'localhost:80' is not an IPv4 address and port; write "
                                "for example 10.0.0.10:7000");
    CU_ASSERT_TRUE(group_parse_ipv4("10.77.0.1/24", "x", &addr, &prefix, err));
    CU_ASSERT_EQUAL(addr, 0x0a4d0001u);
    CU_ASSERT_EQUAL(prefix, 24);
    CU_ASSERT_FALSE(group_parse_ipv4("10.77.0.1/33", "x", &addr, &prefix, err));
    CU_ASSERT_FALSE(group_parse_ipv4("10.77.0.1/0", "x", &addr, &prefix, err));
    CU_ASSERT_FALSE(group_parse_ipv4("10.77.0.1", "x", &addr, &prefix, err));
    CU_ASSERT_FALSE(group_parse_ipv4("10.77.0.1/24", "x", &addr, NULL, err));
    CU_ASSERT_TRUE(group_parse_ipv4("10.77.0.100", "x", &addr, NULL, err));
    CU_ASSERT_EQUAL(addr, 0x0a4d0064u);
    CU_ASSERT_TRUE(group_parse_u64("18446744073709551615", "x", 0, UINT64_MAX, &v, err));
    CU_ASSERT_EQUAL(v, UINT64_MAX);
    CU_ASSERT_FALSE(group_parse_u64("18446744073709551616", "x", 0, UINT64_MAX, &v, err));
    CU_ASSERT_FALSE(group_parse_u64("0x10", "x", 0, 100, &v, err));
    CU_ASSERT_FALSE(group_parse_u64("", "x", 0, 100, &v, err));
    CU_ASSERT_EQUAL(v, UINT64_MAX);
    CU_ASSERT_TRUE(group_parse_bool("yes", "x", &b, err) && b);
    CU_ASSERT_TRUE(group_parse_bool("no", "x", &b, err) && !b);
    CU_ASSERT_FALSE(group_parse_bool("true", "x", &b, err));
}

static void test_config_lists(void) {
    static const char text[] = "[whitelist]\nstatic = GET /static/*\nsemi = GET /a\\;b\n[port 0]\n"
                               "address = 1\n";
    static const char *const names[] = {"whitelist", "port #", NULL};
    char err[GROUP_ERROR_BYTES] = "";
    const char *key, *value;
    struct conf *c = conf_read(write_file("list.conf", text, strlen(text)), err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_TRUE(conf_check_sections(c, names, err));
    CU_ASSERT_TRUE(conf_entry(c, "whitelist", 0, &key, &value));
    CU_ASSERT_STRING_EQUAL(key, "static");
    CU_ASSERT_STRING_EQUAL(value, "GET /static/*");
    CU_ASSERT_TRUE(conf_entry(c, "whitelist", 1, &key, &value));
    CU_ASSERT_STRING_EQUAL(value, "GET /a;b");
    CU_ASSERT_FALSE(conf_entry(c, "whitelist", 2, &key, &value));
    CU_ASSERT_FALSE(conf_entry(c, "blacklist", 0, &key, &value));
    CU_ASSERT_STRING_EQUAL(conf_section(c, 1), "port 0");
    CU_ASSERT_PTR_NULL(conf_section(c, 2));
    CU_ASSERT_PTR_NULL(conf_get(c, "port 0", "gateway"));
    conf_free(c);
}

/* ---- keys */

static struct group small_group(void) {
    return (struct group){.replicas = 4, .f = 1, .clients = 2};
}

static void test_keys_made_and_read(void) {
    struct group g = small_group();
    struct group_keys keys[6];
    char err[GROUP_ERROR_BYTES] = "", keydir[96];
    struct stat st;
    snprintf(keydir, sizeof keydir, "%s/keys", dir);
    CU_ASSERT_TRUE_FATAL(group_keygen(&g, keydir, err));
    CU_ASSERT_TRUE(stat(keydir, &st) == 0 && (st.st_mode & 0777) == 0700);
    for (uint32_t p = 0; p < 6; p++) {
        char path[160];
        snprintf(path, sizeof path, p < 4 ? "%s/replica-%u.key" : "%s/client-%u.key", keydir,
                 p < 4 ? p : p - 4);
        CU_ASSERT_TRUE(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
        CU_ASSERT_TRUE_FATAL(group_keys_read(path, &g, p, &keys[p], err));
        CU_ASSERT_EQUAL(keys[p].self, p);
        CU_ASSERT_EQUAL(keys[p].count, 6);
    }
    for (uint32_t a = 0; a < 6; a++) {
        for (uint32_t b = 0; b < a; b++) {
            CU_ASSERT_EQUAL(memcmp(keys[a].key[b], keys[b].key[a], CRYPTO_KEY_BYTES), 0);
            CU_ASSERT_NOT_EQUAL(memcmp(keys[a].key[b], keys[a].key[(b + 1) % 6], CRYPTO_KEY_BYTES),
                                0);
        }
    }
    CU_ASSERT_FALSE(group_keygen(&g, keydir, err));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(err, "replica-0.key: exists already; keys are never overwritten"));
}

static void test_keygen_leaves_nothing_half_made(void) {
    struct group g = small_group();
    char err[GROUP_ERROR_BYTES] = "", keydir[96], path[160];
    snprintf(keydir, sizeof keydir, "%s/half", dir);
    CU_ASSERT_EQUAL(mkdir(keydir, 0700), 0);
    snprintf(path, sizeof path, "%s/client-1.key", keydir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    CU_ASSERT_TRUE(fd >= 0 && write(fd, "mine", 4) == 4 && close(fd) == 0);
    CU_ASSERT_FALSE(group_keygen(&g, keydir, err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "client-1.key: exists already"));
    snprintf(path, sizeof path, "%s/replica-0.key", keydir);
    CU_ASSERT_TRUE(access(path, F_OK) != 0 && errno == ENOENT);
    CU_ASSERT_FALSE(group_keygen(&g, file_path("full.conf"), err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "is not a directory"));
    CU_ASSERT_FALSE(group_keygen(&g, file_path("no/such/place"), err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "cannot be made: No such file or directory"));
}

#define HEX "00112233445566778899aabbccddeeff"

static const struct bad_file bad_keys[] = {
    {"", ": no key for principal 0; was it made for another group file?"},
    {"0 " HEX "\n2 " HEX "\n3 " HEX "\n4 " HEX "\n",
     ": no key for principal 5; was it made for another group file?"},
    {"0 " HEX "\n0 " HEX "\n", ": line 2: gives a second key for one principal"},
    {"0 " HEX "\n1 " HEX "\n", ": line 2: names the principal whose file this is"},
    {"0 " HEX "\n6 " HEX "\n", ": line 2: names a principal that the group does not have"},
    {"0 0011\n", ": line 1: must read 'PRINCIPAL HEX' with 32 lower-case hexadecimal digits"},
    {"0 " HEX "0\n", ": line 1: must read 'PRINCIPAL HEX'"},
    {"x " HEX "\n", ": line 1: must read 'PRINCIPAL HEX'"},
    {"0 0011223344556677 8899aabbccddeef\n", ": line 1: must read 'PRINCIPAL HEX'"},
    {"\n", ": line 1: must read 'PRINCIPAL HEX'"},
};

static void expect_keys_refused(const char *path, const char *message) {
    static const struct group_keys wiped;
    struct group g = small_group();
    struct group_keys keys;
    char err[GROUP_ERROR_BYTES] = "", want[GROUP_ERROR_BYTES];
    snprintf(want, sizeof want, "%s%s", path, message);
    CU_ASSERT_FALSE(group_keys_read(path, &g, 1, &keys, err));
    CU_ASSERT_EQUAL(strncmp(err, want, strlen(want)), 0);
    if (strncmp(err, want, strlen(want)) != 0)
        printf("\n  got  %s\n  want %s\n", err, want);
    CU_ASSERT_PTR_NULL(strstr(err, "0011")); // a message never shows a key
    CU_ASSERT_EQUAL(memcmp(&keys, &wiped, sizeof keys), 0);
}

static void test_bad_keys(void) {
    for (size_t i = 0; i < sizeof bad_keys / sizeof bad_keys[0]; i++) {
        const char *path = write_file("bad.key", bad_keys[i].text, strlen(bad_keys[i].text));
        CU_ASSERT_EQUAL(chmod(path, 0600), 0);
        expect_keys_refused(path, bad_keys[i].message);
    }
    const char *path = write_file("open.key", "0 " HEX "\n", 35);
    CU_ASSERT_EQUAL(chmod(path, 0640), 0);
    expect_keys_refused(path, ": mode 0640 lets others than its owner at the keys; run chmod 600");
    expect_keys_refused(file_path("absent.key"), ": cannot be read: No such file or directory");
    expect_keys_refused("/dev/null", ": must be a regular file");
}

static void remove_tree(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    CU_ASSERT_EQUAL(system(command), 0);
}

static const struct unit_case cases[] = {
    {"reads every key", test_full},
    {"defaults", test_defaults},
    {"bad files, each with its message", test_bad_files},
    {"unreadable files", test_unreadable},
    {"too many endpoints", test_too_many_endpoints},
    {"parses values strictly", test_parse},
    {"lists of free keys", test_config_lists},
    {"keys made and read back", test_keys_made_and_read},
    {"keygen overwrites nothing", test_keygen_leaves_nothing_half_made},
    {"bad key files", test_bad_keys},
    {"cleans up", remove_tree},
    {0},
};

int main(int argc, char **argv) {
    if (mkdtemp(dir) == NULL)
        return 2;
    return unit_main("group", cases, argc, argv);
}
