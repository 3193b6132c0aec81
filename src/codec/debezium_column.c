/* SPDX-License-Identifier: Apache-2.0 */
/* Which type of PostgreSQL becomes which schema. */
#include "codec/debezium_column.h"

#include <stdio.h>

struct known_type {
    uint32_t oid, array_oid; /* of the array 0: Debezium knows none of them, or finds them by the element's name */
    const char *name;        /* of types that come with an extension; their oid differs from database to database */
    enum ow_dbz_kind kind;
    enum ow_dbz_type type;
    const char *logical_name;
};

static const struct known_type known_types[] = {
    {16, 1000, NULL, OW_DBZ_KIND_BOOLEAN, OW_DBZ_BOOLEAN, NULL},
    {17, 1001, NULL, OW_DBZ_KIND_BYTEA, OW_DBZ_BYTES, NULL},
    {18, 1002, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL}, /* "char" */
    {19, 0, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL},    /* name */
    {20, 1016, NULL, OW_DBZ_KIND_INTEGER, OW_DBZ_INT64, NULL},
    {21, 1005, NULL, OW_DBZ_KIND_INTEGER, OW_DBZ_INT16, NULL},
    {23, 1007, NULL, OW_DBZ_KIND_INTEGER, OW_DBZ_INT32, NULL},
    {25, 1009, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL},
    {26, 1028, NULL, OW_DBZ_KIND_INTEGER, OW_DBZ_INT64, NULL}, /* oid */
    {114, 199, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, "io.debezium.data.Json"},
    {142, 0, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, "io.debezium.data.Xml"},
    {650, 651, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL}, /* cidr */
    {700, 1021, NULL, OW_DBZ_KIND_FLOATING, OW_DBZ_FLOAT32, NULL},
    {701, 1022, NULL, OW_DBZ_KIND_FLOATING, OW_DBZ_FLOAT64, NULL},
    {774, 775, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL}, /* macaddr8 */
    {790, 0, NULL, OW_DBZ_KIND_MONEY, OW_DBZ_BYTES, NULL},
    {829, 1040, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL},  /* macaddr */
    {869, 1041, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL},  /* inet */
    {1042, 1014, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL}, /* char(n) */
    {1043, 1015, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL}, /* varchar */
    {1082, 1182, NULL, OW_DBZ_KIND_DATE, OW_DBZ_INT32, NULL},
    {1083, 1183, NULL, OW_DBZ_KIND_TIME, OW_DBZ_INT64, NULL},
    {1114, 1115, NULL, OW_DBZ_KIND_TIMESTAMP, OW_DBZ_INT64, NULL},
    {1184, 1185, NULL, OW_DBZ_KIND_TIMESTAMPTZ, OW_DBZ_STRING, "io.debezium.time.ZonedTimestamp"},
    {1186, 0, NULL, OW_DBZ_KIND_INTERVAL, OW_DBZ_INT64, NULL},
    {1266, 1270, NULL, OW_DBZ_KIND_TIMETZ, OW_DBZ_STRING, "io.debezium.time.ZonedTime"},
    {1560, 1561, NULL, OW_DBZ_KIND_BITS, OW_DBZ_BYTES, NULL}, /* bit */
    {1562, 0, NULL, OW_DBZ_KIND_BITS, OW_DBZ_BYTES, NULL},    /* varbit */
    {1700, 1231, NULL, OW_DBZ_KIND_NUMERIC, OW_DBZ_BYTES, NULL},
    {2950, 2951, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, "io.debezium.data.Uuid"},
    {3802, 3807, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, "io.debezium.data.Json"},
    {3904, 3905, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL}, /* int4range */
    {3906, 3907, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL}, /* numrange */
    {3908, 3909, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL}, /* tsrange */
    {3910, 3911, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL}, /* tstzrange */
    {3912, 3913, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL}, /* daterange */
    {3926, 3927, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL}, /* int8range */
    {0, 0, "citext", OW_DBZ_KIND_TEXT, OW_DBZ_STRING, NULL},
    {0, 0, "ltree", OW_DBZ_KIND_TEXT, OW_DBZ_STRING, "io.debezium.data.Ltree"},
    {0, 0, "hstore", OW_DBZ_KIND_HSTORE, OW_DBZ_STRING, NULL},
};

static const struct known_type enum_type = {0, 0, NULL, OW_DBZ_KIND_TEXT, OW_DBZ_STRING, "io.debezium.data.Enum"};

/* The type of the column or, of an array, of its elements. NULL: unknown. */
static const struct known_type *type_of(const struct ow_row_column *column, bool *ret_is_array)
{
    *ret_is_array = column->element_oid != 0;
    struct ow_bytes name = column->type_name;
    if (name.size > 1 && name.data[0] == '_' && (column->element_oid != 0 || column->is_enum)) {
        *ret_is_array = true; /* how PostgreSQL names the type of an array */
        name = (struct ow_bytes){name.data + 1, name.size - 1};
    }
    if (column->is_enum)
        return &enum_type;
    uint32_t oid = column->element_oid ? column->element_oid : column->type_oid;
    for (size_t i = 0; i < sizeof(known_types) / sizeof(*known_types); i++) {
        const struct known_type *type = &known_types[i];
        if (type->name ? ow_bytes_is(name, type->name) : type->oid == oid)
            return *ret_is_array && !type->name && type->array_oid == 0 ? NULL : type;
        if (!type->name && column->element_oid == 0 && type->array_oid == oid) {
            *ret_is_array = true;
            return type;
        }
    }
    return NULL;
}

