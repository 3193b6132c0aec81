/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of an SQLite store, as others change them and as they grow.
 *
 * - A change by somebody else is seen at once: inotify watches the database file and its -wal, and
 *   PRAGMA data_version says whether it was somebody else's. Where inotify cannot be had, an interval that
 *   grows while nothing happens takes its place.
 * - The WAL is kept bounded: SQLite's own automatic checkpoint is passive and never gets to the end of the
 *   WAL while readers and writers take turns without a pause; tidy() therefore makes a truncating one
 *   when the WAL has grown large.
 */
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/units.h"
#include "store/sqlite.h"

enum {
    WAL_PASSIVE_BYTES = 4 << 20,
    WAL_TRUNCATE_BYTES = 16 << 20,
    TRUNCATE_TIMEOUT_MS = 100,
    TRUNCATE_PAUSE_MS = 500,
    LOOK_MS_MIN = 1,
    LOOK_MS_MAX = 250,      /* without inotify */
    LOOK_MS_WATCHED = 1000, /* with inotify: in case that it misses something */
};

/* --- seeing changes ---------------------------------------------------------------------------------- */

static void watch(struct ow_sqlite *s)
{
    if (s->inotify_fd < 0)
        s->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (s->inotify_fd < 0)
        return;
    char wal[4096];
    (void)snprintf(wal, sizeof wal, "%s-wal", s->canonical);
    bool is_watched = inotify_add_watch(s->inotify_fd, s->canonical, IN_MODIFY) >= 0;
    s->is_watching_wal = inotify_add_watch(s->inotify_fd, wal, IN_MODIFY) >= 0;
    if (!is_watched) {
        (void)close(s->inotify_fd);
        s->inotify_fd = -1;
    }
}

/* The file at our path may be another one by now: restored, or deleted and made anew. */
static int check_same_file(struct ow_sqlite *s, struct ow_error *err)
{
    int64_t now = ow_clock_monotonic_ms();
    if (now < s->next_stat_ms)
        return 0;
    s->next_stat_ms = now + LOOK_MS_WATCHED;
    struct stat st;
    if (stat(s->canonical, &st) != 0)
        return ow_error_set(err, OW_EIO, "%s: the file has gone", s->path);
    if (st.st_ino != s->inode || st.st_dev != s->device)
        return ow_error_set(err, OW_EIO, "%s: another file was put in its place", s->path);
    return 0;
}

/* Whether something happened to the files since the last time. */
static bool take_events(struct ow_sqlite *s)
{
    char events[2048];
    bool has_event = false;
    while (s->inotify_fd >= 0 && read(s->inotify_fd, events, sizeof events) > 0)
        has_event = true;
    if (s->inotify_fd >= 0 && !s->is_watching_wal)
        watch(s); /* the -wal file was not there yet */
    return has_event;
}

static int read_data_version(struct ow_sqlite *s, int64_t *ret, struct ow_error *err)
{
    struct ow_value version = ow_value_null();
    int r = s->base.ops->start(s->data_version, NULL, 0, err);
    if (r == 0)
        r = s->base.ops->row(s->data_version, &version, 1, err);
    s->base.ops->stop(s->data_version);
    *ret = version.integer;
    return r < 0 ? r : 0;
}

int ow_sqlite_has_changed(struct ow_store *store, struct ow_error *err)
{
    struct ow_sqlite *s = ow_sqlite_of(store);
    bool has_event = take_events(s);
    int64_t version = 0, longest_ms = s->inotify_fd >= 0 ? LOOK_MS_WATCHED : LOOK_MS_MAX;
    int r = check_same_file(s, err);
    if (r == 0)
        r = read_data_version(s, &version, err);
    if (r < 0)
        return r;
    bool has_changed = version != s->last_data_version;
    s->last_data_version = version;
    /* A writer fills the WAL first and makes it visible a moment later: after an event without a change the
       next look comes soon, and then ever later. */
    s->look_ms = has_changed || has_event ? LOOK_MS_MIN : s->look_ms * 2 > longest_ms ? longest_ms : s->look_ms * 2;
    s->next_look_ms = ow_clock_monotonic_ms() + s->look_ms;
    return has_changed;
}

void ow_sqlite_wait(struct ow_store *store, struct ow_wait *wait)
{
    struct ow_sqlite *s = ow_sqlite_of(store);
    ow_wait_add(wait, s->inotify_fd, POLLIN);
    ow_wait_until(wait, s->next_look_ms);
}

/* --- the WAL ------------------------------------------------------------------------------------------ */

static int on_wal(void *context, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    ((struct ow_sqlite *)context)->wal_pages = pages;
    return SQLITE_OK;
}

void ow_sqlite_tidy(struct ow_store *store)
{
    struct ow_sqlite *s = ow_sqlite_of(store);
    int64_t bytes = (int64_t)s->wal_pages * s->page_size, now = ow_clock_monotonic_ms();
    if (bytes < WAL_PASSIVE_BYTES)
        return;
    bool truncates = bytes >= WAL_TRUNCATE_BYTES && now >= s->next_truncate_ms;
    int32_t timeout_ms = s->timeout_ms;
    int in_wal = -1, moved = -1;
    s->timeout_ms = TRUNCATE_TIMEOUT_MS;
    int result = sqlite3_wal_checkpoint_v2(
        s->db, NULL, truncates ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &in_wal, &moved);
    s->timeout_ms = timeout_ms;
    if (truncates)
        s->next_truncate_ms = now + TRUNCATE_PAUSE_MS;
    /* A passive one that got everything lets the next writer start at the beginning again. */
    if (result == SQLITE_OK && in_wal == moved)
        s->wal_pages = 0;
}

/* --- the beginning ------------------------------------------------------------------------------------ */

void ow_sqlite_watch(struct ow_sqlite *s)
{
    struct stat st;
    (void)sqlite3_wal_hook(s->db, on_wal, s); /* takes the place of the automatic checkpoint */
    if (stat(s->canonical, &st) == 0) {
        s->device = st.st_dev;
        s->inode = st.st_ino;
    }
    s->look_ms = LOOK_MS_MIN;
    watch(s);
}
