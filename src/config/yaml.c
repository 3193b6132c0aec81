/* SPDX-License-Identifier: Apache-2.0 */
#include "config/yaml.h"

struct file {
    struct ow_bytes text;
    const char *name;
    struct ow_diagnostics *diagnostics;
};

static int refuse(const struct file *file, yaml_mark_t at, const char *problem)
{
    ow_diagnostics_add(file->diagnostics, file->name, at.line + 1, at.column + 1, OW_NULL_BYTES, "%s", problem);
    return OW_ECONFIG;
}

static yaml_mark_t mark_of_offset(const struct file *file, size_t offset)
{
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < offset && i < file->text.size; i++) {
        if (file->text.data[i] == '\n') {
            mark.line++;
            mark.column = 0;
        } else if (((unsigned char)file->text.data[i] & 0xc0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

static const char *remedy_of(const struct file *file, const yaml_parser_t *parser)
{
    size_t at = parser->problem_mark.index; /* counts characters: exact as long as they are ASCII */
    if (parser->error == YAML_READER_ERROR)
        return "; the file must be UTF-8 text";
    if (parser->error == YAML_SCANNER_ERROR && at < file->text.size && file->text.data[at] == '\t')
        return "; indent with spaces, not with tabs";
    if (parser->problem && (strcmp(parser->problem, "mapping values are not allowed in this context") == 0 ||
                            strcmp(parser->problem, "found unexpected ':'") == 0))
        return "; a value that holds \": \" or ends with a colon is written in quotes";
    return "";
}

/* What libyaml says, with its place. */
static int pass_on(const struct file *file, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        ow_diagnostics_add(file->diagnostics, file->name, 0, 0, OW_NULL_BYTES, "out of memory");
        return OW_ENOMEM;
    }
    bool is_reader = parser->error == YAML_READER_ERROR;
    yaml_mark_t at = is_reader ? mark_of_offset(file, parser->problem_offset) : parser->problem_mark;
    const char *context = parser->context && !is_reader ? parser->context : "";
    ow_diagnostics_add(file->diagnostics, file->name, at.line + 1, at.column + 1, OW_NULL_BYTES, "%s%s%s%s",
                       parser->problem ? parser->problem : "not YAML", *context ? " " : "", context,
                       remedy_of(file, parser));
    return OW_ECONFIG;
}

struct survey {
    size_t depth, nodes, anchors, documents;
};

static bool has_anchor(const yaml_event_t *event)
{
    return (event->type == YAML_SCALAR_EVENT && event->data.scalar.anchor) ||
           (event->type == YAML_SEQUENCE_START_EVENT && event->data.sequence_start.anchor) ||
           (event->type == YAML_MAPPING_START_EVENT && event->data.mapping_start.anchor);
}

/* 1: the stream ended. */
static int survey_event(const struct file *file, const yaml_event_t *event, struct survey *survey)
{
    switch (event->type) {
    case YAML_STREAM_END_EVENT:
        return 1;
    case YAML_DOCUMENT_START_EVENT:
        if (++survey->documents > 1)
            return refuse(file, event->start_mark, "a second document begins here; a configuration is one document");
        return 0;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++survey->depth > OW_YAML_DEPTH_MAX)
            return refuse(file, event->start_mark, "nested too deep; a configuration has at most 32 levels");
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        survey->depth--;
        return 0;
    case YAML_SCALAR_EVENT:
    case YAML_ALIAS_EVENT:
        break;
    default:
        return 0;
    }
    if (has_anchor(event) && ++survey->anchors > OW_YAML_ANCHORS_MAX)
        return refuse(file, event->start_mark, "too many anchors; a configuration has at most 1000");
    if (++survey->nodes > OW_YAML_NODES_MAX)
        return refuse(file, event->start_mark, "too many values; a configuration has at most 100000");
    return 0;
}

static void start(yaml_parser_t *parser, const struct file *file)
{
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(parser, (const unsigned char *)file->text.data, file->text.size);
}

static int check_bounds(const struct file *file)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return OW_ENOMEM;
    start(&parser, file);
    struct survey survey = {0};
    int r = 0;
    while (r == 0) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            r = pass_on(file, &parser);
            break;
        }
        r = survey_event(file, &event, &survey);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return r < 0 ? r : 0;
}

static int load(struct ow_yaml *yaml, const struct file *file)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return OW_ENOMEM;
    start(&parser, file);
    int r = 0;
    yaml->is_loaded = yaml_parser_load(&parser, &yaml->document);
    if (!yaml->is_loaded)
        r = pass_on(file, &parser);
    yaml_parser_delete(&parser);
    return r;
}

int ow_yaml_load(struct ow_yaml *yaml, struct ow_bytes text, const char *name, struct ow_diagnostics *diagnostics)
{
    struct file file = {text, name, diagnostics};
    yaml_mark_t beginning = {0};
    yaml->is_loaded = false;
    if (text.size > OW_YAML_SIZE_MAX)
        return refuse(&file, beginning, "the file is larger than 1MiB; a configuration is smaller");
    if (text.size >= 2 && (memcmp(text.data, "\xff\xfe", 2) == 0 || memcmp(text.data, "\xfe\xff", 2) == 0))
        return refuse(&file, beginning, "the file is UTF-16; save it as UTF-8");
    if (text.size >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0)
        file.text = (struct ow_bytes){text.data + 3, text.size - 3};
    int r = check_bounds(&file);
    if (r == 0)
        r = load(yaml, &file);
    if (r == OW_ENOMEM && diagnostics->count == 0)
        ow_diagnostics_add(diagnostics, name, 0, 0, OW_NULL_BYTES, "out of memory");
    if (r == 0 && !yaml_document_get_root_node(&yaml->document)) {
        r = refuse(&file, beginning, "the file is empty; begin with \"version: 1\"");
        ow_yaml_done(yaml);
    }
    return r;
}

void ow_yaml_done(struct ow_yaml *yaml)
{
    if (yaml->is_loaded)
        yaml_document_delete(&yaml->document);
    yaml->is_loaded = false;
}

const char *ow_yaml_kind(const yaml_node_t *node)
{
    if (node->type == YAML_MAPPING_NODE)
        return "a map";
    if (node->type == YAML_SEQUENCE_NODE)
        return "a list";
    struct ow_bytes text = ow_yaml_text(node);
    if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return "a string";
    if (text.size == 0 || ow_bytes_is(text, "~") || ow_bytes_is(text, "null"))
        return "nothing";
    if (strspn(text.data, "0123456789.") == text.size)
        return "a number";
    return ow_bytes_is(text, "true") || ow_bytes_is(text, "false") ? "true or false" : "a string";
}

yaml_node_t *ow_yaml_get(yaml_document_t *document, const yaml_node_t *map, const char *key)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top; pair++) {
        yaml_node_t *name = yaml_document_get_node(document, pair->key);
        if (name->type == YAML_SCALAR_NODE && ow_bytes_is(ow_yaml_text(name), key))
            return yaml_document_get_node(document, pair->value);
    }
    return NULL;
}
