/* SPDX-License-Identifier: Apache-2.0 */
/* Columns, numbers, times and texts, as Java and Debezium write them. */
#include "unit.h"

#include <float.h>
#include <math.h>

#include "codec/debezium_column.h"
#include "codec/debezium_json.h"
#include "codec/debezium_number.h"
#include "codec/debezium_regex.h"
#include "codec/debezium_time.h"

static void test_doubles(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } table[] = {
        {1, "1.0"},
        {-1, "-1.0"},
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {0.1, "0.1"},
        {100, "100.0"},
        {1e-3, "0.001"},
        {9.99e-4, "9.99E-4"},
        {1e-4, "1.0E-4"},
        {1234567, "1234567.0"},
        {9999999, "9999999.0"},
        {1e7, "1.0E7"},
        {12345678.9, "1.23456789E7"},
        {123456789.125, "1.23456789125E8"},
        {1e21, "1.0E21"},
        {1e23, "1.0E23"},
        {2e23, "2.0E23"},
        {4.9e-324, "4.9E-324"},
        {9.9e-324, "9.9E-324"},
        {DBL_MIN, "2.2250738585072014E-308"},
        {DBL_MAX, "1.7976931348623157E308"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {9007199254740993.0, "9.007199254740992E15"},
        {12.50, "12.5"},
        {INFINITY, "Infinity"},
        {-INFINITY, "-Infinity"},
    };
    char text[OW_JAVA_NUMBER_TEXT_SIZE];
    for (size_t i = 0; i < OW_COUNT_OF(table); i++)
        assert_string_equal(ow_java_double(table[i].number, text), table[i].text);
    assert_string_equal(ow_java_double((double)NAN, text), "NaN");
}

static void test_floats(void **state)
{
    (void)state;
    static const struct {
        float number;
        const char *text;
    } table[] = {
        {1.5F, "1.5"},           {0.1F, "0.1"},     {FLT_MAX, "3.4028235E38"},
        {1.4e-45F, "1.4E-45"},   {1e10F, "1.0E10"}, {16777216.0F, "1.6777216E7"},
        {-3.25e-5F, "-3.25E-5"}, {100.0F, "100.0"},
    };
    char text[OW_JAVA_NUMBER_TEXT_SIZE];
    for (size_t i = 0; i < OW_COUNT_OF(table); i++)
        assert_string_equal(ow_java_float(table[i].number, text), table[i].text);
}

static void test_decimals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *plain, *java, *hex;
    } table[] = {
        {"12.50", "12.50", "12.50", "04e2"},
        {"-12.50", "-12.50", "-12.50", "fb1e"},
        {"0", "0", "0", "00"},
        {"0.00", "0.00", "0.00", "00"},
        {"-1", "-1", "-1", "ff"},
        {"127", "127", "127", "7f"},
        {"128", "128", "128", "0080"},
        {"-128", "-128", "-128", "80"},
        {"-129", "-129", "-129", "ff7f"},
        {"-256", "-256", "-256", "ff00"},
        {"1e-7", "0.0000001", "1E-7", "01"},
        {"0.0000012", "0.0000012", "0.0000012", "0c"},
        {"0.00000012", "0.00000012", "1.2E-7", "0c"},
        {"1e3", "1000", "1E+3", "01"},
        {"12345678901234567890", "12345678901234567890", "12345678901234567890", "00ab54a98ceb1f0ad2"},
        {"18446744073709551616", "18446744073709551616", "18446744073709551616", "010000000000000000"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(table); i++) {
        struct ow_decimal decimal;
        struct ow_buf plain = {0}, java = {0}, bytes = {0}, hex = {0};
        assert_int_equal(ow_decimal_parse(ow_bytes_of(table[i].text), &decimal, NULL), 0);
        ow_decimal_plain(&plain, &decimal);
        ow_decimal_text(&java, &decimal);
        ow_decimal_unscaled(&bytes, &decimal);
        for (size_t b = 0; b < bytes.size; b++)
            ow_buf_printf(&hex, "%02x", (unsigned)(unsigned char)bytes.data[b]);
        assert_string_equal(plain.data, table[i].plain);
        assert_string_equal(java.data, table[i].java);
        assert_string_equal(hex.data, table[i].hex);
        ow_buf_done(&plain), ow_buf_done(&java), ow_buf_done(&bytes), ow_buf_done(&hex);
        ow_decimal_done(&decimal);
    }
    static const char *const wrong[] = {"", "-", "NaN", "1x", "1.2.3", "e5", "1e", "1e9999999"};
    for (size_t i = 0; i < OW_COUNT_OF(wrong); i++) {
        struct ow_decimal decimal;
        assert_int_equal(ow_decimal_parse(ow_bytes_of(wrong[i]), &decimal, NULL), OW_EINVALID);
        ow_decimal_done(&decimal);
    }
}

