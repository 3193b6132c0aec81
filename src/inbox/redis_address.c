/* SPDX-License-Identifier: Apache-2.0 */
#include "inbox/redis_address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "inbox/filter.h"

enum { PORT_MAX = 65535, DATABASE_MAX = 999999 };

void ow_redis_address_done(struct ow_redis_address *a)
{
    free(a->host);
    free(a->port);
    free(a->database);
    free(a->user);
    free(a->password);
    *a = (struct ow_redis_address){0};
}

static int refuse(struct ow_error *err)
{
    return ow_error_set(
        err, OW_EINVALID,
        "not a URL of Redis; write redis://HOST:PORT/DATABASE, or redis://:PASSWORD@HOST:PORT, with what "
        "is special in a password as %%XX");
}

static int hex_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* NULL: it is not well-formed, or out of memory. */
static char *decode(struct ow_bytes text)
{
    char *decoded = ow_bytes_text(text);
    size_t n = 0;
    for (size_t i = 0; decoded && i < text.size; i++, n++) {
        decoded[n] = text.data[i];
        if (text.data[i] != '%')
            continue;
        int high = i + 2 < text.size ? hex_of(text.data[i + 1]) : -1;
        int low = i + 2 < text.size ? hex_of(text.data[i + 2]) : -1;
        if (high < 0 || low < 0 || high + low == 0) {
            free(decoded);
            return NULL;
        }
        decoded[n] = (char)(high * 16 + low);
        i += 2;
    }
    if (decoded)
        decoded[n] = '\0';
    return decoded;
}

/* Digits, at most `max`. */
static bool is_number(struct ow_bytes text, long max)
{
    char digits[8];
    if (text.size == 0 || text.size >= sizeof digits)
        return false;
    memcpy(digits, text.data, text.size);
    digits[text.size] = '\0';
    return strspn(digits, "0123456789") == text.size && strtol(digits, NULL, 10) <= max;
}

static bool read_account(struct ow_bytes text, struct ow_redis_address *a)
{
    const char *colon = memchr(text.data, ':', text.size);
    if (!colon)
        return false;
    size_t size = (size_t)(colon - text.data);
    if (size > 0)
        a->user = decode((struct ow_bytes){text.data, size});
    a->password = decode((struct ow_bytes){colon + 1, text.size - size - 1});
    return a->password && *a->password && (size == 0 || (a->user && *a->user));
}

/* HOST, HOST:PORT, [ADDRESS]:PORT */
static bool read_host(struct ow_bytes text, struct ow_redis_address *a)
{
    struct ow_bytes port = OW_NULL_BYTES;
    bool is_bracketed = text.size > 0 && text.data[0] == '[';
    const char *end = is_bracketed ? memchr(text.data, ']', text.size) : memchr(text.data, ':', text.size);
    if (is_bracketed && !end)
        return false;
    struct ow_bytes host = {text.data + is_bracketed, end ? (size_t)(end - text.data) - is_bracketed : text.size};
    const char *rest = end ? end + is_bracketed : NULL;
    size_t left = rest ? text.size - (size_t)(rest - text.data) : 0;
    if (left > 0 && *rest != ':')
        return false;
    if (left > 0)
        port = (struct ow_bytes){rest + 1, left - 1};
    if (host.size == 0 || host.size > 255 || (port.data && !is_number(port, PORT_MAX)))
        return false;
    for (size_t i = 0; i < host.size; i++)
        if ((unsigned char)host.data[i] <= ' ' || host.data[i] == 0x7f || strchr("@?#%\\\"", host.data[i]))
            return false;
    char usual[8];
    (void)snprintf(usual, sizeof usual, "%d", OW_REDIS_PORT);
    a->host = ow_bytes_text(host);
    a->port = port.data ? ow_bytes_text(port) : strdup(usual);
    return a->host && a->port;
}

int ow_redis_address_parse(const char *url, struct ow_redis_address *ret, struct ow_error *err)
{
    static const char scheme[] = "redis://", tls[] = "rediss://";
    struct ow_redis_address a = {0};
    if (strncmp(url, tls, sizeof tls - 1) == 0)
        return ow_error_set(err, OW_EUNSUPPORTED,
                            "rediss:// (TLS) is not supported; a tunnel may bring it to this host");
    if (strncmp(url, scheme, sizeof scheme - 1) != 0)
        return refuse(err);
    const char *rest = url + sizeof scheme - 1, *at = strrchr(rest, '@');
    bool is_good = !at || read_account((struct ow_bytes){rest, (size_t)(at - rest)}, &a);
    const char *where = at ? at + 1 : rest;
    struct ow_bytes host = {where, strcspn(where, "/")}, database = {where + host.size, strlen(where + host.size)};
    if (database.size > 0)
        database = (struct ow_bytes){database.data + 1, database.size - 1};
    is_good = is_good && read_host(host, &a) && (database.size == 0 || is_number(database, DATABASE_MAX));
    a.database = database.size > 0 ? ow_bytes_text(database) : strdup("0");
    if (!is_good || !a.database) {
        ow_redis_address_done(&a);
        return refuse(err);
    }
    bool is_v6 = strchr(a.host, ':') != NULL;
    (void)snprintf(a.shown, sizeof a.shown, "redis://%s%s%s:%s/%s", is_v6 ? "[" : "", a.host, is_v6 ? "]" : "", a.port,
                   a.database);
    *ret = a;
    return 0;
}
