/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutants: planted faults that the simulator must find. They exist only in the build that tests/sim links
 * (OW_WITH_MUTANTS); everywhere else OW_MUTANT() is false and the compiler drops what it guards.
 */
#ifndef OW_CORE_MUTANT_H
#define OW_CORE_MUTANT_H

/* X(name, what is broken) */
#define OW_MUTANTS(X)                                                                           \
    X(KEY_NOT_HELD, "later messages of a key pass one that is tried again")                     \
    X(POP_UNSETTLED, "the window gives out its oldest message although it is not settled")      \
    X(ACCEPT_ON_SEND, "what the broker has only queued counts as accepted")                     \
    X(RETRY_IS_ACCEPTED, "a message that came back for a retry counts as accepted")             \
    X(REJECT_IS_DROPPED, "a rejected message is settled without being set aside")               \
    X(RECEIPT_TWICE, "a receipt that comes twice settles another message")                      \
    X(SKIP_BY_POSITION, "what lies before the recorded position is passed over unasked")        \
    X(COMMIT_TOO_FAR, "the transaction stores the position of the last message read, not sent") \
    X(FORGET_IN_FLIGHT, "what was in flight when the broker failed is not sent again")          \
    X(ASIDE_UNRECORDED, "a message counts as set aside although recording it failed")           \
    X(TROUBLE_COUNTS, "the time in which a broker was away is held against its messages")       \
    X(PARKED_PASSES, "a message passes a dead letter of its key that it should wait behind")    \
    X(POSITION_BACK, "a transaction stores a position before the one that is on record")        \
    X(DROP_UNRECORDED, "what is not published leaves no position where there are transactions") \
    X(DEFECT_DROPPED, "what cannot be shaped is dropped, and not set aside")                    \
    X(CONFIRM_UNRECORDED, "a log is confirmed before its position is on record")                \
    X(RECORD_BACK, "a position is recorded over a later one")                                   \
    X(ONE_PLACE, "a position is recorded in one place, which who was stopped may put back")     \
    X(UNEVEN, "a position that one place has counts as on record in all of them")               \
    X(NOWHERE_IS_RECORDED, "a position counts as recorded although there was nowhere to")       \
    X(CONFIRM_UNRESUMED, "a log is confirmed before it knows what is on record")                \
    X(IDLE_TOO_EARLY, "a position without a message is given out while something is open")      \
    X(GATHERS_TOO_MUCH, "what waits to be confirmed does not count for the window")             \
    X(READ_TWICE, "what is in the window is read once more after the source was opened again")  \
    X(GONE_BACK_UNSEEN, "a log that begins before what is in the window is read on")            \
    X(STANDBY_KEEPS_WINDOW, "who had to stand by sends what it had read before")                \
    X(FOLLOWED_UNSEEN, "nobody asks whether another relay has come and gone")                   \
    X(BROKER_NOT_ASKED, "the source is opened again, and the broker not asked what it has")     \
    X(FENCED_GOES_ON, "who was fenced off fights for the broker, and keeps the source")         \
    X(ORDINAL_LOST, "one message of a transaction that is on record stands for all of it")      \
    X(RESUME_AGAIN, "a log yields the message at the recorded position once more")              \
    X(RECORD_SHORT, "the source's own record is put back by what it confirms once more")        \
    X(TOLD_TOO_FAR, "a server is told to forget more than what is on record")                   \
    X(PAST_FORGOTTEN, "what an attempt at the snapshot has published is forgotten")             \
    X(PAST_BY_PLACE, "rows that an attempt could not see count as published by their place")    \
    X(PAST_THROUGH_UNSEEN, "a snapshot that is through, and not noted as that, is begun again") \
    X(ANEW_KEEPS_WINDOW, "a source begins anew, and what was read of it before is still sent")  \
    X(HOLD_UNASKED, "who was stopped while it opened its broker goes on without its source")

/* The same for consumers. */
#define OW_CONSUMER_MUTANTS(X)                                                                \
    X(INBOX_NOT_ASKED, "a message that was handled before is handled again")                  \
    X(FILTER_DECIDES, "what a filter knows counts as handled, and nobody asks the inbox")     \
    X(BLOCKED_IS_HANDLED, "a message passes a dead letter of its key")                        \
    X(SETTLE_UNRECORDED, "an offset is settled although the inbox knows nothing of it")       \
    X(OFFSET_UNREAD, "a partition whose place cannot be asked for now is read from anywhere") \
    X(REVOKE_UNSETTLED, "a partition is given away without settling what is done")            \
    X(RETRY_AT_ONCE, "a message that failed does not wait")                                   \
    X(SETTLE_TOO_FAR, "an offset is settled beyond one that is not")                          \
    X(TROUBLE_IS_ATTEMPT, "trouble of the inbox's store counts as an attempt")                \
    X(BEHIND_GOES_ON, "what was taken behind a message that failed goes on without it")       \
    X(ENDLESS_RETRY, "a message is tried more often than it may be")                          \
    X(BREAKER_IGNORED, "calls begin although the breaker is open")                            \
    X(PROBE_IS_ATTEMPT, "a probe that fails counts as an attempt")                            \
    X(PROBE_NOT_GIVEN_UP, "a probe that came to nothing is waited for for ever")              \
    X(HELD_UP_IS_ATTEMPT, "a handler that is held up counts as an attempt")                   \
    X(TWINS_TOGETHER, "two messages of one id are called for at the same time")               \
    X(LETTER_UNRECORDED, "a letter is there, and its message counts as handled")              \
    X(LETTER_UNSENT, "a letter counts as written when it was only sent")                      \
    X(LETTER_FORGOTTEN, "a letter that its topic refused for now is not sent again")          \
    X(REPLAY_BY_ID, "a letter is looked up by its id, and found to be done with")             \
    X(RESUME_FORGOTTEN, "reading was held back, and nobody goes on with it")                  \
    X(FULL_IS_READ_ON, "a partition of which enough is there is read on, and what comes is given back")

enum ow_mutant {
    OW_MUTANT_NONE,
#define OW_MUTANT_ENUM(name, what) OW_MUTANT_##name,
    OW_MUTANTS(OW_MUTANT_ENUM) OW_MUTANT_COUNT, /* of those of a relay */
    OW_CONSUMER_MUTANTS(OW_MUTANT_ENUM)
#undef OW_MUTANT_ENUM
        OW_MUTANT_ALL,
};

#ifdef OW_WITH_MUTANTS
extern enum ow_mutant ow_mutant_planted; /* defined by the simulator */
#define OW_MUTANT(name) (ow_mutant_planted == OW_MUTANT_##name)
#else
#define OW_MUTANT(name) false
#endif

#endif