static void test_rescaled(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        int32_t scale;
        const char *to;
    } table[] = {{"1.5", 3, "1.500"}, {"2.5", 0, "2"},    {"3.5", 0, "4"},  {"9.99", 1, "10.0"},
                 {"0.4", 0, "0"},     {"150", -2, "200"}, {"0", 2, "0.00"}, {"2.51", 0, "3"}};
    for (size_t i = 0; i < OW_COUNT_OF(table); i++) {
        struct ow_decimal decimal;
        struct ow_buf plain = {0};
        assert_int_equal(ow_decimal_parse(ow_bytes_of(table[i].from), &decimal, NULL), 0);
        assert_int_equal(ow_decimal_rescale(&decimal, table[i].scale, false, NULL), 0);
        ow_decimal_plain(&plain, &decimal);
        assert_string_equal(plain.data, table[i].to);
        ow_buf_done(&plain);
        ow_decimal_done(&decimal);
    }
}

static void test_intervals(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        int64_t us;
        const char *text;
    } table[] = {
        {"1 year 2 mons 3 days 04:05:06.789", 37091106789000, "P1Y2M3DT4H5M6.789S"},
        {"00:00:00", 0, "P0Y0M0DT0H0M0S"},
        {"-1 years -2 mons +3 days -04:05:06", -36572706000000, "P-1Y-2M3DT-4H-5M-6S"},
        {"1 day", 86400000000, "P0Y0M1DT0H0M0S"},
        {"-00:00:00.5", -500000, "P0Y0M0DT0H0M-0.5S"},
        {"100000:00:00", 360000000000000, "P0Y0M0DT100000H0M0S"},
        {"00:00:08.2", 8199999, "P0Y0M0DT0H0M8.2S"},
        {"-00:42:01.999999", -2521999999, "P0Y0M0DT0H-42M-1.999998999S"},
        {"2 years 3 mons -20 days +23:06:21.1", 69359781099999, "P2Y3M-20DT23H6M21.1S"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(table); i++) {
        struct ow_dbz_interval interval;
        struct ow_buf text = {0};
        assert_int_equal(ow_dbz_interval_parse(ow_bytes_of(table[i].from), &interval, NULL), 0);
        assert_int_equal(ow_dbz_interval_us(&interval), table[i].us);
        ow_dbz_interval_text(&text, &interval);
        assert_string_equal(text.data, table[i].text);
        ow_buf_done(&text);
    }
}

/* --- columns ------------------------------------------------------------------------------------------------- */

struct cell {
    uint32_t oid;
    int32_t typmod;
    const char *type_name, *text, *json, *schema;
    struct ow_dbz_modes modes;
};

#define TYPMOD(precision, scale) ((precision) << 16 | ((scale)&0x7ff)) + 4

