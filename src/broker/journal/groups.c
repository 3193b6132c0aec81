/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/journal/groups.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/units.h"
#include "sql.h"

/* Numbers of locks. Number 0 of the same file is the store's own. */
#define MEMBER_LOCKS    (INT64_C(1) << 60)
#define PARTITION_LOCKS (INT64_C(1) << 61)
#define GROUP_STRIDE    (INT64_C(1) << 30)

struct ow_journal_peer {
    int64_t id;
    bool wants_all;
    char *topics; /* owned; each ended by a line break */
};

static int64_t partition_lock(const struct ow_journal_member *m, int64_t partition)
{
    return PARTITION_LOCKS + m->group * GROUP_STRIDE + partition;
}

static void forget_peers(struct ow_journal_member *m)
{
    for (size_t i = 0; i < m->alive_count; i++)
        free(m->alive[i].topics);
    m->alive_count = 0;
}

/* --- joining and leaving ------------------------------------------------------------------------------ */

/* One name for it, however the path was written. */
static int lock_path_of(const char *path, char **ret, struct ow_error *err)
{
    char canonical[PATH_MAX];
    if (!realpath(path, canonical))
        return ow_error_errno(err, errno, "%s", path);
    if (asprintf(ret, "%s-onewrite.lock", canonical) < 0) {
        *ret = NULL;
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    return 0;
}

static int open_locks(struct ow_journal_member *m, const char *path, struct ow_error *err)
{
    struct stat st;
    int r = lock_path_of(path, &m->lock_path, err);
    if (r == 0)
        r = ow_lock_file_open(&m->locks, m->lock_path, err);
    if (r < 0)
        return r;
    if (fstat(m->locks.fd, &st) != 0)
        return ow_error_errno(err, errno, "%s", m->lock_path);
    m->lock_device = st.st_dev;
    m->lock_inode = st.st_ino;
    return 0;
}

static int insert_member(struct ow_journal_member *m, struct ow_error *err)
{
    struct ow_value values[] = {ow_value_integer(m->group), ow_value_text(ow_bytes_of(m->topics)),
                                ow_value_integer(getpid()), ow_value_integer(ow_clock_wall_ms())};
    return ow_journal_integer(m->store, &m->insert, ow_sql_journal_insert_member, values, 4, 0, &m->id, err);
}

/* The lock comes before the commit: who sees the row finds its lock taken. */
static int enter(struct ow_journal_member *m, const char *group, struct ow_error *err)
{
    struct ow_value name = ow_value_text(ow_bytes_of(group));
    int r = ow_journal_run(m->store, &m->insert_group, ow_sql_journal_insert_group, &name, 1, err);
    if (r == 0)
        r = ow_journal_integer(m->store, &m->find_group, ow_sql_journal_find_group, &name, 1, 0, &m->group, err);
    if (r == 0)
        r = insert_member(m, err);
    if (r == 0)
        r = ow_lock_take(&m->locks, MEMBER_LOCKS + m->id, err);
    return r;
}

int ow_journal_member_join(struct ow_journal_member *m, struct ow_store *store, const char *path, const char *group,
                           const char *topics, struct ow_error *err)
{
    m->store = store;
    m->locks.fd = -1;
    int r = open_locks(m, path, err);
    if (r == 0 && topics && !(m->topics = strdup(topics)))
        r = ow_error_set(err, OW_ENOMEM, "out of memory");
    if (r == 0)
        r = store->ops->begin(store, OW_TRANSACTION_WRITE, err);
    if (r == 0) {
        r = enter(m, group, err);
        if (r == 0)
            r = store->ops->commit(store, err);
        if (r < 0)
            store->ops->rollback(store);
    }
    if (r < 0)
        ow_journal_member_leave(m, false);
    return r;
}

void ow_journal_member_leave(struct ow_journal_member *m, bool says_so)
{
    struct ow_statement **const statements[] = {&m->insert_group, &m->find_group,  &m->insert, &m->read,
                                                &m->delete,       &m->read_offset, &m->claim,  &m->settle};
    if (!m->store)
        return;
    struct ow_value id = ow_value_integer(m->id);
    /* If it fails, the next one that looks takes the row away: nobody holds its lock. */
    if (says_so && ow_journal_run(m->store, &m->delete, ow_sql_journal_delete_member, &id, 1, NULL) < 0)
        m->store->ops->rollback(m->store);
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
        m->store->ops->discard(*statements[i]);
    ow_lock_file_close(&m->locks);
    forget_peers(m);
    free(m->alive);
    free(m->lock_path);
    free(m->topics);
    *m = (struct ow_journal_member){.locks.fd = -1};
}

/* --- who is alive ------------------------------------------------------------------------------------- */

static int add_peer(struct ow_journal_member *m, int64_t id, struct ow_bytes topics, struct ow_error *err)
{
    if (m->alive_count == m->alive_capacity) {
        size_t capacity = m->alive_capacity ? m->alive_capacity * 2 : 8;
        struct ow_journal_peer *grown = reallocarray(m->alive, capacity, sizeof *grown);
        if (!grown)
            return ow_error_set(err, OW_ENOMEM, "out of memory");
        m->alive = grown;
        m->alive_capacity = capacity;
    }
    char *copy = topics.data ? ow_bytes_text(topics) : NULL;
    if (topics.data && !copy)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    m->alive[m->alive_count++] = (struct ow_journal_peer){id, !topics.data, copy};
    return 0;
}

static bool is_alive(const struct ow_journal_member *m, int64_t id)
{
    return id == m->id || ow_lock_is_held(&m->locks, MEMBER_LOCKS + id);
}

static int read_peers(struct ow_journal_member *m, int64_t *ret_dead, struct ow_error *err)
{
    struct ow_value group = ow_value_integer(m->group), columns[2];
    int r = ow_journal_statement(m->store, &m->read, ow_sql_journal_read_members, err);
    if (r == 0)
        r = m->store->ops->start(m->read, &group, 1, err);
    while (r == 0 && (r = m->store->ops->row(m->read, columns, 2, err)) == 1) {
        r = 0;
        if (is_alive(m, columns[0].integer))
            r = add_peer(m, columns[0].integer, columns[1].bytes, err);
        else
            *ret_dead = columns[0].integer;
    }
    if (m->read)
        m->store->ops->stop(m->read);
    return r < 0 ? r : 0;
}

int ow_journal_member_look(struct ow_journal_member *m, struct ow_error *err)
{
    struct stat st;
    if (stat(m->lock_path, &st) != 0 || st.st_ino != m->lock_inode || st.st_dev != m->lock_device)
        return 1;
    int64_t dead = 0;
    forget_peers(m);
    int r = read_peers(m, &dead, err);
    if (r < 0)
        return r;
    bool is_here = false;
    for (size_t i = 0; i < m->alive_count; i++)
        is_here = is_here || m->alive[i].id == m->id;
    /* One at a time is enough; if somebody else writes now, the next look does it. */
    struct ow_value value = ow_value_integer(dead);
    if (dead && ow_journal_run(m->store, &m->delete, ow_sql_journal_delete_member, &value, 1, NULL) < 0)
        m->store->ops->rollback(m->store);
    return !is_here;
}

static bool wants(const struct ow_journal_peer *peer, struct ow_bytes topic)
{
    if (peer->wants_all)
        return true;
    for (const char *at = peer->topics; *at;) {
        const char *end = strchrnul(at, '\n');
        if (ow_bytes_equal((struct ow_bytes){at, (size_t)(end - at)}, topic))
            return true;
        at = *end ? end + 1 : end;
    }
    return false;
}

/* Ranges of neighbouring numbers. Which member gets the first range differs from topic to topic, so that
   many topics with one partition do not all go to one. */
bool ow_journal_member_should_have(const struct ow_journal_member *m, int64_t topic_id, struct ow_bytes topic,
                                   int64_t count, int64_t number)
{
    int64_t n = 0, rank = -1;
    for (size_t i = 0; i < m->alive_count; i++) {
        if (!wants(&m->alive[i], topic))
            continue;
        if (m->alive[i].id == m->id)
            rank = n;
        n++;
    }
    if (rank < 0)
        return false;
    rank = (rank + topic_id) % n;
    int64_t each = count / n, extra = count % n;
    int64_t first = rank * each + (rank < extra ? rank : extra);
    return number >= first && number < first + each + (rank < extra);
}

/* --- partitions --------------------------------------------------------------------------------------- */

int ow_journal_member_lock(struct ow_journal_member *m, int64_t partition, struct ow_error *err)
{
    return ow_lock_take(&m->locks, partition_lock(m, partition), err);
}

void ow_journal_member_unlock(struct ow_journal_member *m, int64_t partition)
{
    ow_lock_give(&m->locks, partition_lock(m, partition));
}

int ow_journal_member_claim(struct ow_journal_member *m, int64_t partition, int64_t *offset, struct ow_error *err)
{
    struct ow_value values[] = {ow_value_integer(m->group), ow_value_integer(partition), ow_value_integer(*offset),
                                ow_value_integer(m->id), ow_value_integer(ow_clock_wall_ms())};
    int r = ow_journal_run(m->store, &m->claim, ow_sql_journal_claim_offset, values, 5, err);
    if (r == 0)
        r = ow_journal_integer(m->store, &m->read_offset, ow_sql_journal_read_offset, values, 2, *offset, offset, err);
    return r;
}

int ow_journal_member_settle(struct ow_journal_member *m, int64_t partition, int64_t offset, struct ow_error *err)
{
    struct ow_value values[] = {ow_value_integer(m->group), ow_value_integer(partition), ow_value_integer(m->id),
                                ow_value_integer(offset), ow_value_integer(ow_clock_wall_ms())};
    int r = ow_journal_run(m->store, &m->settle, ow_sql_journal_settle_offset, values, 5, err);
    if (r < 0)
        return r;
    if (m->store->ops->changes(m->store) == 0)
        return ow_error_set(err, OW_ESTANDBY, "another member of the group has the partition now");
    return 0;
}

bool ow_journal_member_is_alive(const char *path, int64_t member)
{
    char *lock_path = NULL;
    struct ow_lock_file locks = {.fd = -1};
    /* Not ow_lock_file_open(): who only looks makes no file. */
    if (lock_path_of(path, &lock_path, NULL) == 0)
        locks.fd = open(lock_path, O_RDONLY | O_CLOEXEC);
    free(lock_path);
    bool is_held = locks.fd >= 0 && ow_lock_is_held(&locks, MEMBER_LOCKS + member);
    ow_lock_file_close(&locks);
    return is_held;
}
