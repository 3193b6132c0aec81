/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a URL of a store, of a broker, and as one that holds a secret. What is read can be written
 * and read again to the same path; what is refused has one line that says why and gives nothing away.
 */
#include "fuzz.h"

#include "config/url.h"

static void check_good(const struct ow_url *url, unsigned kinds)
{
    struct ow_url again;
    struct ow_error err;
    must(url->scheme && url->scheme->is_supported && (url->scheme->kinds & kinds), "a scheme that was asked for");
    must(!url->scheme->has_path == !url->path, "a path where there is one");
    must(!url->path || *url->path, "a path that is not empty");
    must(url->outbox.after <= OW_OUTBOX_MARK && url->outbox.keep_marked_ms >= 0, "options of an outbox");
    must(url->journal.partitions <= 1024 && url->journal.retention_ms >= 0 && url->journal.retention_bytes >= 0,
         "options of a journal");
    must(url->file.fsync <= OW_FSYNC_NEVER && url->file.rotate_bytes >= 0, "options of a file");
    int r = ow_url_parse(ow_bytes_of(url->text), ow_bytes_of(url->text), kinds, &again, &err);
    must(r == 0, "what is shown can be read");
    /* What is shown of a PostgreSQL URL is without its password and its parameters. */
    bool is_whole = url->scheme->id != OW_SCHEME_POSTGRES;
    must(again.scheme == url->scheme, "what is shown has the same scheme");
    must(!is_whole || ow_bytes_equal(ow_bytes_of(again.path), ow_bytes_of(url->path)), "what is shown names the same");
    ow_url_done(&again);
}

static void check_one(struct ow_bytes text, struct ow_bytes shown, unsigned kinds)
{
    struct ow_url url;
    struct ow_error err = {0};
    int r = ow_url_parse(text, shown, kinds, &url, &err);
    if (r == 0) {
        check_good(&url, kinds);
    } else {
        must(r == err.code && (r == OW_EINVALID || r == OW_EUNSUPPORTED), "the code of the error");
        size_t length = strnlen(err.text, sizeof err.text);
        must(length > 0 && length < sizeof err.text, "a text");
        for (size_t i = 0; i < length; i++)
            must((unsigned char)err.text[i] >= 0x20, "one line");
        must(!url.scheme && !url.path && !url.text, "nothing given out");
    }
    ow_url_done(&url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ow_bytes text = {(const char *)data, size};
    check_one(text, text, OW_URL_STORE);
    check_one(text, text, OW_URL_BROKER);
    check_one(text, text, OW_URL_STORE | OW_URL_BROKER);
    check_one(text, OW_BYTES("${URL}"), OW_URL_STORE | OW_URL_BROKER);
    return 0;
}
