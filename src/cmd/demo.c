/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite demo: the command, its folder, and what is printed in the end. */
#include "cmd/demo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/output.h"

static const struct ow_flag flags[] = {
    {"seconds", 's', "N", OW_FLAG_INTEGER, "20", "how long orders are placed",
     offsetof(struct ow_demo_options, seconds), NULL, 1, 600},
    {"writers", 'w', "N", OW_FLAG_INTEGER, "4", "how many processes place orders, in each of the two shops",
     offsetof(struct ow_demo_options, writers), NULL, 1, OW_DEMO_WRITERS_MAX},
    {"kills-per-second", 'k', "N", OW_FLAG_INTEGER, "2",
     "how often the relay is killed, and a writer of the naive shop; at random, this is the mean",
     offsetof(struct ow_demo_options, kills_per_second), NULL, 1, 20},
    {"json", 0, NULL, OW_FLAG_BOOL, NULL, "print the counts as one JSON object, the table on standard error",
     offsetof(struct ow_demo_options, prints_json), NULL, 0, 0},
    {"keep", 0, "DIR", OW_FLAG_STRING, NULL, "leave the files in this new or empty folder, for a look with SQL",
     offsetof(struct ow_demo_options, keep), NULL, 0, 0},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite demo", "20 seconds of it"},
    {"onewrite demo --seconds 60 --writers 8 --kills-per-second 5", "longer and rougher"},
    {"onewrite demo --keep shop && onewrite tail journal:shop/bus.db --from beginning --until-end",
     "look at what was published"},
    {0},
};

/* --- the folder ---------------------------------------------------------------------------------------- */

struct folder {
    int home_fd; /* where we came from; -1: we never went */
    bool is_temporary;
    char path[PATH_MAX];
};

static bool is_empty(DIR *folder)
{
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return false;
    return true;
}

static int make_kept(const char *path, struct ow_error *err)
{
    if (mkdir(path, 0777) == 0)
        return 0;
    if (errno != EEXIST)
        return ow_error_errno(err, errno, "--keep %s", path);
    DIR *folder = opendir(path);
    if (!folder)
        return ow_error_errno(err, errno, "--keep %s", path);
    bool may_be_used = is_empty(folder);
    (void)closedir(folder);
    if (!may_be_used)
        return ow_error_set(err, OW_EUSAGE, "--keep %s: the folder is not empty; name a new one", path);
    return 0;
}

static int folder_enter(struct folder *folder, const char *keep, struct ow_error *err)
{
    const char *tmp = getenv("TMPDIR");
    int n = keep ? snprintf(folder->path, sizeof folder->path, "%s", keep)
                 : snprintf(folder->path, sizeof folder->path, "%s/onewrite-demo-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (n < 0 || (size_t)n >= sizeof folder->path)
        return ow_error_set(err, OW_EUSAGE, "the name of the folder is too long");
    int r = keep ? make_kept(keep, err) : 0;
    if (r < 0)
        return r;
    folder->home_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->home_fd < 0)
        return ow_error_errno(err, errno, "the working directory");
    if (!keep && !mkdtemp(folder->path))
        return ow_error_errno(err, errno, "cannot make a temporary folder %s", folder->path);
    folder->is_temporary = !keep;
    if (chdir(folder->path) != 0)
        return ow_error_errno(err, errno, "%s", folder->path);
    return 0;
}

/* The files are ours, and lie flat. */
static void empty_this_folder(void)
{
    DIR *here = opendir(".");
    if (!here)
        return;
    for (struct dirent *entry; (entry = readdir(here));)
        (void)unlinkat(dirfd(here), entry->d_name, 0);
    (void)closedir(here);
}

static void folder_leave(struct folder *folder)
{
    struct stat here, there;
    if (folder->home_fd < 0)
        return;
    /* Only if that is where we are. */
    if (folder->is_temporary && stat(".", &here) == 0 && fchdir(folder->home_fd) == 0 &&
        stat(folder->path, &there) == 0 && here.st_ino == there.st_ino && here.st_dev == there.st_dev &&
        chdir(folder->path) == 0)
        empty_this_folder();
    if (fchdir(folder->home_fd) == 0 && folder->is_temporary)
        (void)rmdir(folder->path);
    (void)close(folder->home_fd);
    folder->home_fd = -1;
}

/* --- the command --------------------------------------------------------------------------------------- */

static int print_result(const struct ow_demo_options *options, const struct ow_demo_result *result,
                        struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf table = {0}, json = {0};
    ow_demo_table(result, &table);
    ow_demo_json(result, &json);
    int r = ow_buf_check(&table, err);
    if (r == 0)
        r = ow_buf_check(&json, err);
    if (r < 0)
        return r;
    if (!options->prints_json)
        return ow_output_write(ow_buf_bytes(&table), err);
    if (!ow_is_quiet() && write(STDERR_FILENO, table.data, table.size) < 0) {
        /* The object is what was asked for. */
    }
    return ow_output_write(ow_buf_bytes(&json), err);
}

static int judge(const struct ow_demo_result *result, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf broken = {0};
    ow_demo_broken(result, &broken);
    int r = ow_buf_check(&broken, err);
    if (r == 0 && broken.size)
        r = ow_error_set(err, OW_EINTERNAL, "the demo failed: %s", broken.data);
    return r;
}

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    const struct ow_demo_options *o = options;
    OW_CLEANUP(folder_leave) struct folder folder = {.home_fd = -1};
    struct ow_demo_result result;
    (void)arguments;
    (void)count;
    int r = folder_enter(&folder, o->keep, err);
    if (r < 0)
        return r;
    ow_say("Two shops for %" PRId64 " s, %" PRId64 " writers each; about %" PRId64
           " times a second kill -9 hits the relay, and a writer of the naive shop.",
           o->seconds, o->writers, o->kills_per_second);
    r = ow_demo_conduct(o, &result, err);
    if (r > 0)
        return 128 + r; /* as a shell says it of who was ended by this signal */
    if (r == 0)
        r = print_result(o, &result, err);
    if (r == 0)
        r = judge(&result, err);
    if (o->keep)
        ow_say("The files are in %s: shop.db and bus.db, naive.db and naive_bus.db, " OW_DEMO_RELAY_LOG ".", o->keep);
    return r;
}

const struct ow_command ow_command_demo = {
    .name = "demo",
    .summary = "a shop under kill -9, beside the same shop that writes twice",
    .description =
        "Several processes place orders in a small shop. Each order and its event are one transaction, the event "
        "being a row in the outbox; some are rolled back on purpose. One relay publishes the events into an embedded "
        "journal. The relay, and now and then a writer, is killed with kill -9 at random moments and started again.\n\n"
        "Beside it, at the same time, runs the naive version of the same shop, which writes to its database and "
        "then to the journal. Its writers are killed in the same way.\n\n"
        "In the end every event in the journals is compared with the orders in the tables: lost (an order that was "
        "committed, but never published), ghosts (published, but never committed), out of order (within a customer), "
        "duplicates (published more than once). The status is 0 only if onewrite has none of them.\n\n"
        "The files are in a temporary folder, which is removed, unless --keep names another.",
    .examples = examples,
    .options = flags,
    .options_size = sizeof(struct ow_demo_options),
    .run = run,
};
