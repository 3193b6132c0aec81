/* SPDX-License-Identifier: Apache-2.0 */
/* Which dead letters are meant, and in which order they may be put back. Pure. */
#ifndef OW_CMD_DLQ_CHOOSE_H
#define OW_CMD_DLQ_CHOOSE_H

#include "cmd/command.h"
#include "cmd/dlq_store.h"

/* Words are numbers of letters, or ids of messages (a number comes first). OW_ENOTFOUND: there is none of one of them.
 */
int ow_letters_choose(struct ow_letters *letters, char *const *ids, size_t count, struct ow_error *err) OW_MUST_CHECK;
/* OW_EUSAGE: not FIELD=VALUE or FIELD~TEXT with a field that there is. */
int ow_letters_check_where(const struct ow_flag_list *where, struct ow_error *err) OW_MUST_CHECK;
/* All that meet every condition; without any all. */
void ow_letters_choose_where(struct ow_letters *letters, const struct ow_flag_list *where);

struct ow_replay_group { /* put back together: one letter, or those of a key */
    struct ow_letter **letters;
    size_t count;
};
struct ow_replay_refusal {
    int64_t number;
    char why[128];
};
struct ow_replay_plan {
    struct ow_replay_group *groups;
    struct ow_letter **letters; /* of all groups */
    struct ow_replay_refusal *refused;
    size_t group_count, refused_count;
};
/* Of what was chosen; what is parked right behind it is chosen too, and what may not be put back no more: it was put
   back `replays_max` times, cannot be, or stands behind another letter of its key. */
int ow_replay_plan_make(struct ow_letters *letters, int64_t replays_max, struct ow_replay_plan *ret,
                        struct ow_error *err) OW_MUST_CHECK;
void ow_replay_plan_done(struct ow_replay_plan *plan);

#endif