static const struct cell cells[] = {
    {16, -1, NULL, "t", "true", "{\"type\":\"boolean\",\"optional\":true}", {0}},
    {21, -1, NULL, "-7", "-7", "{\"type\":\"int16\",\"optional\":true}", {0}},
    {20, -1, NULL, "-9223372036854775808", "-9223372036854775808", NULL, {0}},
    {26, -1, NULL, "4294967295", "4294967295", "{\"type\":\"int64\",\"optional\":true}", {0}},
    {700, -1, NULL, "NaN", "\"NaN\"", "{\"type\":\"float\",\"optional\":true}", {0}},
    {701, -1, NULL, "-Infinity", "\"-Infinity\"", "{\"type\":\"double\",\"optional\":true}", {0}},
    {1700, TYPMOD(8, 2), NULL, "12.50", "\"BOI=\"", NULL, {0}},
    {1700,
     TYPMOD(5, -2),
     NULL,
     "12300",
     "\"ew==\"",
     "{\"type\":\"bytes\",\"optional\":true,\"name\":\"org.apache.kafka.connect.data.Decimal\",\"version\":1,"
     "\"parameters\":{\"scale\":\"-2\",\"connect.decimal.precision\":\"5\"}}",
     {0}},
    {1700, -1, NULL, "100", "{\"scale\":0,\"value\":\"ZA==\"}", NULL, {0}},
    {1700, -1, NULL, "123.4500", "{\"scale\":2,\"value\":\"MDk=\"}", NULL, {0}},
    {1700, -1, NULL, "NaN", "null", NULL, {0}},
    {1700, -1, NULL, "NaN", "\"NAN\"", NULL, {.decimal = OW_DBZ_DECIMAL_STRING}},
    {1700, -1, NULL, "-Infinity", "\"-Infinity\"", NULL, {.decimal = OW_DBZ_DECIMAL_DOUBLE}},
    {1700,
     TYPMOD(8, 2),
     NULL,
     "12.50",
     "12.5",
     "{\"type\":\"double\",\"optional\":true}",
     {.decimal = OW_DBZ_DECIMAL_DOUBLE}},
    {790, -1, NULL, "$1,234.50", "\"1234.50\"", NULL, {.decimal = OW_DBZ_DECIMAL_STRING, .money_digits = 2}},
    {790, -1, NULL, "-$0.01", "\"-0.01\"", NULL, {.decimal = OW_DBZ_DECIMAL_STRING, .money_digits = 2}},
    {790,
     -1,
     NULL,
     "1.234,50 \xe2\x82\xac",
     "\"1234.50\"",
     NULL,
     {.decimal = OW_DBZ_DECIMAL_STRING, .money_digits = 2}},
    {790,
     -1,
     NULL,
     "$92,233,720,368,547,758.07",
     "\"92233720368547758.07\"",
     NULL,
     {.decimal = OW_DBZ_DECIMAL_STRING, .money_digits = 2}},
    {17, -1, NULL, "\\x00ff10", "\"AP8Q\"", "{\"type\":\"bytes\",\"optional\":true}", {0}},
    {17,
     -1,
     NULL,
     "\\x00fffb10",
     "\"00fffb10\"",
     "{\"type\":\"string\",\"optional\":true}",
     {.binary = OW_DBZ_BINARY_HEX}},
    {17, -1, NULL, "\\xfffb", "\"//s=\"", NULL, {.binary = OW_DBZ_BINARY_BASE64}},
    {17, -1, NULL, "\\xfffb", "\"__s=\"", NULL, {.binary = OW_DBZ_BINARY_BASE64_URL_SAFE}},
    {1560, 1, NULL, "1", "true", "{\"type\":\"boolean\",\"optional\":true}", {0}},
    {1560,
     10,
     NULL,
     "1010101010",
     "\"qgI=\"",
     "{\"type\":\"bytes\",\"optional\":true,\"name\":\"io.debezium.data.Bits\",\"version\":1,\"parameters\":{"
     "\"length\":"
     "\"10\"}}",
     {0}},
    {1562, -1, NULL, "000", "\"\"", NULL, {0}},
    {1082, -1, NULL, "2021-03-04", "18690", NULL, {0}},
    {1082, -1, NULL, "0044-03-15 BC", "-735160", NULL, {0}},
    {1082, -1, NULL, "12021-03-04", "3671115", NULL, {0}},
    {1082, -1, NULL, "infinity", "-2147472692", NULL, {0}},
    {1083, -1, NULL, "13:14:15.5", "47655500000", NULL, {0}},
    {1083, -1, NULL, "24:00:00", "86400000000", NULL, {0}},
    {1083,
     3,
     NULL,
     "13:14:15.678",
     "47655678",
     "{\"type\":\"int32\",\"optional\":true,\"name\":\"io.debezium.time.Time\",\"version\":1}",
     {0}},
    {1083, 3, NULL, "13:14:15.678", "47655678000", NULL, {.time = OW_DBZ_TIME_ADAPTIVE_MICROSECONDS}},
    {1083,
     6,
     NULL,
     "13:14:15.678901",
     "47655678",
     "{\"type\":\"int32\",\"optional\":true,\"name\":\"org.apache.kafka.connect.data.Time\",\"version\":1}",
     {.time = OW_DBZ_TIME_CONNECT}},
    {1114, -1, NULL, "2021-03-04 13:14:15.123456", "1614863655123456", NULL, {0}},
    {1114, 3, NULL, "2021-03-04 13:14:15.123", "1614863655123", NULL, {0}},
    {1114, -1, NULL, "1969-12-31 23:59:59.9999", "-1", NULL, {.time = OW_DBZ_TIME_CONNECT}},
    {1114, -1, NULL, "infinity", "9223372036825200000", NULL, {0}},
    {1114, -1, NULL, "-infinity", "-9223372036832400000", NULL, {0}},
    {1114, -1, NULL, "0044-03-15 12:00:00 BC", "-63517780800000000", NULL, {0}},
    {1184, -1, NULL, "2021-03-04 13:14:15.123456+02", "\"2021-03-04T11:14:15.123456Z\"", NULL, {0}},
    {1184, -1, NULL, "2021-03-04 13:14:15+05:30", "\"2021-03-04T07:44:15.000000Z\"", NULL, {0}},
    {1184, 3, NULL, "2021-03-04 13:14:15.5+00", "\"2021-03-04T13:14:15.500Z\"", NULL, {0}},
    {1184, -1, NULL, "0044-03-15 12:00:00+00 BC", "\"-0043-03-15T12:00:00.000000Z\"", NULL, {0}},
    {1184, -1, NULL, "12021-03-04 12:00:00+00", "\"+12021-03-04T12:00:00.000000Z\"", NULL, {0}},
    {1184, -1, NULL, "-infinity", "\"-infinity\"", NULL, {0}},
    {1266, -1, NULL, "13:14:15.5+02", "\"11:14:15.5Z\"", NULL, {0}},
    {1266, -1, NULL, "01:00:00+02", "\"23:00:00Z\"", NULL, {0}},
    {1186,
     -1,
     NULL,
     "1 day",
     "86400000000",
     "{\"type\":\"int64\",\"optional\":true,\"name\":\"io.debezium.time.MicroDuration\",\"version\":1}",
     {0}},
    {1186, -1, NULL, "1 day", "\"P0Y0M1DT0H0M0S\"", NULL, {.interval_is_text = true}},
    {1007,
     -1,
     "_int4",
     "{1,NULL,3}",
     "[1,null,3]",
     "{\"type\":\"array\",\"items\":{\"type\":\"int32\",\"optional\":true},\"optional\":true}",
     {0}},
    {1009,
     -1,
     "_text",
     "{a,\"b c\",NULL,\"NULL\",\"q\\\"\",\"\"}",
     "[\"a\",\"b c\",null,\"NULL\",\"q\\\"\",\"\"]",
     NULL,
     {0}},
    {1231, TYPMOD(8, 2), "_numeric", "{1.50,NULL}", "[\"AJY=\",null]", NULL, {0}},
    {1001, -1, "_bytea", "{\"\\\\x00ff\"}", "[\"AP8=\"]", NULL, {0}},
    {1016, -1, "_int8", "{}", "[]", NULL, {0}},
    {99999,
     -1,
     "hstore",
     "\"k\"=>\"v\", \"n\"=>NULL, \"q \"=>\"\\\"\"",
     "\"{\\\"k\\\":\\\"v\\\",\\\"n\\\":null,\\\"q \\\":\\\"\\\\\\\"\\\"}\"",
     "{\"type\":\"string\",\"optional\":true,\"name\":\"io.debezium.data.Json\",\"version\":1}",
     {0}},
    {99999,
     -1,
     "hstore",
     "\"k\"=>\"v\", \"n\"=>NULL",
     "{\"k\":\"v\",\"n\":null}",
     "{\"type\":\"map\",\"keys\":{\"type\":\"string\",\"optional\":false},\"values\":{\"type\":\"string\",\"optional\":"
     "true},"
     "\"optional\":true}",
     {.hstore_is_map = true}},
    {99999, -1, "citext", "Ci", "\"Ci\"", "{\"type\":\"string\",\"optional\":true}", {0}},
    {3614, -1, "tsvector", "'a'", "\"J2En\"", "{\"type\":\"bytes\",\"optional\":true}", {.has_unknown_types = true}},
};