static struct ow_dbz_schema *numeric_schema(struct ow_dbz_column *column, struct ow_dbz_arena *arena, int32_t typmod)
{
    if (column->modes->decimal == OW_DBZ_DECIMAL_STRING)
        return ow_dbz_schema_new(arena, OW_DBZ_STRING, true);
    if (column->modes->decimal == OW_DBZ_DECIMAL_DOUBLE)
        return ow_dbz_schema_new(arena, OW_DBZ_FLOAT64, true);
    if (typmod < 4) {
        struct ow_dbz_schema *schema = ow_dbz_schema_named(arena, OW_DBZ_STRUCT, true,
                                                           "io.debezium.data.VariableScaleDecimal");
        schema->logic = OW_DBZ_VARIABLE_DECIMAL;
        schema->doc = OW_BYTES("Variable scaled decimal");
        schema->fields = ow_dbz_alloc_array(arena, 2, sizeof(*schema->fields));
        if (!schema->fields)
            return schema;
        schema->field_count = 2;
        schema->fields[0] = (struct ow_dbz_field){OW_BYTES("scale"), ow_dbz_schema_new(arena, OW_DBZ_INT32, false)};
        schema->fields[1] = (struct ow_dbz_field){OW_BYTES("value"), ow_dbz_schema_new(arena, OW_DBZ_BYTES, false)};
        return schema;
    }
    struct ow_dbz_schema *schema = ow_dbz_schema_named(arena, OW_DBZ_BYTES, true,
                                                       "org.apache.kafka.connect.data.Decimal");
    schema->logic = OW_DBZ_DECIMAL;
    /* since PostgreSQL 15 a scale is a number of 11 bits with a sign */
    int32_t scale = (typmod - 4) & 0x7ff;
    column->digits = scale > 1023 ? scale - 2048 : scale;
    ow_dbz_schema_add_parameter(arena, schema, "scale", ow_dbz_printf(arena, "%d", (int)column->digits));
    ow_dbz_schema_add_parameter(arena, schema, "connect.decimal.precision",
                                ow_dbz_printf(arena, "%d", (int)((typmod - 4) >> 16 & 0xffff)));
    return schema;
}

static struct ow_dbz_schema *money_schema(struct ow_dbz_column *column, struct ow_dbz_arena *arena)
{
    column->digits = column->modes->money_digits;
    if (column->modes->decimal == OW_DBZ_DECIMAL_STRING)
        return ow_dbz_schema_new(arena, OW_DBZ_STRING, true);
    if (column->modes->decimal == OW_DBZ_DECIMAL_DOUBLE)
        return ow_dbz_schema_new(arena, OW_DBZ_FLOAT64, true);
    struct ow_dbz_schema *schema = ow_dbz_schema_named(arena, OW_DBZ_BYTES, true,
                                                       "org.apache.kafka.connect.data.Decimal");
    schema->logic = OW_DBZ_DECIMAL;
    ow_dbz_schema_add_parameter(arena, schema, "scale", ow_dbz_printf(arena, "%d", (int)column->digits));
    return schema;
}

static struct ow_dbz_schema *connect_schema(struct ow_dbz_arena *arena, enum ow_dbz_type type, enum ow_dbz_logic logic,
                                            const char *name)
{
    struct ow_dbz_schema *schema = ow_dbz_schema_named(arena, type, true, name);
    schema->logic = logic;
    return schema;
}

static struct ow_dbz_schema *time_schema(struct ow_dbz_column *column, struct ow_dbz_arena *arena)
{
    bool is_connect = column->modes->time == OW_DBZ_TIME_CONNECT;
    bool is_short = column->digits >= 0 && column->digits <= 3;
    switch (column->kind) {
    case OW_DBZ_KIND_DATE:
        if (is_connect)
            return connect_schema(arena, OW_DBZ_INT32, OW_DBZ_CONNECT_DATE, "org.apache.kafka.connect.data.Date");
        return ow_dbz_schema_named(arena, OW_DBZ_INT32, true, "io.debezium.time.Date");
    case OW_DBZ_KIND_TIME:
        column->divisor = is_connect || (is_short && column->modes->time == OW_DBZ_TIME_ADAPTIVE) ? 1000 : 1;
        if (is_connect)
            return connect_schema(arena, OW_DBZ_INT32, OW_DBZ_CONNECT_TIME, "org.apache.kafka.connect.data.Time");
        return column->divisor == 1 ? ow_dbz_schema_named(arena, OW_DBZ_INT64, true, "io.debezium.time.MicroTime")
                                    : ow_dbz_schema_named(arena, OW_DBZ_INT32, true, "io.debezium.time.Time");
    case OW_DBZ_KIND_TIMESTAMP:
        column->divisor = is_connect || is_short ? 1000 : 1;
        if (is_connect)
            return connect_schema(arena, OW_DBZ_INT64, OW_DBZ_CONNECT_TIMESTAMP,
                                  "org.apache.kafka.connect.data.Timestamp");
        return ow_dbz_schema_named(arena, OW_DBZ_INT64, true,
                                   column->divisor == 1 ? "io.debezium.time.MicroTimestamp"
                                                        : "io.debezium.time.Timestamp");
    default:
        return column->modes->interval_is_text
                   ? ow_dbz_schema_named(arena, OW_DBZ_STRING, true, "io.debezium.time.Interval")
                   : ow_dbz_schema_named(arena, OW_DBZ_INT64, true, "io.debezium.time.MicroDuration");
    }
}

