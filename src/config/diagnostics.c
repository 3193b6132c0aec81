/* SPDX-License-Identifier: Apache-2.0 */
#include "config/diagnostics.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_SIZE 1024

static void free_item(struct ow_diagnostic *item)
{
    free(item->file);
    free(item->path);
    free(item->text);
    *item = (struct ow_diagnostic){0};
}

void ow_diagnostics_done(struct ow_diagnostics *diagnostics)
{
    for (size_t i = 0; i < diagnostics->count; i++)
        free_item(&diagnostics->items[i]);
    *diagnostics = (struct ow_diagnostics){0};
}

/* One line of text that a terminal may be given: no controls, and no character cut in two at the end. */
static char *clean_copy(const char *text, size_t size)
{
    for (int i = 0; i < 3 && size > 0 && !ow_utf8_is_valid((struct ow_bytes){text, size}); i++)
        size--;
    bool is_utf8 = ow_utf8_is_valid((struct ow_bytes){text, size});
    char *copy = ow_bytes_text((struct ow_bytes){text, size});
    for (char *c = copy; c && *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f || (!is_utf8 && (*c & 0x80)))
            *c = '?';
    return copy;
}

void ow_diagnostics_add(struct ow_diagnostics *diagnostics, const char *file, size_t line, size_t column,
                        struct ow_bytes path, const char *format, ...)
{
    if (ow_diagnostics_is_full(diagnostics)) {
        diagnostics->left_out++;
        return;
    }
    char text[TEXT_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct ow_diagnostic *item = &diagnostics->items[diagnostics->count];
    item->file = clean_copy(file, strlen(file));
    item->path = clean_copy(path.data ? path.data : "", path.data ? path.size : 0);
    item->text = clean_copy(text, strlen(text));
    item->line = line;
    item->column = column;
    if (item->file && item->path && item->text) {
        diagnostics->count++;
        return;
    }
    free_item(item); /* no memory: at least it is counted */
    diagnostics->left_out++;
}

void ow_diagnostics_sort(struct ow_diagnostics *diagnostics)
{
    struct ow_diagnostic *items = diagnostics->items;
    for (size_t i = 1; i < diagnostics->count; i++) {
        struct ow_diagnostic item = items[i];
        size_t j = i;
        for (; j > 0 &&
               (items[j - 1].line > item.line || (items[j - 1].line == item.line && items[j - 1].column > item.column));
             j--)
            items[j] = items[j - 1];
        items[j] = item;
    }
}

void ow_diagnostics_print(const struct ow_diagnostics *diagnostics, struct ow_buf *to)
{
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct ow_diagnostic *item = &diagnostics->items[i];
        ow_buf_add_text(to, item->file);
        if (item->line)
            ow_buf_printf(to, ":%zu:%zu", item->line, item->column);
        ow_buf_printf(to, ": %s%s%s\n", item->path, *item->path ? ": " : "", item->text);
    }
    if (diagnostics->left_out)
        ow_buf_printf(to, "%s%s%zu more %s not shown\n", diagnostics->count ? diagnostics->items[0].file : "",
                      diagnostics->count ? ": " : "", diagnostics->left_out,
                      diagnostics->left_out == 1 ? "error is" : "errors are");
}
