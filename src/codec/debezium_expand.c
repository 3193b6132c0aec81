/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_expand.h"

#include "codec/debezium_tree.h"

/* Names of nested schemas hold those above them: a document could make them grow with the square of its size. */
#define NAME_BYTES_MAX ((size_t)8 << 20)
/* Objects of an array get the fields of all of them, which can be the square of what the text holds; and so can be the
   work to find them. */
#define FIELDS_MAX      ((size_t)4 << 20)
#define COMPARISONS_MAX ((size_t)64 << 20)

struct expander {
    struct ow_dbz_arena *arena;
    const struct ow_dbz_expansion *expansion;
    size_t name_bytes, fields, comparisons;
    const char *why;
};

static struct ow_dbz_schema *fail(struct expander *ex, const char *why)
{
    if (!ex->why)
        ex->why = why;
    return NULL;
}

/* --- names --------------------------------------------------------------------------------------------------- */

static bool is_avro(char c, bool is_first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!is_first && c >= '0' && c <= '9');
}

static size_t utf8_length(char c)
{
    unsigned char u = (unsigned char)c;
    return u < 0x80 ? 1 : u < 0xe0 ? 2 : u < 0xf0 ? 3 : 4;
}

static uint32_t utf8_code(const char *s, size_t length)
{
    uint32_t code = length == 1 ? (unsigned char)*s : (unsigned char)*s & (0x7fU >> length);
    for (size_t i = 1; i < length; i++)
        code = code << 6 | ((unsigned char)s[i] & 63);
    return code;
}

static void add_unicode(struct ow_buf *to, uint32_t code)
{
    if (code > 0xffff)
        ow_buf_printf(to, "_u%04x_u%04x", 0xd800 + ((code - 0x10000) >> 10), 0xdc00 + ((code - 0x10000) & 0x3ff));
    else
        ow_buf_printf(to, "_u%04x", code);
}

/* The name of a member as its consumers see it. */
static struct ow_bytes adjusted(struct expander *ex, struct ow_bytes name)
{
    enum ow_dbz_naming naming = ex->expansion->naming;
    if (naming == OW_DBZ_NAMING_NONE)
        return name;
    struct ow_buf buf = {0};
    for (size_t at = 0, length; at < name.size; at += length) {
        char c = name.data[at];
        length = utf8_length(c);
        bool is_digit = at == 0 && c >= '0' && c <= '9';
        if (naming == OW_DBZ_NAMING_AVRO_UNICODE && (c == '_' || !is_avro(c, at == 0)))
            add_unicode(&buf, utf8_code(name.data + at, length));
        else if (is_avro(c, false) && !is_digit)
            ow_buf_add_char(&buf, c);
        else
            ow_buf_printf(&buf, is_digit ? "_%c" : "_", c);
    }
    struct ow_bytes copy = ow_dbz_copy(ex->arena, ow_buf_bytes(&buf));
    ow_buf_done(&buf);
    return copy;
}

/* "payload" and "a" are "payload.a"; an array inside an array has no name, and what is below it begins anew. */
static struct ow_bytes nested_name(struct expander *ex, struct ow_bytes above, struct ow_bytes name)
{
    bool is_blank = true;
    for (size_t i = 0; i < above.size; i++)
        is_blank = is_blank && (unsigned char)above.data[i] <= ' ';
    if (is_blank)
        return name;
    ex->name_bytes += above.size + name.size;
    char *text = ex->name_bytes < NAME_BYTES_MAX ? ow_dbz_alloc(ex->arena, above.size + name.size + 2) : NULL;
    if (!text) {
        (void)fail(ex, "names of more than 8 MiB");
        return OW_NULL_BYTES;
    }
    memcpy(text, above.data, above.size);
    text[above.size] = '.';
    if (name.size > 0)
        memcpy(text + above.size + 1, name.data, name.size);
    return (struct ow_bytes){text, above.size + name.size + 1};
}

/* --- one schema for the elements of an array ----------------------------------------------------------------- */

static const struct ow_dbz_schema *merge(struct expander *ex, const struct ow_dbz_schema *a,
                                         const struct ow_dbz_schema *b);

