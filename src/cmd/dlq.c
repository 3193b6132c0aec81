/* SPDX-License-Identifier: Apache-2.0 */
/* onewrite dlq: what was set aside, and the way back. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/units.h"
#include "base/wait.h"
#include "cmd/dlq_choose.h"
#include "cmd/dlq_consumer.h"
#include "cmd/dlq_show.h"
#include "cmd/places.h"

enum { EXIT_IN_PART = 3, PAYLOAD_BYTES_MAX = 64 << 20 };

struct dlq_options {
    const char *config, *store, *consumer, *payload;
    struct ow_flag_list where, headers;
    bool takes_all, is_dry_run, is_forced, waits;
    int64_t rate, replays_max, timeout_ms;
    int output;
};

enum action { LIST, SHOW, EDIT, REPLAY, DISCARD };
static const char *const actions[] = {
    [LIST] = "list", [SHOW] = "show", [EDIT] = "edit", [REPLAY] = "replay", [DISCARD] = "discard", NULL};

struct dlq {
    const struct dlq_options *options;
    enum action action;
    struct ow_places places;
    char *const *ids;
    size_t id_count;
};

/* --- what is asked for --------------------------------------------------------------------------------- */

static int read_action(const char *text, enum action *ret, struct ow_error *err)
{
    for (int i = 0; actions[i]; i++)
        if (strcmp(text, actions[i]) == 0) {
            *ret = (enum action)i;
            return 0;
        }
    return ow_error_set(err, OW_EUSAGE, "dlq cannot \"%.*s\"; it can list, show, edit, replay and discard",
                        OW_PRINT(ow_bytes_of(text)));
}

static bool is_store(const char *text)
{
    return strncasecmp(text, "sqlite:", 7) == 0 || strncasecmp(text, "postgres:", 9) == 0 ||
           strncasecmp(text, "postgresql:", 11) == 0;
}

/* Of a configuration and one of its consumers: the store that has its letters. */
static int find_letter_store(const struct dlq *d, const char **ret, struct ow_error *err)
{
    const struct ow_config *config = d->places.config;
    for (size_t i = 0; i < config->consumer_count; i++) {
        const struct ow_config_consumer *consumer = &config->consumers[i];
        if (strcmp(consumer->name, d->options->consumer) != 0)
            continue;
        if (!consumer->letter_store)
            return ow_error_set(err, OW_EUSAGE, "consumer %s keeps no dead letters in a store", consumer->name);
        *ret = consumer->letter_store->name;
        return 0;
    }
    return ow_error_set(err, OW_EUSAGE, "%s has no consumer \"%s\"", d->options->config, d->options->consumer);
}

/* --store may name one of the configuration. */
static int keep_stores(struct dlq *d, struct ow_error *err)
{
    const char *wanted = d->options->config ? d->options->store : NULL;
    if (d->places.config && d->options->consumer && !wanted) {
        int r = find_letter_store(d, &wanted, err);
        if (r < 0)
            return r;
    }
    size_t kept = 0;
    for (size_t i = 0; i < d->places.count; i++) {
        const struct ow_place *place = &d->places.items[i];
        bool is_one = place->url->scheme->id == OW_SCHEME_SQLITE || place->url->scheme->id == OW_SCHEME_POSTGRES;
        if (is_one && (!wanted || strcmp(place->name, wanted) == 0))
            d->places.items[kept++] = *place;
    }
    d->places.count = kept;
    if (kept == 0 && wanted)
        return ow_error_set(err, OW_EUSAGE, "%s has no store \"%s\"", d->options->config, wanted);
    if (kept == 0)
        return ow_error_set(err, OW_EUSAGE, "there is no store to look into; a broker has no dead letters of a relay");
    if (kept > 1 && d->action != LIST)
        return ow_error_set(err, OW_EUSAGE, "%s has %zu stores; say which with --store NAME", d->options->config, kept);
    return 0;
}