static void test_cells(void **state)
{
    (void)state;
    for (size_t i = 0; i < OW_COUNT_OF(cells); i++) {
        struct ow_dbz_arena arena = {0};
        struct ow_row_column of = {OW_BYTES("c"), .type_oid = cells[i].oid,
                                   .type_name = ow_bytes_of(cells[i].type_name), .typmod = cells[i].typmod};
        struct ow_dbz_column column;
        struct ow_dbz_value value;
        struct ow_buf json = {0}, schema = {0};
        struct ow_error err = {0};
        ow_dbz_column_init(&column, &arena, &of, &cells[i].modes);
        if (ow_dbz_column_value(&column, &arena, ow_bytes_of(cells[i].text), &value, &err) != 0)
            fail_msg("%s: %s", cells[i].text, err.text);
        ow_dbz_json_value(&json, column.schema, &value, false);
        assert_string_equal(json.data, cells[i].json);
        ow_dbz_json_schema(&schema, column.schema, false);
        if (cells[i].schema)
            assert_string_equal(schema.data, cells[i].schema);
        ow_buf_done(&json);
        ow_buf_done(&schema);
        ow_dbz_arena_done(&arena);
    }
}

static void test_wrong_cells(void **state)
{
    (void)state;
    static const struct {
        uint32_t oid;
        const char *text;
    } table[] = {{16, "x"},        {21, "32768"},        {23, "1.5"},         {20, "9223372036854775808"},
                 {701, "x"},       {1700, "1,5"},        {17, "abc"},         {17, "\\x0"},
                 {17, "\\xzz"},    {1082, "2021-13-01"}, {1083, "1314"},      {1114, "2021-03-04 x"},
                 {1186, "1 moon"}, {1007, "{1,2"},       {1007, "{{1},{2}}"}, {1007, "1"},
                 {1007, "{1}x"}};
    static const struct ow_dbz_modes modes = {0};
    for (size_t i = 0; i < OW_COUNT_OF(table); i++) {
        struct ow_dbz_arena arena = {0};
        struct ow_row_column of = {OW_BYTES("c"), .type_oid = table[i].oid, .typmod = -1};
        struct ow_dbz_column column;
        struct ow_dbz_value value;
        ow_dbz_column_init(&column, &arena, &of, &modes);
        if (ow_dbz_column_value(&column, &arena, ow_bytes_of(table[i].text), &value, NULL) != OW_EINVALID)
            fail_msg("%s was taken", table[i].text);
        ow_dbz_arena_done(&arena);
    }
}