/* The place of a field: most often at the same index. */
static size_t find_field(struct expander *ex, const struct ow_dbz_field *fields, size_t count, struct ow_bytes name,
                         size_t hint)
{
    if (hint < count && ow_bytes_equal(fields[hint].name, name))
        return hint;
    size_t at = 0;
    while (at < count && !ow_bytes_equal(fields[at].name, name))
        at++;
    ex->comparisons += at;
    if (ex->comparisons > COMPARISONS_MAX)
        (void)fail(ex, "too many members in ever another order");
    return at;
}

static bool has_room(struct expander *ex, size_t fields)
{
    ex->fields += fields;
    if (ex->fields > FIELDS_MAX)
        (void)fail(ex, "more than 4 million fields once expanded");
    return !ex->why;
}

static const struct ow_dbz_schema *merge_structs(struct expander *ex, const struct ow_dbz_schema *a,
                                                 const struct ow_dbz_schema *b)
{
    struct ow_dbz_schema *both = ow_dbz_schema_new(ex->arena, OW_DBZ_STRUCT, a->is_optional || b->is_optional);
    both->name = a->name;
    if (!has_room(ex, a->field_count + b->field_count))
        return NULL;
    both->fields = ow_dbz_alloc_array(ex->arena, a->field_count + b->field_count, sizeof(*both->fields));
    if (!both->fields)
        return fail(ex, "out of memory");
    for (size_t i = 0; i < a->field_count; i++)
        both->fields[i] = a->fields[i];
    both->field_count = a->field_count;
    for (size_t i = 0; i < b->field_count; i++) {
        size_t at = find_field(ex, both->fields, both->field_count, b->fields[i].name, i);
        if (at == both->field_count)
            both->fields[both->field_count++] = b->fields[i];
        else
            both->fields[at].schema = merge(ex, both->fields[at].schema, b->fields[i].schema);
        if (ex->why)
            return NULL;
    }
    return both;
}

static const struct ow_dbz_schema *merge(struct expander *ex, const struct ow_dbz_schema *a,
                                         const struct ow_dbz_schema *b)
{
    if (ow_dbz_schema_equal(a, b) || b->type == OW_DBZ_BYTES)
        return a;
    if (a->type == OW_DBZ_BYTES) /* so far only nulls were seen */
        return b;
    if (a->type == OW_DBZ_STRUCT && b->type == OW_DBZ_STRUCT)
        return merge_structs(ex, a, b);
    if (a->type != OW_DBZ_ARRAY || b->type != OW_DBZ_ARRAY)
        return fail(ex, "a field that is of one type here and of another there");
    struct ow_dbz_schema *both = ow_dbz_schema_new(ex->arena, OW_DBZ_ARRAY, true);
    both->element = merge(ex, a->element, b->element);
    return ex->why ? NULL : both;
}

/* --- from the tree to the schema ----------------------------------------------------------------------------- */

static const struct ow_dbz_schema *schema_of(struct expander *ex, struct ow_bytes name, const struct ow_dbz_node *node);

static bool is_number(const struct ow_dbz_node *node)
{
    return node->kind >= OW_DBZ_NODE_INT32 && node->kind <= OW_DBZ_NODE_DOUBLE;
}

/* The first element that is not null, if all others are of its kind. */
static const struct ow_dbz_node *sample_of(struct expander *ex, const struct ow_dbz_node *array)
{
    const struct ow_dbz_node *sample = NULL;
    for (size_t i = 0; i < array->count; i++) {
        const struct ow_dbz_node *item = array->items[i];
        if (item->kind == OW_DBZ_NODE_NULL)
            continue;
        if (!sample)
            sample = item;
        if (sample->kind == item->kind)
            continue;
        (void)fail(ex, is_number(sample) && is_number(item) ? "an array of numbers of different types"
                                                            : "an array of values of different types");
        return NULL;
    }
    return sample ? sample : array->items[0];
}

