/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/lock.h"

static char directory[64], path[80];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof directory, "/tmp/onewrite-lock-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    (void)snprintf(path, sizeof path, "%s/lock", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(directory);
}

static void test_one_holder(void **state)
{
    (void)state;
    struct ow_lock_file one = {-1}, two = {-1};
    struct ow_error err = {0};
    assert_int_equal(ow_lock_file_open(&one, path, &err), 0);
    assert_int_equal(ow_lock_file_open(&two, path, &err), 0);
    assert_int_equal(ow_lock_take(&one, 0, &err), 0);
    assert_int_equal(ow_lock_take(&one, 0, &err), 0);
    assert_int_equal(ow_lock_take(&two, 0, &err), OW_EBUSY);
    assert_true(ow_lock_is_held(&two, 0));
    assert_false(ow_lock_is_held(&one, 0));           /* by somebody else */
    assert_int_equal(ow_lock_take(&two, 1, &err), 0); /* another number is another lock */
    ow_lock_give(&one, 0);
    assert_false(ow_lock_is_held(&two, 0));
    assert_int_equal(ow_lock_take(&two, 0, &err), 0);
    assert_int_equal(ow_lock_take(&one, 0, &err), OW_EBUSY);
    ow_lock_file_close(&two);
    assert_int_equal(ow_lock_take(&one, 0, &err), 0);
    assert_int_equal(ow_lock_take(&one, 1, &err), 0);
    ow_lock_file_close(&one);
    ow_lock_file_close(&one);
}

static void test_a_killed_holder_gives_up(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct ow_lock_file lock = {-1};
        struct ow_error err;
        char c = ow_lock_file_open(&lock, path, &err) == 0 && ow_lock_take(&lock, 7, &err) == 0 ? 'y' : 'n';
        if (write(ready[1], &c, 1) == 1)
            for (;;)
                (void)pause();
        _exit(1);
    }
    char c = 0;
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    struct ow_lock_file lock = {-1};
    struct ow_error err = {0};
    assert_int_equal(ow_lock_file_open(&lock, path, &err), 0);
    assert_int_equal(ow_lock_take(&lock, 7, &err), OW_EBUSY);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(ow_lock_take(&lock, 7, &err), 0);
    ow_lock_file_close(&lock);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void test_no_such_directory(void **state)
{
    (void)state;
    struct ow_lock_file lock = {-1};
    struct ow_error err = {0};
    assert_int_equal(ow_lock_file_open(&lock, "/nowhere/at/all/lock", &err), OW_ENOTFOUND);
    assert_text_has(err.text, "/nowhere/at/all/lock");
    ow_lock_file_close(&lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_holder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_killed_holder_gives_up, set_up, tear_down),
        cmocka_unit_test(test_no_such_directory),
    };
    return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
