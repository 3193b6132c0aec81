/* SPDX-License-Identifier: Apache-2.0 */
/* What Debezium Server wrote for these rows and options comes out of the router, byte for byte. ONEWRITE_GOLDEN names
   another folder of cases. */
#include "unit.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "debezium_golden.h"

#define CASES_MIN 60 /* so that a folder that is not found is no success */

static const char *folder(void)
{
    static char path[4096];
    const char *given = getenv("ONEWRITE_GOLDEN");
    if (given)
        return given;
    const char *slash = strrchr(__FILE__, '/');
    (void)snprintf(path, sizeof(path), "%.*s/../golden/debezium", slash ? (int)(slash - __FILE__) : 1,
                   slash ? __FILE__ : ".");
    return path;
}

static void every_case_comes_out_equal(void **state)
{
    (void)state;
    char pattern[4200];
    glob_t files;
    (void)snprintf(pattern, sizeof(pattern), "%s/*.json", folder());
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    size_t different = 0;
    for (size_t i = 0; i < files.gl_pathc; i++) {
        struct ow_buf differences = {0};
        golden_run(files.gl_pathv[i], &differences);
        if (differences.size > 0) {
            print_message("# %s\n%s", files.gl_pathv[i], differences.data);
            different++;
        }
        ow_buf_done(&differences);
    }
    assert_true(files.gl_pathc >= CASES_MIN);
    assert_int_equal(different, 0);
    globfree(&files);
}

/* The runner finds differences. */
static void a_wrong_record_is_noticed(void **state)
{
    (void)state;
    static const char wrong[] =
        "{\"description\":\"\",\"properties\":\"debezium.transforms=o\\n"
        "debezium.transforms.o.type=io.debezium.transforms.outbox.EventRouter\\ndebezium.format.key=simplestring\\n\","
        "\"stops\":false,\"tables\":[{\"name\":\"outbox\",\"columns\":["
        "{\"name\":\"id\",\"type\":25,\"typname\":\"text\",\"element\":0,\"typmod\":-1,\"enum\":false,\"labels\":null,"
        "\"not_null\":true,\"default\":null}]}],\"rows\":[[\"outbox\",\"INSERT\",[\"1\"]]],\"records\":[]}";
    char path[] = "/tmp/onewrite-golden-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, wrong, sizeof(wrong) - 1), sizeof(wrong) - 1);
    (void)close(fd);
    struct ow_buf differences = {0};
    golden_run(path, &differences);
    (void)unlink(path);
    assert_non_null(strstr(differences.data, "unfit: the table has no column \"payload\""));
    ow_buf_done(&differences);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_comes_out_equal),
        cmocka_unit_test(a_wrong_record_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