static const struct ow_dbz_schema *objects_schema(struct expander *ex, struct ow_bytes name,
                                                  const struct ow_dbz_node *array)
{
    const struct ow_dbz_schema *all = NULL;
    bool has_null = false, is_merged = false;
    for (size_t i = 0; i < array->count && !ex->why; i++) {
        if (array->items[i]->kind != OW_DBZ_NODE_OBJECT) {
            has_null = true;
            continue;
        }
        const struct ow_dbz_schema *schema = schema_of(ex, name, array->items[i]);
        if (ex->why)
            return NULL;
        is_merged = is_merged || (all && !ow_dbz_schema_equal(all, schema));
        all = all ? merge(ex, all, schema) : schema;
    }
    if (ex->why || !is_merged || has_null)
        return ex->why ? NULL : all;
    /* What was put together of different ones is not optional, in Debezium. */
    struct ow_dbz_schema *required = ow_dbz_schema_new(ex->arena, OW_DBZ_STRUCT, false);
    *required = *all;
    required->is_optional = false;
    return required;
}

static const struct ow_dbz_schema *array_schema(struct expander *ex, struct ow_bytes name,
                                                const struct ow_dbz_node *array)
{
    struct ow_dbz_schema *schema = ow_dbz_schema_new(ex->arena, OW_DBZ_ARRAY, true);
    if (array->count == 0) {
        schema->element = ow_dbz_schema_new(ex->arena, OW_DBZ_STRING, true);
        return ex->expansion->empty_array_is_strings ? schema : NULL;
    }
    const struct ow_dbz_node *sample = sample_of(ex, array);
    if (!sample)
        return NULL;
    if (sample->kind == OW_DBZ_NODE_OBJECT) {
        schema->element = objects_schema(ex, name, array);
        return ex->why ? NULL : schema;
    }
    schema->element = schema_of(ex, OW_NULL_BYTES, sample);
    if (!schema->element)
        return fail(ex, "an array whose elements have no type");
    for (size_t i = 0; i < array->count && sample->kind == OW_DBZ_NODE_ARRAY && !ex->why; i++) {
        const struct ow_dbz_node *item = array->items[i];
        const struct ow_dbz_schema *inner = item->kind == OW_DBZ_NODE_ARRAY && item != sample
                                                ? schema_of(ex, OW_NULL_BYTES, item)
                                                : NULL;
        if (inner && !ex->why)
            schema->element = merge(ex, schema->element, inner);
    }
    return ex->why ? NULL : schema;
}

static const struct ow_dbz_schema *object_schema(struct expander *ex, struct ow_bytes name,
                                                 const struct ow_dbz_node *object)
{
    struct ow_dbz_schema *schema = ow_dbz_schema_new(ex->arena, OW_DBZ_STRUCT, true);
    schema->name = name;
    schema->fields = ow_dbz_alloc_array(ex->arena, object->count, sizeof(*schema->fields));
    if (!schema->fields)
        return fail(ex, "out of memory");
    for (size_t i = 0; i < object->count; i++) {
        const struct ow_dbz_node *item = object->items[i];
        struct ow_bytes member = adjusted(ex, item->name);
        bool holds_more = item->kind == OW_DBZ_NODE_OBJECT || item->kind == OW_DBZ_NODE_ARRAY;
        const struct ow_dbz_schema *field = schema_of(ex, holds_more ? nested_name(ex, name, member) : OW_NULL_BYTES,
                                                      item);
        if (ex->why)
            return NULL;
        if (!field)
            continue;
        if (member.size == 0)
            return fail(ex, "a member without a name");
        if (ex->expansion->naming != OW_DBZ_NAMING_NONE &&
            find_field(ex, schema->fields, schema->field_count, member, SIZE_MAX) < schema->field_count)
            return fail(ex, "two members whose names become the same");
        schema->fields[schema->field_count++] = (struct ow_dbz_field){member, field};
    }
    return schema;
}

