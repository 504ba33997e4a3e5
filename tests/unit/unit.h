/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The common frame of the unit tests: a table of cases, run by CUnit in its basic mode.
 *
 *   static const struct unit_case cases[] = {{"parses a head", test_head}, {0}};
 *   int main(int argc, char **argv) { return unit_main("http", cases, argc, argv); }
 *
 * An argument runs only the cases whose name contains it. Exit status 0 when every assertion held
 * and at least one case ran.
 */
#ifndef PROPHECY_UNIT_H
#define PROPHECY_UNIT_H

#include <CUnit/Basic.h>
#include <stdio.h>
#include <string.h>

struct unit_case {
    const char *name;
    void (*run)(void);
};

static inline int unit_main(const char *suite_name, const struct unit_case *cases, int argc,
                            char **argv) {
    unsigned int selected = 0;
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
    for (const struct unit_case *c = cases; suite != NULL && c->name != NULL; c++) {
        if (argc > 1 && strstr(c->name, argv[1]) == NULL)
            continue;
        if (CU_add_test(suite, c->name, c->run) == NULL)
            return 2;
        selected++;
    }
    CU_basic_set_mode(CU_BRM_NORMAL);
    if (CU_basic_run_tests() != CUE_SUCCESS)
        return 2;
    unsigned int failures = CU_get_number_of_failures();
    CU_cleanup_registry();
    if (selected == 0) {
        fprintf(stderr, "%s: no case is named like '%s'\n", suite_name, argc > 1 ? argv[1] : "");
        return 2;
    }
    return failures == 0 ? 0 : 1;
}

#endif
