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
    X(INBOX_NOT_ASKED, "a message that was handled before is handled again")                    \
    X(PARKED_PASSES, "a message passes a dead letter of its key")                               \
    X(SETTLE_UNRECORDED, "an offset is settled although the inbox knows nothing of it")         \
    X(REVOKE_UNSETTLED, "a partition is given away without settling what is done")              \
    X(RETRY_AT_ONCE, "a message that failed does not wait")

enum ow_mutant {
    OW_MUTANT_NONE,
#define OW_MUTANT_ENUM(name, what) OW_MUTANT_##name,
    OW_MUTANTS(OW_MUTANT_ENUM)
#undef OW_MUTANT_ENUM
        OW_MUTANT_COUNT,
};

#ifdef OW_WITH_MUTANTS
extern enum ow_mutant ow_mutant_planted; /* defined by the simulator */
#define OW_MUTANT(name) (ow_mutant_planted == OW_MUTANT_##name)
#else
#define OW_MUTANT(name) false
#endif

#endif