static struct ow_dbz_schema *bits_schema(struct ow_dbz_column *column, struct ow_dbz_arena *arena, bool is_varying)
{
    int32_t length = column->digits > 0 ? column->digits : is_varying ? INT32_MAX : 1;
    if (length == 1)
        return ow_dbz_schema_new(arena, OW_DBZ_BOOLEAN, true);
    struct ow_dbz_schema *schema = ow_dbz_schema_named(arena, OW_DBZ_BYTES, true, "io.debezium.data.Bits");
    ow_dbz_schema_add_parameter(arena, schema, "length", ow_dbz_printf(arena, "%d", (int)length));
    return schema;
}

static struct ow_dbz_schema *schema_of(struct ow_dbz_column *column, struct ow_dbz_arena *arena,
                                       const struct known_type *type, const struct ow_row_column *of)
{
    switch (type->kind) {
    case OW_DBZ_KIND_NUMERIC:
        return numeric_schema(column, arena, of->typmod);
    case OW_DBZ_KIND_MONEY:
        return money_schema(column, arena);
    case OW_DBZ_KIND_DATE:
    case OW_DBZ_KIND_TIME:
    case OW_DBZ_KIND_TIMESTAMP:
    case OW_DBZ_KIND_INTERVAL:
        return time_schema(column, arena);
    case OW_DBZ_KIND_BITS:
        return bits_schema(column, arena, type->oid == 1562);
    case OW_DBZ_KIND_BYTEA:
        return ow_dbz_schema_new(arena, column->modes->binary == OW_DBZ_BINARY_BYTES ? OW_DBZ_BYTES : OW_DBZ_STRING,
                                 true);
    case OW_DBZ_KIND_HSTORE:
        if (!column->modes->hstore_is_map)
            return ow_dbz_schema_named(arena, OW_DBZ_STRING, true, "io.debezium.data.Json");
        struct ow_dbz_schema *map = ow_dbz_schema_new(arena, OW_DBZ_MAP, true);
        map->element = ow_dbz_schema_new(arena, OW_DBZ_STRING, true);
        return map;
    default:
        break;
    }
    struct ow_dbz_schema *schema = type->logical_name ? ow_dbz_schema_named(arena, type->type, true, type->logical_name)
                                                      : ow_dbz_schema_new(arena, type->type, true);
    if (type == &enum_type)
        ow_dbz_schema_add_parameter(arena, schema, "allowed", of->labels.data ? of->labels : OW_BYTES(""));
    return schema;
}

/* Not for what a schema cannot say. */
static const struct ow_dbz_value *default_of(const struct ow_dbz_column *column, struct ow_dbz_arena *arena,
                                             const struct ow_row_column *of)
{
    if (column->is_array || column->schema->type == OW_DBZ_STRUCT || column->schema->type == OW_DBZ_MAP)
        return NULL;
    struct ow_bytes text = ow_dbz_default_text(arena, of, column->kind);
    struct ow_dbz_value *value = text.data ? ow_dbz_alloc(arena, sizeof(*value)) : NULL;
    if (!value || ow_dbz_column_value(column, arena, text, value, NULL) != 0 || value->is_null)
        return NULL;
    return value;
}

void ow_dbz_column_init(struct ow_dbz_column *column, struct ow_dbz_arena *arena, const struct ow_row_column *of,
                        const struct ow_dbz_modes *modes)
{
    *column = (struct ow_dbz_column){.modes = modes, .digits = of->typmod, .divisor = 1};
    const struct known_type *type = type_of(of, &column->is_array);
    if (!type && !modes->has_unknown_types)
        return;
    column->kind = type ? type->kind : OW_DBZ_KIND_UNKNOWN;
    column->is_array = column->is_array && type;
    struct ow_dbz_schema *schema = type ? schema_of(column, arena, type, of)
                                        : ow_dbz_schema_new(arena, OW_DBZ_BYTES, true);
    if (column->is_array) {
        struct ow_dbz_schema *array = ow_dbz_schema_new(arena, OW_DBZ_ARRAY, true);
        array->element = schema;
        schema->is_optional = type != &enum_type;
        schema = array;
    }
    schema->is_optional = !of->is_not_null;
    column->schema = schema;
    schema->fallback = of->default_expression.data ? default_of(column, arena, of) : NULL;
}
