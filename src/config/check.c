/* SPDX-License-Identifier: Apache-2.0 */
#include "config/check.h"

#include <stdarg.h>
#include <stdio.h>

void ow_check_report(const struct ow_check *c, const char *group, const char *key, const char *format, ...)
{
    yaml_document_t *document = c->reader->document;
    const yaml_node_t *at = c->node, *outer = group ? ow_yaml_get(document, c->node, group) : c->node;
    const yaml_node_t *inner = ow_yaml_get(document, outer, key);
    at = inner ? inner : outer ? outer : at;
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t path = c->reader->path.size;
    if (group)
        (void)ow_reader_enter(c->reader, ow_bytes_of(group));
    (void)ow_reader_enter(c->reader, ow_bytes_of(key));
    ow_reader_report(c->reader, at, "%s", text);
    ow_reader_leave(c->reader, path);
}

struct ow_bytes ow_check_written(const struct ow_check *c, const char *group, const char *key)
{
    yaml_document_t *document = c->reader->document;
    const yaml_node_t *node = ow_yaml_get(document, group ? ow_yaml_get(document, c->node, group) : c->node, key);
    return node && node->type == YAML_SCALAR_NODE ? ow_yaml_text(node) : OW_NULL_BYTES;
}

const struct ow_config_place *ow_check_resolve(const struct ow_check *c, const char *group, const char *what,
                                               const char *name, const struct ow_config_place *places, size_t count)
{
    if (!name)
        return NULL;
    struct ow_bytes shown = ow_check_written(c, group, what);
    struct ow_nearest nearest = {.word = ow_bytes_of(name)};
    for (size_t i = 0; i < count; i++) {
        if (strcmp(places[i].name, name) == 0)
            return &places[i];
        ow_nearest_offer(&nearest, places[i].name);
    }
    if (nearest.best)
        ow_check_report(c, group, what, "there is no %s \"%.*s\"; did you mean \"%s\"?", what, OW_PRINT(shown),
                        nearest.best);
    else
        ow_check_report(c, group, what, "there is no %s \"%.*s\"; define it under \"%ss:\"", what, OW_PRINT(shown),
                        what);
    return NULL;
}