/* NULL: left out, or, with ex->why, it cannot be. */
static const struct ow_dbz_schema *schema_of(struct expander *ex, struct ow_bytes name, const struct ow_dbz_node *node)
{
    static const struct ow_dbz_schema boolean = {.type = OW_DBZ_BOOLEAN, .is_optional = true},
                                      int32 = {.type = OW_DBZ_INT32, .is_optional = true},
                                      int64 = {.type = OW_DBZ_INT64, .is_optional = true},
                                      floating = {.type = OW_DBZ_FLOAT64, .is_optional = true},
                                      string = {.type = OW_DBZ_STRING, .is_optional = true},
                                      bytes = {.type = OW_DBZ_BYTES, .is_optional = true};
    switch (node->kind) {
    case OW_DBZ_NODE_NULL:
        return ex->expansion->null_is_bytes ? &bytes : NULL;
    case OW_DBZ_NODE_BOOLEAN:
        return &boolean;
    case OW_DBZ_NODE_INT32:
        return &int32;
    case OW_DBZ_NODE_INT64:
        return &int64;
    case OW_DBZ_NODE_BIG:
        return fail(ex, "an integer beyond 64 bits");
    case OW_DBZ_NODE_DOUBLE:
        return &floating;
    case OW_DBZ_NODE_STRING:
        return &string;
    case OW_DBZ_NODE_ARRAY:
        return array_schema(ex, name, node);
    case OW_DBZ_NODE_OBJECT:
        return object_schema(ex, name, node);
    }
    return NULL;
}

/* --- from the tree to the value ------------------------------------------------------------------------------ */

static struct ow_dbz_value value_of(struct expander *ex, const struct ow_dbz_node *node,
                                    const struct ow_dbz_schema *schema);

static struct ow_dbz_value object_value(struct expander *ex, const struct ow_dbz_node *object,
                                        const struct ow_dbz_schema *schema)
{
    struct ow_dbz_value *items = has_room(ex, schema->field_count)
                                     ? ow_dbz_alloc_array(ex->arena, schema->field_count, sizeof(*items))
                                     : NULL;
    if (!items)
        return ow_dbz_null();
    for (size_t i = 0; i < schema->field_count; i++)
        items[i] = ow_dbz_null();
    size_t hint = 0;
    for (size_t i = 0; i < object->count && !ex->why; i++) {
        struct ow_bytes member = adjusted(ex, object->items[i]->name);
        size_t at = find_field(ex, schema->fields, schema->field_count, member, hint);
        if (at == schema->field_count)
            continue;
        items[at] = value_of(ex, object->items[i], schema->fields[at].schema);
        hint = at + 1;
    }
    return (struct ow_dbz_value){.as.list = {items, schema->field_count}};
}

static struct ow_dbz_value value_of(struct expander *ex, const struct ow_dbz_node *node,
                                    const struct ow_dbz_schema *schema)
{
    if (node->kind == OW_DBZ_NODE_OBJECT)
        return object_value(ex, node, schema);
    if (node->kind != OW_DBZ_NODE_ARRAY)
        return node->value;
    struct ow_dbz_value *items = ow_dbz_alloc_array(ex->arena, node->count, sizeof(*items));
    if (!items)
        return ow_dbz_null();
    for (size_t i = 0; i < node->count; i++)
        items[i] = value_of(ex, node->items[i], schema->element);
    return (struct ow_dbz_value){.as.list = {items, node->count}};
}

int ow_dbz_expand(struct ow_dbz_arena *arena, const struct ow_dbz_expansion *expansion, struct ow_bytes name,
                  struct ow_bytes text, const struct ow_dbz_schema **ret_schema, struct ow_dbz_value *ret_value,
                  const char **ret_why, struct ow_error *err)
{
    struct expander ex = {.arena = arena, .expansion = expansion};
    if (text.size == 0 || (text.data[0] != '{' && text.data[0] != '[')) {
        *ret_why = "it does not begin with { or [";
        return 0;
    }
    const struct ow_dbz_node *tree = ow_dbz_tree_read(arena, text, ret_why);
    const struct ow_dbz_schema *schema = tree ? schema_of(&ex, name, tree) : NULL;
    struct ow_dbz_value value = schema && !ex.why ? value_of(&ex, tree, schema) : ow_dbz_null();
    int r = ow_dbz_arena_check(arena, err);
    if (r != 0)
        return r;
    if (!schema || ex.why) {
        if (tree)
            *ret_why = ex.why ? ex.why : "an empty array";
        if (tree && !ex.why)
            *ret_schema = NULL;
        return 0;
    }
    *ret_schema = schema;
    *ret_value = value;
    *ret_why = NULL;
    return 1;
}
