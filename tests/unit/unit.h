/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test includes first: cmocka, with the headers it wants before it. */
#ifndef OW_UNIT_H
#define OW_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OW_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* What a list of schemes has at its end where this build has librdkafka. */
#if OW_WITH_KAFKA
#define OR_KAFKA     ", kafka"
#define OR_KAFKA_URL ", kafka://"
#else
#define OR_KAFKA     ""
#define OR_KAFKA_URL ""
#endif

/* And where it has libpq; it comes first. */
#if OW_WITH_POSTGRES
#define OR_POSTGRES     ", postgres"
#define OR_POSTGRES_URL ", postgres://"
#else
#define OR_POSTGRES     ""
#define OR_POSTGRES_URL ""
#endif

/* The text of an error names what it is about. */
#define assert_text_has(text, part)                                 \
    do {                                                            \
        if (!strstr((text), (part)))                                \
            fail_msg("\"%s\" does not say \"%s\"", (text), (part)); \
    } while (0)

#endif
