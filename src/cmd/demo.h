/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to `onewrite demo`: what its processes share.
 *
 *   parent (demo_conduct.c)   starts, kills and restarts the others; opens no database while it may fork
 *   writers (demo_shop.c)     place orders, in the shop with an outbox and in the naive one
 *   relay                     this program again, `onewrite relay sqlite:shop.db journal:bus.db`
 *   watcher (demo_watch.c)    follows both journals and, at the end, checks them against the shops
 *
 * All of them work in the demo's folder, so that the names of the files are these. They end with the parent,
 * however it ends.
 */
#ifndef OW_CMD_DEMO_H
#define OW_CMD_DEMO_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "cmd/demo_check.h"

enum ow_demo_side { OW_DEMO_ONEWRITE, OW_DEMO_NAIVE, OW_DEMO_SIDES };

#define OW_DEMO_TOPIC "outbox.event.order"

struct ow_demo_files {
    const char *shop, *bus;
};
extern const struct ow_demo_files ow_demo_files[OW_DEMO_SIDES];
#define OW_DEMO_RELAY_LOG "relay.log"

enum {
    OW_DEMO_CUSTOMERS = 200,
    OW_DEMO_WRITERS_MAX = 64,
};

struct ow_demo_options {
    int64_t seconds, writers, kills_per_second;
    bool prints_json;
    const char *keep;
};

/* Memory that all processes see. A process that is killed leaves nothing in it that hurts: single numbers,
   and flags that go up once. */
struct ow_demo_shared {
    atomic_bool writers_stop, watcher_checks;
    struct {
        atomic_llong committed, accepted; /* as it goes, for the progress and for the throttle: not exact */
    } side[OW_DEMO_SIDES];
    atomic_llong waiting;          /* rows in the outbox when it was last looked at */
    atomic_llong waiting_looks;    /* how often it was looked at */
    atomic_llong outbox_bytes_max; /* pages of onewrite_outbox; -1: this SQLite cannot tell */
    /* Written once each, by a process that then ends; read when it has ended. */
    struct ow_demo_counts counts[OW_DEMO_SIDES];
    struct ow_error watcher_error, writer_error;
};

struct ow_demo_result {
    struct ow_demo_counts counts[OW_DEMO_SIDES];
    int64_t kills[OW_DEMO_SIDES]; /* of the relay; of the naive shop's writers */
    int64_t writer_kills;         /* of the writers that use the outbox */
    int64_t wal_bytes_max;        /* of shop.db-wal */
    int64_t outbox_bytes_max;     /* -1: not known */
    int64_t waiting;              /* rows left in the outbox at the end */
};

/* --- demo_shop.c --------------------------------------------------------------------------------------- */

/* Makes the files of a side: the shop, its customers, the outbox, the journal. */
int ow_demo_shop_create(enum ow_demo_side side, struct ow_error *err) OW_MUST_CHECK;
/* A writer's life: orders until it is told to stop. `start` is another number for every process that is
   started; the ids of its orders begin with it. */
int ow_demo_shop_write(enum ow_demo_side side, uint32_t start, struct ow_demo_shared *shared,
                       struct ow_error *err) OW_MUST_CHECK;

/* --- demo_watch.c -------------------------------------------------------------------------------------- */

int ow_demo_watch(struct ow_demo_shared *shared, struct ow_error *err) OW_MUST_CHECK;

/* --- demo_conduct.c ------------------------------------------------------------------------------------ */

/* Plays the whole of it, in the working directory. 0; a signal's number, when one said to end; < 0. No
   process is left when it returns. */
int ow_demo_conduct(const struct ow_demo_options *options, struct ow_demo_result *ret,
                    struct ow_error *err) OW_MUST_CHECK;

/* --- demo_report.c ------------------------------------------------------------------------------------- */

struct ow_demo_progress {
    const char *phase;
    int64_t committed, accepted, kills, left_ms; /* left_ms < 0: not known */
};
/* One line on standard error that is written over, on a terminal; else nothing. */
void ow_demo_progress_show(const struct ow_demo_progress *progress);
void ow_demo_progress_clear(void);

/* What of onewrite's promises was broken, as text; nothing if all held. */
void ow_demo_broken(const struct ow_demo_result *result, struct ow_buf *to);
void ow_demo_table(const struct ow_demo_result *result, struct ow_buf *to);
void ow_demo_json(const struct ow_demo_result *result, struct ow_buf *to); /* one line */

#endif