/* A type that nobody knows is left out. */
static void test_unknown_type(void **state)
{
    (void)state;
    static const struct ow_dbz_modes modes = {0};
    struct ow_dbz_arena arena = {0};
    struct ow_row_column of = {OW_BYTES("c"), .type_oid = 3614, .typmod = -1};
    struct ow_dbz_column column;
    ow_dbz_column_init(&column, &arena, &of, &modes);
    assert_null(column.schema);
    ow_dbz_arena_done(&arena);
}

static void test_defaults(void **state)
{
    (void)state;
    static const struct {
        uint32_t oid;
        const char *expression, *json; /* NULL: none */
    } table[] = {
        {25, "'dk'::text", "\"dk\""},
        {25, "'it''s'::text", "\"it's\""},
        {25, "E'a\\\\b'::text", "\"a\\\\b\""},
        {25, "('a'::text || 'b'::text)", NULL},
        {25, "'a'::text || 'b'::text", NULL},
        {25, "NULL::text", NULL},
        {25, "upper('x'::text)", "\"\""},
        {25, "CURRENT_USER", NULL},
        {23, "7", "7"},
        {23, "'-1'::integer", "-1"},
        {23, "nextval('s'::regclass)", "0"},
        {23, "(1 + 2)", NULL},
        {16, "false", "false"},
        {3802, "'{\"d\": 1}'::jsonb", "\"{\\\"d\\\": 1}\""},
        {2950, "gen_random_uuid()", "\"00000000-0000-0000-0000-000000000000\""},
        {1184, "now()", "\"1970-01-01T00:00:00.000000Z\""},
        {1184, "CURRENT_TIMESTAMP", "\"1970-01-01T00:00:00.000000Z\""},
        {1114, "'2020-01-02 03:04:05'::timestamp without time zone", "1577934245000000"},
        {1082, "'2021-03-04'::date", "18690"},
        {17, "'\\x00'::bytea", NULL},
        {1700, "1.5", NULL}, /* a struct cannot be a default */
    };
    static const struct ow_dbz_modes modes = {0};
    for (size_t i = 0; i < OW_COUNT_OF(table); i++) {
        struct ow_dbz_arena arena = {0};
        struct ow_row_column of = {OW_BYTES("c"), .type_oid = table[i].oid, .typmod = -1,
                                   .default_expression = ow_bytes_of(table[i].expression)};
        struct ow_dbz_column column;
        struct ow_buf json = {0};
        ow_dbz_column_init(&column, &arena, &of, &modes);
        if (!table[i].json != !column.schema->fallback)
            fail_msg("%s", table[i].expression);
        if (table[i].json) {
            ow_dbz_json_value(&json, column.schema, column.schema->fallback, false);
            assert_string_equal(json.data, table[i].json);
        }
        ow_buf_done(&json);
        ow_dbz_arena_done(&arena);
    }
}

