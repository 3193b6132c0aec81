/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crash points: named places at which a test kills the program as `kill -9` would.
 *
 * ONEWRITE_CRASH=label:n in the environment makes the n-th passage of `label` the last thing that the
 * process does. All labels stand in this table, so that a test can walk through every one of them and
 * fail if one is never passed (`onewrite crash-points` prints them). In a release build a crash point is
 * no code at all.
 */
#ifndef OW_BASE_CRASH_H
#define OW_BASE_CRASH_H

/* X(name, label, where it stands) */
#define OW_CRASH_POINTS(X)                                                                           \
    X(RELAY_AFTER_READ, "relay.after-read", "messages were read and admitted, none sent")            \
    X(RELAY_AFTER_SEND, "relay.after-send", "one message was handed to the broker")                  \
    X(RELAY_BEFORE_COMMIT, "relay.before-commit", "before the broker's transaction is committed")    \
    X(RELAY_AFTER_ACCEPT, "relay.after-accept", "the broker accepted, the source does not know")     \
    X(RELAY_BEFORE_ASIDE, "relay.before-aside", "before a message is set aside")                     \
    X(RELAY_AFTER_ASIDE, "relay.after-aside", "a message was set aside, its position is open")       \
    X(RELAY_AFTER_CONFIRM, "relay.after-confirm", "the source has been told")                        \
    X(CONSUMER_AFTER_CALL, "consumer.after-call", "a handler was given one message")                 \
    X(CONSUMER_BEFORE_RECORD, "consumer.before-record", "handled, before the inbox is told")         \
    X(CONSUMER_AFTER_RECORD, "consumer.after-record", "the inbox knows, nothing is settled")         \
    X(CONSUMER_AFTER_CLAIM, "consumer.after-claim", "messages are claimed, no effect is made")       \
    X(CONSUMER_BEFORE_COMMIT, "consumer.before-commit", "effects are made, no commit is known of")   \
    X(CONSUMER_AFTER_COMMIT, "consumer.after-commit", "effects are committed, nothing is settled")   \
    X(CONSUMER_BEFORE_SETTLE, "consumer.before-settle", "before an offset is settled")               \
    X(OUTBOX_MID_CONFIRM, "outbox.mid-confirm", "rows were deleted or marked, not yet committed")    \
    X(OUTBOX_MID_ASIDE, "outbox.mid-aside", "dead letter written, not yet committed")                \
    X(JOURNAL_MID_PUBLISH, "journal.mid-publish", "one record was inserted, not committed")          \
    X(JOURNAL_BEFORE_COMMIT, "journal.before-commit", "offsets and position written, not committed") \
    X(JOURNAL_AFTER_COMMIT, "journal.after-commit", "committed, nobody knows yet")                   \
    X(LOG_SLOT_MADE, "log.slot-made", "the slot was made, nothing of its snapshot was read")         \
    X(LOG_SNAPSHOT_NOTED, "log.snapshot-noted", "what the snapshot shows is noted, no row was read") \
    X(LOG_MID_SNAPSHOT, "log.mid-snapshot", "a row of the snapshot was read")                        \
    X(LOG_SNAPSHOT_READ, "log.snapshot-read", "the snapshot was read to its end")                    \
    X(LOG_MID_REPLAY, "log.mid-replay", "a row of a large transaction was read back")                \
    X(LOG_BEFORE_RECORD, "log.before-record", "before a position is recorded beside the log")        \
    X(LOG_AFTER_RECORD, "log.after-record", "a position is on record, the server was not told")      \
    X(KAFKA_BEFORE_RECORD, "kafka.before-record", "before a position is recorded at Kafka")          \
    X(KAFKA_AFTER_RECORD, "kafka.after-record", "a position is on record, the source was not told")  \
    X(KAFKA_MID_COMMIT, "kafka.mid-commit", "messages and position in a transaction, not committed") \
    X(KAFKA_AFTER_COMMIT, "kafka.after-commit", "committed, nobody knows yet")                       \
    X(FILE_AFTER_WRITE, "file.after-write", "lines were written, not yet synced")                    \
    X(FILE_AFTER_SYNC, "file.after-sync", "lines were synced, nobody knows yet")                     \
    X(FILE_MID_ROTATE, "file.mid-rotate", "old file renamed, new one not yet there")

enum ow_crash_point {
#define OW_CRASH_ENUM(name, label, where) OW_CRASH_##name,
    OW_CRASH_POINTS(OW_CRASH_ENUM)
#undef OW_CRASH_ENUM
        OW_CRASH_COUNT,
};

struct ow_crash_label {
    const char *label, *where;
};
extern const struct ow_crash_label ow_crash_labels[OW_CRASH_COUNT];

#ifdef OW_WITH_CRASH_POINTS
void ow_crash_pass(enum ow_crash_point point);
#else
static inline void ow_crash_pass(enum ow_crash_point point)
{
    (void)point;
}
#endif
#define OW_CRASH_POINT(name) ow_crash_pass(OW_CRASH_##name)

#endif