static int read_store(struct dlq *d, char *const *arguments, size_t count, struct ow_error *err)
{
    const struct dlq_options *o = d->options;
    const char *from = o->config ? o->config : o->store;
    if (count > 0 && is_store(arguments[0])) {
        if (from)
            return ow_error_set(err, OW_EUSAGE, "the store is said twice; leave out %s or %s", arguments[0], from);
        from = arguments[0];
        arguments++;
        count--;
    }
    if (!from)
        return ow_error_set(err, OW_EUSAGE, "which store? Say --store URL or --config FILE; see onewrite dlq --help");
    d->ids = arguments;
    d->id_count = count;
    int r = ow_places_read(from, &d->places, err);
    return r == 0 ? keep_stores(d, err) : r;
}

/* To change something takes words that say what. */
static int check_choice(const struct dlq *d, struct ow_error *err)
{
    const struct dlq_options *o = d->options;
    bool is_said = d->id_count > 0 || o->takes_all || o->where.count > 0;
    if (d->id_count > 0 && (o->takes_all || o->where.count > 0))
        return ow_error_set(err, OW_EUSAGE, "numbers or ids together with %s; say one of them",
                            o->takes_all ? "--all" : "--where");
    if (d->action != LIST && !is_said)
        return ow_error_set(err, OW_EUSAGE, "%s what? Give numbers or ids, --where FIELD=VALUE, or --all",
                            actions[d->action]);
    if (d->action == EDIT && (!o->payload && o->headers.count == 0))
        return ow_error_set(err, OW_EUSAGE, "edit what? Give --payload FILE, or --header NAME=VALUE");
    if (d->action != EDIT && (o->payload || o->headers.count > 0))
        return ow_error_set(err, OW_EUSAGE, "--payload and --header are for edit");
    if (d->action != REPLAY && o->waits)
        return ow_error_set(err, OW_EUSAGE, "--wait is for replay");
    return ow_letters_check_where(&o->where, err);
}

static int choose(const struct dlq *d, struct ow_letters *letters, struct ow_error *err)
{
    if (d->options->consumer)
        ow_letters_keep_consumer(letters, d->options->consumer);
    return d->id_count > 0 ? ow_letters_choose(letters, d->ids, d->id_count, err)
                           : (ow_letters_choose_where(letters, &d->options->where), 0);
}

/* --- looking ------------------------------------------------------------------------------------------- */

static int look_into(const struct dlq *d, const struct ow_place *place, struct ow_letters *letters,
                     struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    int r = ow_letters_open(place->url, false, &store, err);
    if (r == 0)
        r = ow_letters_read(store, false, d->action == SHOW, letters, err);
    return r == 0 ? choose(d, letters, err) : r;
}

static int list(const struct dlq *d, struct ow_error *err)
{
    struct ow_output out;
    int r = 0;
    ow_output_init(&out, d->options->output);
    ow_dlq_list_begin(&out, d->places.config);
    for (size_t i = 0; i < d->places.count && r == 0; i++) {
        OW_CLEANUP(ow_letters_done) struct ow_letters letters = {0};
        r = look_into(d, &d->places.items[i], &letters, err);
        if (r == 0)
            ow_dlq_list(&out, d->places.config ? d->places.items[i].name : NULL, &letters);
    }
    if (r < 0) {
        ow_buf_done(&out.text);
        ow_buf_done(&out.cells);
        return r;
    }
    return ow_output_finish(&out, err);
}

static int show(const struct dlq *d, struct ow_error *err)
{
    OW_CLEANUP(ow_letters_done) struct ow_letters letters = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf text = {0};
    size_t count = 0;
    int r = look_into(d, &d->places.items[0], &letters, err);
    if (r < 0)
        return r;
    ow_dlq_show(&text, d->options->output, &letters, &count);
    ow_dlq_show_end(&text, d->options->output, count);
    r = ow_buf_check(&text, err);
    return r == 0 ? ow_output_write(ow_buf_bytes(&text), err) : r;
}

/* --- putting back -------------------------------------------------------------------------------------- */

static void pause_for(size_t count, int64_t rate)
{
    struct ow_wait wait;
    if (rate <= 0)
        return;
    ow_wait_init(&wait);
    ow_wait_until(&wait, ow_clock_monotonic_ms() + (int64_t)count * 1000 / rate);
    ow_wait_sleep(&wait);
}

struct outcome {
    size_t queued, left;
};

