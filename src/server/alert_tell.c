/* SPDX-License-Identifier: Apache-2.0 */
#include <curl/curl.h>
#include <stdio.h>

#include "config/config.h"
#include "server/alert.h"

enum {
    TOTAL_MS = 10000,
    CONNECT_MS = 5000,
};

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    (void)data, (void)context;
    return size * count; /* nobody reads it */
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const atomic_bool *is_stopping = context;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(is_stopping);
}

static struct curl_slist *headers_of(const struct ow_config_alert *alert, bool *ret_is_complete)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf line = {0};
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json"), *more = list;
    if (list && alert->webhook && alert->secret) {
        ow_buf_printf(&line, "Authorization: Bearer %s", alert->secret);
        more = line.has_failed ? NULL : curl_slist_append(list, line.data);
    }
    *ret_is_complete = more != NULL;
    return list;
}

static int post(CURL *easy, const struct ow_config_alert *alert, struct ow_error *err)
{
    char text[CURL_ERROR_SIZE] = "";
    long status = 0;
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, text);
    CURLcode code = curl_easy_perform(easy);
    const char *to = alert->routing_key ? "PagerDuty" : "the webhook"; /* a URL may hold a secret */
    if (code != CURLE_OK)
        return ow_error_set(err, OW_EUNREACHABLE, "%s: %s", to, *text ? text : curl_easy_strerror(code));
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300)
        return 0;
    bool is_passing = status == 408 || status == 429 || status >= 500;
    return ow_error_set(err, is_passing ? OW_EUNREACHABLE : OW_EDENIED, "%s answers %ld", to, status);
}

int ow_alert_tell(const struct ow_alert_news *news, const atomic_bool *is_stopping, struct ow_error *err)
{
    OW_CLEANUP(ow_buf_done) struct ow_buf body = {0};
    const struct ow_config_alert *alert = news->alert;
    bool is_complete;
    ow_alert_format(&body, news);
    CURL *easy = curl_easy_init();
    struct curl_slist *headers = headers_of(alert, &is_complete);
    int r = !easy || !is_complete || body.has_failed ? ow_error_set(err, OW_ENOMEM, "out of memory") : 0;
    if (r == 0) {
        (void)curl_easy_setopt(easy, CURLOPT_URL, alert->webhook ? alert->webhook : alert->pagerduty_url);
        (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
        (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
        (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "onewrite/" OW_VERSION);
        (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        (void)curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
        (void)curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
        (void)curl_easy_setopt(easy, CURLOPT_XFERINFODATA, is_stopping);
        (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TOTAL_MS);
        (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
        r = post(easy, alert, err);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);
    return r;
}