/* --- texts --------------------------------------------------------------------------------------------------- */

static void test_escapes(void **state)
{
    (void)state;
    struct ow_buf to = {0};
    ow_dbz_json_escape(&to,
                       OW_BYTES("\"\\/\b\t\n\f\r\x01\x1f\x7f \xc3\xa4\xe2\x82\xac\xe2\x80\xa8\xf0\x9f\x98\x80\xff"));
    assert_string_equal(
        to.data,
        "\\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001F\x7f \xc3\xa4\xe2\x82\xac\xe2\x80\xa8\\uD83D\\uDE00\xef\xbf\xbd");
    ow_buf_done(&to);
}

static void text_of(const struct cell *cell, bool is_simple, const char *want)
{
    struct ow_dbz_arena arena = {0};
    struct ow_row_column of = {OW_BYTES("c"), .type_oid = cell->oid, .typmod = cell->typmod};
    struct ow_dbz_column column;
    struct ow_dbz_value value;
    struct ow_buf text = {0};
    ow_dbz_column_init(&column, &arena, &of, &cell->modes);
    assert_int_equal(ow_dbz_column_value(&column, &arena, ow_bytes_of(cell->text), &value, NULL), 0);
    (is_simple ? ow_dbz_simple_text : ow_dbz_java_text)(&text, column.schema, &value);
    assert_string_equal(text.data, want);
    ow_buf_done(&text);
    ow_dbz_arena_done(&arena);
}