static int replay_groups(const struct dlq *d, struct ow_store *store, struct ow_replay_plan *plan,
                         struct outcome *outcome, struct ow_error *err)
{
    int r = 0;
    for (size_t i = 0; i < plan->group_count && r == 0; i++) {
        const struct ow_replay_group *group = &plan->groups[i];
        size_t queued = group->count;
        if (!d->options->is_dry_run)
            r = ow_letters_replay(store, group->letters, group->count, &queued, err);
        outcome->queued += r == 0 ? queued : 0;
        bool is_relays = !ow_letter_is_of_consumer(group->letters[0]); /* a consumer has a rate of its own */
        if (r == 0 && is_relays && !d->options->is_dry_run && i + 1 < plan->group_count)
            pause_for(queued, d->options->rate);
    }
    return r;
}

static void tell_refused(const struct ow_replay_plan *plan)
{
    for (size_t i = 0; i < plan->refused_count; i++)
        ow_complain("dead letter %lld stays: %s", (long long)plan->refused[i].number, plan->refused[i].why);
}

static int print_plan(const struct dlq *d, const struct ow_letters *letters, struct ow_error *err)
{
    struct ow_output out;
    ow_output_init(&out, d->options->output);
    ow_dlq_list_begin(&out, false);
    ow_dlq_list(&out, NULL, letters);
    return ow_output_finish(&out, err);
}

static int replay_all(const struct dlq *d, struct ow_store *store, struct ow_letters *letters, struct outcome *outcome,
                      struct ow_error *err)
{
    OW_CLEANUP(ow_replay_plan_done) struct ow_replay_plan plan = {0};
    int r = ow_replay_plan_make(letters, d->options->is_forced ? INT64_MAX : d->options->replays_max, &plan, err);
    if (r < 0)
        return r;
    tell_refused(&plan);
    outcome->left = plan.refused_count;
    r = replay_groups(d, store, &plan, outcome, err);
    if (r == 0 && d->options->is_dry_run)
        return print_plan(d, letters, err);
    if (outcome->queued > 0) { /* also before an error: those are on their way */
        struct ow_error ignored = {0};
        int settled = ow_letters_settle(store, r < 0 ? &ignored : err);
        r = r < 0 ? r : settled;
    }
    return r;
}

/* Of letters of consumers: what became of them. */
static int wait_for_outcome(const struct dlq *d, struct ow_store *store, const struct ow_letters *letters,
                            struct outcome *outcome, struct ow_error *err)
{
    size_t left = 0;
    int r = ow_letters_wait(store, letters, d->options->timeout_ms, err);
    if (r == 0)
        ow_complain("some are still on their way; does the consumer run?");
    if (r >= 0)
        r = ow_letters_tell_left(store, letters, &left, err);
    outcome->left += left;
    return r;
}

static int replay(const struct dlq *d, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    OW_CLEANUP(ow_letters_done) struct ow_letters letters = {0};
    struct outcome outcome = {0};
    int r = ow_letters_open(d->places.items[0].url, true, &store, err);
    if (r == 0) /* of an earlier one that was interrupted */
        r = ow_letters_settle(store, err);
    if (r == 0)
        r = ow_letters_read(store, true, false, &letters, err);
    if (r == 0)
        r = choose(d, &letters, err);
    if (r == 0)
        r = replay_all(d, store, &letters, &outcome, err);
    if (r >= 0 || outcome.queued > 0)
        ow_say("%zu %s back%s", outcome.queued, d->options->is_dry_run ? "would be put" : "put",
               outcome.left ? ", some stay" : "");
    if (r >= 0 && d->options->waits && !d->options->is_dry_run)
        r = wait_for_outcome(d, store, &letters, &outcome, err);
    return r < 0 ? r : outcome.left ? EXIT_IN_PART : 0;
}

/* --- changing ------------------------------------------------------------------------------------------ */

static int read_payload(const char *path, struct ow_buf *to, struct ow_error *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ow_error_errno(err, errno, "%s", path);
    ssize_t n = 1;
    ow_buf_add_text(to, ""); /* an empty one is a payload too */
    while (n > 0 && to->size <= PAYLOAD_BYTES_MAX) {
        char *at = ow_buf_reserve(to, 64 << 10);
        n = at ? read(fd, at, 64 << 10) : 0;
        to->size += n > 0 ? (size_t)n : 0;
    }
    int read_errno = errno;
    if (!is_stdin)
        (void)close(fd);
    if (n < 0)
        return ow_error_errno(err, read_errno, "%s", is_stdin ? "standard input" : path);
    if (to->size > PAYLOAD_BYTES_MAX)
        return ow_error_set(err, OW_ETOOBIG, "%s: more than %d bytes", path, PAYLOAD_BYTES_MAX);
    return ow_buf_check(to, err);
}

