/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in the text and byte forms of Java. */
#ifndef OW_CODEC_DEBEZIUM_NUMBER_H
#define OW_CODEC_DEBEZIUM_NUMBER_H

#include "base/bytes.h"

#define OW_JAVA_NUMBER_TEXT_SIZE 40

/* Double.toString(), as of JDK 19: the shortest digits that read back as the same number, at least one on each
   side of the point; "1.0E-4" below 1e-3 and from 1e7 on; "NaN", "Infinity", "-Infinity". Returns `to`. */
char *ow_java_double(double number, char to[OW_JAVA_NUMBER_TEXT_SIZE]);
/* Float.toString(). */
char *ow_java_float(float number, char to[OW_JAVA_NUMBER_TEXT_SIZE]);

/* A decimal number such as "-123.4500", as its digits and the power of ten that they are divided by. */
struct ow_decimal {
    bool is_negative;
    struct ow_buf digits; /* '0' … '9', without leading zeros, at least one; owned */
    int32_t scale;        /* may be negative */
};

void ow_decimal_done(struct ow_decimal *decimal);
/* Takes also an exponent ("1e-7"). OW_EINVALID: no number (NaN and the infinities are none). */
int ow_decimal_parse(struct ow_bytes text, struct ow_decimal *ret, struct ow_error *err) OW_MUST_CHECK;
/* Without zeros at the end of the fraction; not beyond the point. */
void ow_decimal_strip(struct ow_decimal *decimal);
/* With another scale: adds zeros, or takes digits off (rounding half to even, or half up). A scale that is off by more
   than 100,000 is OW_EINVALID. */
int ow_decimal_rescale(struct ow_decimal *decimal, int32_t scale, bool is_half_up, struct ow_error *err) OW_MUST_CHECK;
/* BigDecimal.toPlainString() and BigDecimal.toString(). */
void ow_decimal_plain(struct ow_buf *to, const struct ow_decimal *decimal);
void ow_decimal_text(struct ow_buf *to, const struct ow_decimal *decimal);
/* BigInteger.toByteArray() of the unscaled value: two's complement, big end first, as short as it can be. */
void ow_decimal_unscaled(struct ow_buf *to, const struct ow_decimal *decimal);

#endif