static void test_java_and_simple_texts(void **state)
{
    (void)state;
    static const struct {
        struct cell cell;
        const char *java, *simple;
    } table[] = {
        {{1009, -1, NULL, "{a,NULL,\"b \\\"c\"}", NULL, NULL, {0}}, "[a, null, b \"c]", "[\"a\",null,\"b \\\"c\"]"},
        {{17, -1, NULL, "\\x00ff", NULL, NULL, {0}}, "java.nio.HeapByteBuffer[pos=0 lim=2 cap=2]", "AP8="},
        {{1700, -1, NULL, "123.45", NULL, NULL, {0}},
         "Struct{scale=2,value=[B@3039}",
         "{\"scale\":2,\"value\":\"MDk=\"}"},
        {{1700, TYPMOD(8, 2), NULL, "12.50", NULL, NULL, {0}}, "12.50", "12.50"},
        {{1114, -1, NULL, "2021-03-04 13:14:15.123456", NULL, NULL, {.time = OW_DBZ_TIME_CONNECT}},
         "Thu Mar 04 13:14:15 UTC 2021",
         "2021-03-04T13:14:15.123Z"},
        {{1082, -1, NULL, "2021-03-04", NULL, NULL, {.time = OW_DBZ_TIME_CONNECT}},
         "Thu Mar 04 00:00:00 UTC 2021",
         "2021-03-04"},
        {{701, -1, NULL, "1e21", NULL, NULL, {0}}, "1.0E21", "1.0E21"},
    };
    for (size_t i = 0; i < OW_COUNT_OF(table); i++) {
        text_of(&table[i].cell, false, table[i].java);
        text_of(&table[i].cell, true, table[i].simple);
    }
}

/* --- expressions --------------------------------------------------------------------------------------------- */

static void test_routes(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *replacement, *name, *topic;
    } table[] = {
        {"(?<routedByValue>.*)", "outbox.event.${routedByValue}", "Order", "outbox.event.Order"},
        {"(.*)", "x.$1.$0", "a", "x.a.a"},
        {"(.*)", "x.$1", "", "x."},
        {"(.*)", "x.$1", "a\nb", "a\nb"},
        {"(.*)", "x\\$1\\\\", "a", "x$1\\"},
#if OW_WITH_PCRE2
        {"(\\w+)( *)", "g.$1", "Order   ", "g.Order"},
        {"Ord", "x", "Order", "Order"},  /* not the whole of it */
        {"(.*?)", "<$1>", "ab", "<>ab"}, /* the first match is replaced, which is shorter */
        {"a|ab", "x", "ab", "xb"},
        {"(?i)(o)(x)?.*", "$1-$2.", "Order", "O-."},
        {"(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", "$11$12", "abcdefghijk", "ka2"},
        {"(\\p{Upper}[\\p{Lower}]+)", "t.$1", "Order", "t.Order"},
        {"\\u0041(.)", "$1", "AB", "B"},
        {"\\Qa.b\\E", "x", "a.b", "x"},
        {"(?<a>[^-]+)-(?<b>.+)", "${b}.${a}", "x-y", "y.x"},
#endif
    };
    for (size_t i = 0; i < OW_COUNT_OF(table); i++) {
        struct ow_java_regex *regex = NULL;
        struct ow_buf topic = {0};
        struct ow_error err = {0};
        if (ow_java_regex_new(ow_bytes_of(table[i].pattern), ow_bytes_of(table[i].replacement), &regex, &err) != 0)
            fail_msg("%s: %s", table[i].pattern, err.text);
        assert_int_equal(ow_java_regex_route(regex, ow_bytes_of(table[i].name), &topic, NULL), 0);
        assert_string_equal(topic.data ? topic.data : "", table[i].topic);
        ow_buf_done(&topic);
        ow_java_regex_free(regex);
    }
}

