/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/debezium_value.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_BYTES      ((size_t)4096)
#define KEPT_BYTES_MAX   ((size_t)1 << 20)
#define ALIGNMENT        _Alignof(max_align_t)
#define ALLOCATION_LIMIT ((size_t)1 << 40)

struct ow_dbz_chunk {
    struct ow_dbz_chunk *next;
    size_t used, capacity;
    max_align_t data[];
};

void ow_dbz_arena_done(struct ow_dbz_arena *arena)
{
    for (struct ow_dbz_chunk *chunk = arena->first, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    *arena = (struct ow_dbz_arena){0};
}

void ow_dbz_arena_reset(struct ow_dbz_arena *arena)
{
    size_t kept = 0;
    struct ow_dbz_chunk **link = &arena->first;
    while (*link) {
        struct ow_dbz_chunk *chunk = *link;
        if (kept + chunk->capacity > KEPT_BYTES_MAX) {
            *link = chunk->next;
            free(chunk);
            continue;
        }
        kept += chunk->capacity;
        chunk->used = 0;
        link = &chunk->next;
    }
    arena->current = arena->first;
    arena->has_failed = false;
}

/* A chunk with room, the next one that is kept or a new one. */
static struct ow_dbz_chunk *chunk_for(struct ow_dbz_arena *arena, size_t size)
{
    for (struct ow_dbz_chunk *chunk = arena->current; chunk; chunk = chunk->next) {
        if (chunk->capacity - chunk->used >= size) {
            arena->current = chunk;
            return chunk;
        }
    }
    size_t capacity = size > CHUNK_BYTES ? size : CHUNK_BYTES;
    struct ow_dbz_chunk *chunk = malloc(sizeof(*chunk) + capacity);
    if (!chunk)
        return NULL;
    *chunk = (struct ow_dbz_chunk){.capacity = capacity};
    struct ow_dbz_chunk **link = &arena->first;
    while (*link)
        link = &(*link)->next;
    *link = chunk;
    arena->current = chunk;
    return chunk;
}

void *ow_dbz_alloc(struct ow_dbz_arena *arena, size_t size)
{
    size_t rounded = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct ow_dbz_chunk *chunk = size < ALLOCATION_LIMIT ? chunk_for(arena, rounded) : NULL;
    if (!chunk) {
        arena->has_failed = true;
        return NULL;
    }
    void *block = (char *)chunk->data + chunk->used;
    chunk->used += rounded;
    return memset(block, 0, rounded);
}

void *ow_dbz_alloc_array(struct ow_dbz_arena *arena, size_t count, size_t size)
{
    return ow_dbz_alloc(arena, count > ALLOCATION_LIMIT / size ? ALLOCATION_LIMIT : count * size);
}

struct ow_bytes ow_dbz_copy(struct ow_dbz_arena *arena, struct ow_bytes bytes)
{
    char *copy = bytes.data ? ow_dbz_alloc(arena, bytes.size + 1) : NULL;
    if (!copy)
        return OW_NULL_BYTES;
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    return (struct ow_bytes){copy, bytes.size};
}

struct ow_bytes ow_dbz_printf(struct ow_dbz_arena *arena, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int size = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *text = size < 0 ? NULL : ow_dbz_alloc(arena, (size_t)size + 1);
    if (!text)
        return OW_NULL_BYTES;
    va_start(list, format);
    (void)vsnprintf(text, (size_t)size + 1, format, list);
    va_end(list);
    return (struct ow_bytes){text, (size_t)size};
}

int ow_dbz_arena_check(const struct ow_dbz_arena *arena, struct ow_error *err)
{
    return arena->has_failed ? ow_error_set(err, OW_ENOMEM, "out of memory") : 0;
}

/* What is returned where memory is out, so that builders need not ask after each step. Never read as a result:
   the arena has failed. */
static struct ow_dbz_schema *spare_schema(void)
{
    static _Thread_local struct ow_dbz_schema spare;
    spare = (struct ow_dbz_schema){0};
    return &spare;
}

struct ow_dbz_schema *ow_dbz_schema_new(struct ow_dbz_arena *arena, enum ow_dbz_type type, bool is_optional)
{
    struct ow_dbz_schema *schema = ow_dbz_alloc(arena, sizeof(*schema));
    if (!schema)
        return spare_schema();
    *schema = (struct ow_dbz_schema){.type = type, .is_optional = is_optional};
    return schema;
}

struct ow_dbz_schema *ow_dbz_schema_named(struct ow_dbz_arena *arena, enum ow_dbz_type type, bool is_optional,
                                          const char *name)
{
    struct ow_dbz_schema *schema = ow_dbz_schema_new(arena, type, is_optional);
    schema->name = ow_bytes_of(name);
    schema->version = 1;
    schema->has_version = true;
    return schema;
}

void ow_dbz_schema_add_parameter(struct ow_dbz_arena *arena, struct ow_dbz_schema *schema, const char *name,
                                 struct ow_bytes value)
{
    struct ow_dbz_parameter *parameters = ow_dbz_alloc_array(arena, schema->parameter_count + 1,
                                                             sizeof(struct ow_dbz_parameter));
    if (!parameters)
        return;
    for (size_t i = 0; i < schema->parameter_count; i++)
        parameters[i] = schema->parameters[i];
    parameters[schema->parameter_count++] = (struct ow_dbz_parameter){ow_bytes_of(name), value};
    schema->parameters = parameters;
}

bool ow_dbz_schema_equal(const struct ow_dbz_schema *a, const struct ow_dbz_schema *b)
{
    if (a == b)
        return true;
    if (!a || !b || a->type != b->type || a->is_optional != b->is_optional || !ow_bytes_equal(a->name, b->name) ||
        a->field_count != b->field_count)
        return false;
    for (size_t i = 0; i < a->field_count; i++)
        if (!ow_bytes_equal(a->fields[i].name, b->fields[i].name) ||
            !ow_dbz_schema_equal(a->fields[i].schema, b->fields[i].schema))
            return false;
    return ow_dbz_schema_equal(a->element, b->element);
}