static int edit(const struct dlq *d, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    OW_CLEANUP(ow_letters_done) struct ow_letters letters = {0};
    OW_CLEANUP(ow_buf_done) struct ow_buf payload = {0};
    const struct ow_letter *chosen = NULL;
    size_t count = 0;
    int r = d->options->payload ? read_payload(d->options->payload, &payload, err) : 0;
    if (r == 0)
        r = ow_letters_open(d->places.items[0].url, true, &store, err);
    if (r == 0)
        r = ow_letters_read(store, true, true, &letters, err);
    if (r == 0)
        r = choose(d, &letters, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < letters.count; i++)
        if (letters.items[i].is_chosen) {
            chosen = &letters.items[i];
            count++;
        }
    if (count != 1)
        return ow_error_set(err, OW_EUSAGE, "edit changes one letter, and these are %zu; give its number", count);
    if (d->options->is_dry_run)
        return print_plan(d, &letters, err);
    r = ow_letter_edit(store, chosen, d->options->payload ? ow_buf_bytes(&payload) : OW_NULL_BYTES,
                       &d->options->headers, err);
    if (r == 0)
        ow_say("dead letter %lld changed; it is dead until it is put back",
               (long long)chosen->columns[OW_LETTER_NUMBER].integer);
    return r;
}

/* --- throwing away ------------------------------------------------------------------------------------- */

static int discard(const struct dlq *d, struct ow_error *err)
{
    OW_CLEANUP(ow_store_cleanup) struct ow_store *store = NULL;
    OW_CLEANUP(ow_letters_done) struct ow_letters letters = {0};
    int r = ow_letters_open(d->places.items[0].url, true, &store, err);
    if (r == 0)
        r = ow_letters_read(store, true, false, &letters, err);
    if (r == 0)
        r = choose(d, &letters, err);
    if (r < 0)
        return r;
    struct ow_letter **chosen = calloc(letters.count + 1, sizeof *chosen);
    size_t count = 0;
    if (!chosen)
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    for (size_t i = 0; i < letters.count; i++)
        if (letters.items[i].is_chosen)
            chosen[count++] = &letters.items[i];
    r = d->options->is_dry_run ? print_plan(d, &letters, err) : ow_letters_discard(store, chosen, count, err);
    free(chosen);
    if (r == 0)
        ow_say("%zu %s", count, d->options->is_dry_run ? "would be discarded" : "discarded");
    return r;
}

/* --- the command --------------------------------------------------------------------------------------- */

static int run(const void *options, char *const *arguments, size_t count, struct ow_error *err)
{
    static int (*const functions[])(const struct dlq *, struct ow_error *) = {
        [LIST] = list, [SHOW] = show, [EDIT] = edit, [REPLAY] = replay, [DISCARD] = discard};
    struct dlq d = {.options = options};
    int r = read_action(arguments[0], &d.action, err);
    if (r == 0)
        r = read_store(&d, arguments + 1, count - 1, err);
    if (r == 0)
        r = check_choice(&d, err);
    if (r == 0)
        r = functions[d.action](&d, err);
    ow_places_done(&d.places);
    return r;
}

