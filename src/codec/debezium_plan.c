/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_plan.h"

#include <stdlib.h>

#include "codec/debezium_json.h"

/* --- tables -------------------------------------------------------------------------------------------------- */

static void plan_free(struct ow_dbz_plan *plan)
{
    if (plan)
        ow_dbz_arena_done(&plan->arena);
    free(plan);
}

void ow_dbz_plans_done(struct ow_dbz_plans *plans)
{
    for (size_t i = 0; i < plans->count; i++)
        plan_free(plans->plans[i]);
    *plans = (struct ow_dbz_plans){0};
}

/* A column of a type that is left out is not there. */
static size_t find_column(const struct ow_dbz_plan *plan, const struct ow_row_table *table, struct ow_bytes name)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (ow_bytes_equal(table->columns[i].name, name))
            return plan->columns[i].schema ? i : OW_DBZ_NO_COLUMN;
    return OW_DBZ_NO_COLUMN;
}

/* A schema with room for every column, and its name for consumers. */
static struct ow_dbz_schema *event_schema(struct ow_dbz_arena *arena, const struct ow_row_table *table,
                                          const char *prefix, const char *what, bool is_optional)
{
    struct ow_dbz_schema *schema = ow_dbz_schema_new(arena, OW_DBZ_STRUCT, is_optional);
    schema->name = ow_dbz_printf(arena, "%s.%.*s.%.*s.%s", prefix, OW_PRINT(table->schema), OW_PRINT(table->name),
                                 what);
    schema->fields = ow_dbz_alloc_array(arena, table->column_count + 1, sizeof(*schema->fields));
    return schema;
}

static void add_field(struct ow_dbz_plan *plan, const struct ow_row_table *table, struct ow_dbz_schema *schema,
                      size_t *columns, size_t index)
{
    columns[schema->field_count] = index;
    schema->fields[schema->field_count++] = (struct ow_dbz_field){ow_dbz_copy(&plan->arena, table->columns[index].name),
                                                                  plan->columns[index].schema};
}

/* What change events look like: columns of unknown types are not in them; a key has its own order. */
static void plan_events(struct ow_dbz_plan *plan, const struct ow_row_table *table, const char *prefix)
{
    struct ow_dbz_arena *arena = &plan->arena;
    struct ow_dbz_schema *row = event_schema(arena, table, prefix, "Value", true);
    struct ow_dbz_schema *key = event_schema(arena, table, prefix, "Key", false);
    plan->row_columns = ow_dbz_alloc_array(arena, table->column_count, sizeof(*plan->row_columns));
    plan->key_columns = ow_dbz_alloc_array(arena, table->column_count, sizeof(*plan->key_columns));
    for (size_t i = 0; i < table->column_count && !arena->has_failed; i++)
        if (plan->columns[i].schema)
            add_field(plan, table, row, plan->row_columns, i);
    for (uint32_t place = 1; place <= table->column_count && !arena->has_failed; place++)
        for (size_t i = 0; i < table->column_count; i++)
            if (table->columns[i].key_place == place && plan->columns[i].schema)
                add_field(plan, table, key, plan->key_columns, i);
    plan->row = row;
    plan->key_schema = key->field_count > 0 ? key : NULL;
}

static int plan_new(const struct ow_row_table *table, const struct ow_debezium_options *options,
                    struct ow_dbz_plan **ret, struct ow_error *err)
{
    struct ow_dbz_plan *plan = calloc(1, sizeof(*plan));
    if (!plan)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    struct ow_dbz_arena *arena = &plan->arena;
    plan->table_version = table->version;
    plan->columns = ow_dbz_alloc_array(arena, table->column_count, sizeof(*plan->columns));
    plan->placed = ow_dbz_alloc_array(arena, options->placement_count, sizeof(*plan->placed));
    for (size_t i = 0; i < table->column_count && !arena->has_failed; i++) {
        /* The plan outlives what the table is borrowed from. */
        struct ow_row_column column = table->columns[i];
        column.labels = ow_dbz_copy(arena, column.labels);
        column.default_expression = ow_dbz_copy(arena, column.default_expression);
        ow_dbz_column_init(&plan->columns[i], arena, &column, &options->modes);
    }
    if (table->has_changes && !arena->has_failed)
        plan_events(plan, table, options->topic_prefix);
    int r = ow_dbz_arena_check(arena, err);
    if (r != 0) {
        plan_free(plan);
        return r;
    }
    plan->id = find_column(plan, table, ow_bytes_of(options->event_id));
    plan->key = find_column(plan, table, ow_bytes_of(options->event_key));
    plan->payload = find_column(plan, table, ow_bytes_of(options->payload));
    plan->route = find_column(plan, table, ow_bytes_of(options->route_by));
    plan->timestamp = find_column(plan, table, ow_bytes_of(options->timestamp));
    plan->version = find_column(plan, table, ow_bytes_of(options->schema_version));
    plan->type = find_column(plan, table, OW_BYTES("type"));
    for (size_t i = 0; i < options->placement_count; i++) {
        plan->placed[i] = find_column(plan, table, options->placements[i].column);
        plan->has_envelope = plan->has_envelope || options->placements[i].kind == OW_DBZ_PLACED_IN_ENVELOPE;
    }
    *ret = plan;
    return 0;
}