static void test_refused_expressions(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *replacement, *why;
    } table[] = {
        {"(.*)", "${nosuch}", "\"nosuch\""},
        {"(.*)", "$2", "$2"},
        {"(.*)", "a$", "dollar"},
        {"(.*)", "a\\", "backslash"},
#if OW_WITH_PCRE2
        {"(", "x", "near character"},
        {"(*COMMIT)a", "x", "a quantifier without"},
        {"(?P<a>b)", "x", "that Java does not have"},
        {"(?U)a+", "x", "a flag"},
        {"[a-z&&[^b]]", "x", "&&"},
        {"[a[b]]", "x", "a class inside a class"},
#else
        {"a+", "x", "without PCRE2"},
#endif
    };
    for (size_t i = 0; i < OW_COUNT_OF(table); i++) {
        struct ow_java_regex *regex = NULL;
        struct ow_error err = {0};
        assert_int_equal(
            ow_java_regex_new(ow_bytes_of(table[i].pattern), ow_bytes_of(table[i].replacement), &regex, &err),
            OW_ECONFIG);
        assert_text_has(err.text, table[i].why);
    }
}

/* Debezium's snapshot reads money as a floating number; digits that such a number has not are kept. */
static void test_money_of_the_snapshot(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
        int32_t mode;
        enum ow_row_op op;
    } table[] = {
        {"$12.50", "\"12.5\"", OW_DBZ_DECIMAL_STRING, OW_ROW_SNAPSHOT},
        {"$12.50", "\"12.50\"", OW_DBZ_DECIMAL_STRING, OW_ROW_INSERT},
        {"$0.00", "\"0.0\"", OW_DBZ_DECIMAL_STRING, OW_ROW_SNAPSHOT},
        {"-$0.01", "\"-0.01\"", OW_DBZ_DECIMAL_STRING, OW_ROW_SNAPSHOT},
        {"$1,234,567.00", "\"1234567.0\"", OW_DBZ_DECIMAL_STRING, OW_ROW_SNAPSHOT},
        {"-$367,521,658.81", "\"-3.6752165881E8\"", OW_DBZ_DECIMAL_STRING, OW_ROW_SNAPSHOT},
        {"$90,071,992,547,409.93", "\"90071992547409.93\"", OW_DBZ_DECIMAL_STRING, OW_ROW_SNAPSHOT},
        {"$12.50", "\"BOI=\"", OW_DBZ_DECIMAL_PRECISE, OW_ROW_SNAPSHOT},
        {"$12.50", "12.5", OW_DBZ_DECIMAL_DOUBLE, OW_ROW_SNAPSHOT},
    };
    for (size_t i = 0; i < OW_COUNT_OF(table); i++) {
        struct ow_dbz_arena arena = {0};
        struct ow_dbz_modes modes = {.decimal = table[i].mode, .money_digits = 2};
        struct ow_row_column of = {OW_BYTES("c"), .type_oid = 790, .typmod = -1};
        struct ow_dbz_column column;
        struct ow_dbz_value value;
        struct ow_buf json = {0};
        ow_dbz_column_init(&column, &arena, &of, &modes);
        assert_int_equal(ow_dbz_column_value_of(&column, &arena, table[i].op, ow_bytes_of(table[i].text), &value, NULL),
                         0);
        ow_dbz_json_value(&json, column.schema, &value, false);
        assert_string_equal(json.data, table[i].want);
        ow_buf_done(&json);
        ow_dbz_arena_done(&arena);
    }
}

#if OW_WITH_PCRE2
/* One that would take for ever ends, with an error. */
static void test_slow_expression(void **state)
{
    (void)state;
    struct ow_java_regex *regex = NULL;
    struct ow_buf topic = {0};
    struct ow_error err = {0};
    assert_int_equal(ow_java_regex_new(OW_BYTES("(a+)+[bc]"), OW_BYTES("x"), &regex, NULL), 0);
    assert_int_equal(ow_java_regex_route(regex, OW_BYTES("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                                         &topic, &err),
                     OW_EINVALID);
    assert_text_has(err.text, "match limit");
    ow_buf_done(&topic);
    ow_java_regex_free(regex);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_rescaled),
        cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_wrong_cells),
        cmocka_unit_test(test_unknown_type),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_java_and_simple_texts),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_refused_expressions),
        cmocka_unit_test(test_money_of_the_snapshot),
#if OW_WITH_PCRE2
        cmocka_unit_test(test_slow_expression),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
