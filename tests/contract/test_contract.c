/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the contract suites over what there is: the journal and a file, and, for the suite's own sake, fakes. */
#include "../unit/unit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "contract.h"

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    fake_forget();
    fake_lie = FAKE_HONEST;
    (void)snprintf(folder, sizeof folder, "/tmp/onewrite-contract-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        (void)closedir(dir);
    fake_forget();
    return rmdir(folder);
}

/* --- the subjects -------------------------------------------------------------------------------------- */

static char *path_in(const char *in, char path[128])
{
    (void)snprintf(path, 128, "%s/subject", in);
    return path;
}

static int new_journal(const char *in, struct ow_broker **ret, struct ow_error *err)
{
    char path[128];
    return ow_journal_broker_new(&(struct ow_journal_options){.path = path_in(in, path)}, ret, err);
}

static int new_journal_subscriber(const char *in, const struct ow_subscriber_options *options,
                                  struct ow_subscriber **ret, struct ow_error *err)
{
    char path[128];
    return ow_journal_subscriber_new(path_in(in, path), options, ret, err);
}

static int new_file(const char *in, struct ow_broker **ret, struct ow_error *err)
{
    char path[128];
    return ow_file_broker_new(&(struct ow_file_options){.path = path_in(in, path)}, ret, err);
}

static int new_file_subscriber(const char *in, const struct ow_subscriber_options *options, struct ow_subscriber **ret,
                               struct ow_error *err)
{
    char path[128];
    return ow_file_subscriber_new(path_in(in, path), options, ret, err);
}

static const struct contract_subject journal = {"journal", new_journal, new_journal_subscriber, false};
static const struct contract_subject file = {"file", new_file, new_file_subscriber, false};

/* --- the tests ----------------------------------------------------------------------------------------- */

struct run {
    const struct contract_subject *subject;
    const struct contract_case *contract;
    char name[120];
};

static void test_one(void **state)
{
    const struct run *run = *state;
    const char *broken = run->contract->check(run->subject, folder);
    if (broken)
        fail_msg("%s: %s", run->name, broken);
}

/* Whether any promise was found broken. */
static bool is_found(const struct contract_case *contract)
{
    for (; contract->name; contract++) {
        enum fake_lie lie = fake_lie;
        fake_forget();
        fake_lie = lie;
        if (contract->check(&contract_fake, folder))
            return true;
    }
    return false;
}

static void test_every_lie_is_found(void **state)
{
    (void)state;
    assert_false(is_found(contract_publishing));
    for (int lie = FAKE_HONEST + 1; lie < FAKE_LIE_COUNT; lie++) {
        fake_lie = (enum fake_lie)lie;
        if (!is_found(contract_publishing))
            fail_msg("the suite does not find lie %d of fake.c", lie);
    }
}

static size_t add(struct CMUnitTest *tests, struct run *runs, size_t count, const struct contract_subject *subject,
                  const struct contract_case *contract)
{
    for (; contract->name; contract++, count++) {
        struct run *run = &runs[count];
        *run = (struct run){.subject = subject, .contract = contract};
        (void)snprintf(run->name, sizeof run->name, "%s: %s", subject->name, contract->name);
        tests[count] = (struct CMUnitTest){run->name, test_one, set_up, tear_down, run};
    }
    return count;
}

int main(void)
{
    static struct CMUnitTest tests[64];
    static struct run runs[64];
    size_t count = 0;
    count = add(tests, runs, count, &contract_fake, contract_publishing);
    count = add(tests, runs, count, &journal, contract_publishing);
    count = add(tests, runs, count, &file, contract_publishing);
    count = add(tests, runs, count, &journal, contract_subscribing);
    count = add(tests, runs, count, &file, contract_subscribing);
    count = add(tests, runs, count, &journal, contract_groups);
    tests[count++] = (struct CMUnitTest){"every lie is found", test_every_lie_is_found, set_up, tear_down, NULL};
    return _cmocka_run_group_tests("contract", tests, count, NULL, NULL);
}