static const struct ow_flag options[] = {
    {"store", 's', "URL", OW_FLAG_STRING, NULL, "the store; with --config the name of one of its stores",
     offsetof(struct dlq_options, store), NULL, 0, 0},
    {"config", 'c', "FILE", OW_FLAG_STRING, NULL, "a configuration: list looks into all of its stores",
     offsetof(struct dlq_options, config), NULL, 0, 0},
    {"consumer", 0, "NAME", OW_FLAG_STRING, NULL, "the letters of this consumer alone",
     offsetof(struct dlq_options, consumer), NULL, 0, 0},
    {"all", 'a', NULL, OW_FLAG_BOOL, NULL, "all of them", offsetof(struct dlq_options, takes_all), NULL, 0, 0},
    {"where", 'w', "FIELD=VALUE", OW_FLAG_LIST, NULL,
     "those whose field is that, or with FIELD~TEXT holds that text; more than one must all be so. Fields: state "
     "source "
     "id topic key type aggregatetype aggregateid reason",
     offsetof(struct dlq_options, where), NULL, 0, 0},
    {"dry-run", 'n', NULL, OW_FLAG_BOOL, NULL, "show what would be done and change nothing",
     offsetof(struct dlq_options, is_dry_run), NULL, 0, 0},
    {"rate", 0, "N", OW_FLAG_INTEGER, "100",
     "replay: at most so many a second; 0: as fast as it goes; a consumer has its own",
     offsetof(struct dlq_options, rate), NULL, 0, 1000000},
    {"max-replays", 0, "N", OW_FLAG_INTEGER, "5", "replay: one that was put back so often already stays",
     offsetof(struct dlq_options, replays_max), NULL, 1, 1000000},
    {"force", 0, NULL, OW_FLAG_BOOL, NULL, "replay: put it back however often that was done",
     offsetof(struct dlq_options, is_forced), NULL, 0, 0},
    {"wait", 0, NULL, OW_FLAG_BOOL, NULL, "replay: wait until the consumer has handled them, or set them aside again",
     offsetof(struct dlq_options, waits), NULL, 0, 0},
    {"timeout", 0, "DURATION", OW_FLAG_DURATION, "0", "with --wait, at most so long; 0: for ever",
     offsetof(struct dlq_options, timeout_ms), NULL, 0, 0},
    {"payload", 'f', "FILE", OW_FLAG_STRING, NULL,
     "edit: what this file holds becomes the payload; - is standard input", offsetof(struct dlq_options, payload), NULL,
     0, 0},
    {"header", 'H', "NAME=VALUE", OW_FLAG_LIST, NULL,
     "edit: a header in place of those of that name, or one more; of letters of consumers",
     offsetof(struct dlq_options, headers), NULL, 0, 0},
    OW_FLAG_OUTPUT(struct dlq_options),
    {0},
};

static const struct ow_argument arguments[] = {
    {"ACTION", "list, show, edit, replay or discard", OW_ARGUMENT_TEXT, false},
    {"ID", "the store, if neither option names it; then letters by their numbers or by the ids of their messages",
     OW_ARGUMENT_TEXTS, true},
    {0},
};

static const struct ow_example examples[] = {
    {"onewrite dlq list postgres://localhost/shop", "what was set aside, and why"},
    {"onewrite dlq show --store sqlite:shop.db 3", "everything that is known of number 3, with all its bytes"},
    {"onewrite dlq replay --store sqlite:shop.db --where topic=orders", "puts these back into the outbox"},
    {"onewrite dlq edit --store postgres://localhost/pay 17 --payload fixed.json", "what it was stays in its history"},
    {"onewrite dlq replay --config onewrite.yaml --consumer billing --all --wait", "0: all of them are handled now"},
    {"onewrite dlq discard --config onewrite.yaml --store shop 3 4", "throws two of them away, for good"},
    {0},
};

const struct ow_command ow_command_dlq = {
    .name = "dlq",
    .summary = "show what was set aside, change it, put it back, or throw it away",
    .arguments = arguments,
    .description =
        "A message that a relay could not publish, or a consumer could not handle, for its own sake is a dead letter: "
        "a "
        "row in the store with all its bytes, the reason and the attempts. list and show look at them. discard "
        "deletes. "
        "edit gives one another payload or headers and keeps what it was in its history.\n\n"
        "replay puts a relay's message back into its outbox, with its id, in the transaction that takes the letter "
        "from "
        "the dead ones; the relay publishes it behind what is there already. A consumer's is queued: the consumer, "
        "which "
        "has to run, replays it in the order of its key; --wait waits for that. What is parked behind a dead letter of "
        "its key goes with it, in its order.\n\n"
        "A letter that was put back is \"queued\" until the relay or the consumer has come past it. If it is set aside "
        "again it is the same letter, with its history. After --max-replays it stays, unless forced. What stays is "
        "named, and the status is then 3; it is 4 when there is no letter of a given number or id, and then nothing is "
        "done.",
    .examples = examples,
    .options = options,
    .options_size = sizeof(struct dlq_options),
    .run = run,
};