/* A free place, or that of the plan that was not used for longest. */
static size_t place_for(struct ow_dbz_plans *plans)
{
    if (plans->count < OW_DBZ_PLANS_MAX)
        return plans->count++;
    size_t oldest = 0;
    for (size_t i = 1; i < plans->count; i++)
        if (plans->plans[i]->used < plans->plans[oldest]->used)
            oldest = i;
    plan_free(plans->plans[oldest]);
    return oldest;
}

int ow_dbz_plans_find(struct ow_dbz_plans *plans, const struct ow_row_table *table,
                      const struct ow_debezium_options *options, const struct ow_dbz_plan **ret, struct ow_error *err)
{
    plans->clock++;
    for (size_t i = 0; i < plans->count; i++) {
        size_t at = (plans->last + i) % plans->count;
        if (plans->plans[at]->table_version != table->version)
            continue;
        plans->last = at;
        plans->plans[at]->used = plans->clock;
        *ret = plans->plans[at];
        return 0;
    }
    struct ow_dbz_plan *plan = NULL;
    int r = plan_new(table, options, &plan, err);
    if (r != 0)
        return r;
    plan->used = plans->clock;
    plans->last = place_for(plans);
    plans->plans[plans->last] = plan;
    *ret = plan;
    return 0;
}

/* --- names of schemas ---------------------------------------------------------------------------------------- */

/* As many as Debezium remembers. Then all are forgotten, where Debezium forgets the one that is oldest. */
#define NAMES_MAX 10000

struct ow_dbz_name {
    uint64_t hash; /* of the payload's schema, and the version */
    char *text;    /* NULL: free */
    size_t size;
};

void ow_dbz_names_done(struct ow_dbz_names *names)
{
    for (size_t i = 0; i < names->capacity; i++)
        free(names->slots[i].text);
    free(names->slots);
    *names = (struct ow_dbz_names){0};
}

static struct ow_dbz_name *slot_for(const struct ow_dbz_names *names, uint64_t hash)
{
    size_t at = (size_t)hash & (names->capacity - 1);
    while (names->slots[at].text && names->slots[at].hash != hash)
        at = (at + 1) & (names->capacity - 1);
    return &names->slots[at];
}

static int grow(struct ow_dbz_names *names, struct ow_error *err)
{
    if (names->count == NAMES_MAX)
        ow_dbz_names_done(names);
    if (names->count * 2 < names->capacity)
        return 0;
    struct ow_dbz_names larger = {.count = names->count, .capacity = names->capacity ? names->capacity * 2 : 16};
    larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
    if (!larger.slots)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; i < names->capacity; i++)
        if (names->slots[i].text)
            *slot_for(&larger, names->slots[i].hash) = names->slots[i];
    free(names->slots);
    *names = larger;
    return 0;
}

/* Of the schema as its consumers see it. */
static int hash_of(const struct ow_dbz_schema *payload, const struct ow_dbz_schema *schema, uint64_t *ret,
                   struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    ow_dbz_json_schema(&text, payload, false);
    ow_buf_printf(&text, "%d %d", (int)schema->has_version, (int)schema->version);
    *ret = ow_hash(ow_buf_bytes(&text));
    return ow_buf_check(&text, err);
}

int ow_dbz_names_find(struct ow_dbz_names *names, struct ow_dbz_arena *arena, const char *prefix,
                      const struct ow_row_table *table, struct ow_bytes routed, const struct ow_dbz_schema *payload,
                      struct ow_dbz_schema *schema, struct ow_error *err)
{
    uint64_t hash;
    int r = hash_of(payload, schema, &hash, err);
    if (r == 0)
        r = grow(names, err);
    if (r != 0)
        return r;
    struct ow_dbz_name *name = slot_for(names, hash);
    if (!name->text) {
        struct ow_buf text = {0};
        ow_buf_printf(&text, "%s.", prefix);
        ow_buf_add_bytes(&text, table->schema);
        ow_buf_add_char(&text, '.');
        ow_buf_add_bytes(&text, table->name);
        ow_buf_add_char(&text, '.');
        ow_buf_add_bytes(&text, routed);
        ow_buf_add_text(&text, ".Value");
        r = ow_buf_check(&text, err);
        if (r != 0) {
            ow_buf_done(&text);
            return r;
        }
        *name = (struct ow_dbz_name){hash, text.data, text.size};
        names->count++;
    }
    schema->name = ow_dbz_copy(arena, (struct ow_bytes){name->text, name->size});
    return ow_dbz_arena_check(arena, err);
}
