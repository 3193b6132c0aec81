/* SPDX-License-Identifier: Apache-2.0 */
#include "server/board.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct ow_desk {
    struct ow_board *board;
    struct ow_board_line line;
    atomic_bool is_to_pause;
    int wake_fd;
    struct ow_desk *next;
};

struct ow_board {
    pthread_mutex_t lock;
    struct ow_desk *first;
    struct ow_board_store *stores;
    size_t store_count;
};

static const char *const states[] = {
    [OW_WORK_STARTING] = "starting", [OW_WORK_STANDBY] = "standing_by", [OW_WORK_WORKING] = "working",
    [OW_WORK_PAUSED] = "paused",     [OW_WORK_TROUBLE] = "trouble",     [OW_WORK_STOPPED] = "stopped",
    [OW_WORK_FAILED] = "failed",
};

const char *ow_work_state_name(enum ow_work_state state)
{
    return states[state];
}

const char *ow_breaker_state_name(enum ow_breaker_state state)
{
    return state == OW_BREAKER_CLOSED ? "closed" : state == OW_BREAKER_OPEN ? "open" : "half_open";
}

int64_t ow_place_lag(const struct ow_place_at *place)
{
    int64_t done = place->at.settled >= 0 ? place->at.settled : place->at.next;
    if (place->at.end < 0 || done < 0)
        return -1;
    return place->at.end > done ? place->at.end - done : 0;
}

int64_t ow_board_lag(const struct ow_board_line *line)
{
    int64_t sum = -1;
    for (size_t i = 0; i < line->place_count; i++) {
        int64_t lag = ow_place_lag(&line->places[i]);
        if (lag >= 0)
            sum = (sum < 0 ? 0 : sum) + lag;
    }
    return sum;
}

int64_t ow_board_retained(const struct ow_board_line *line)
{
    return line->backlog.retained_bytes >= 0 ? line->backlog.retained_bytes : line->now.retained_bytes;
}

int64_t ow_board_behind_since(const struct ow_board_line *line)
{
    int64_t since = -1;
    for (size_t i = 0; i < line->place_count; i++) {
        int64_t at = line->places[i].oldest_ms;
        if (at > 0 && (since <= 0 || at < since))
            since = at;
        else if (at == 0 && since < 0)
            since = 0;
    }
    return since;
}

/* --- desks ----------------------------------------------------------------------------------------------- */

static void line_done(struct ow_board_line *line)
{
    free(line->name);
    free(line->from);
    free(line->to);
    free(line->places);
    *line = (struct ow_board_line){0};
}

static bool line_copy(struct ow_board_line *to, const struct ow_board_line *from)
{
    size_t bytes = from->place_count * sizeof *from->places;
    *to = *from;
    to->name = strdup(from->name);
    to->from = strdup(from->from);
    to->to = strdup(from->to);
    to->places = bytes ? malloc(bytes) : NULL;
    if (to->places)
        memcpy(to->places, from->places, bytes);
    return to->name && to->from && to->to && (to->places || !bytes);
}

static void store_done(struct ow_board_store *store)
{
    free(store->name);
    free(store->letters);
    *store = (struct ow_board_store){0};
}

static bool letters_copy(struct ow_board_store *to, const struct ow_letter_count *letters, size_t count)
{
    struct ow_letter_count *room = reallocarray(to->letters, count + 1, sizeof *room);
    if (!room)
        return false;
    to->letters = room;
    to->letter_count = count;
    if (count > 0)
        memcpy(room, letters, count * sizeof *room);
    return true;
}

int ow_board_new(struct ow_board **ret, struct ow_error *err)
{
    struct ow_board *board = calloc(1, sizeof *board);
    if (!board || pthread_mutex_init(&board->lock, NULL) != 0) {
        free(board);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    *ret = board;
    return 0;
}

void ow_board_free(struct ow_board *board)
{
    if (!board)
        return;
    ow_board_forget_stores(board);
    (void)pthread_mutex_destroy(&board->lock);
    free(board);
}

int ow_board_add(struct ow_board *board, enum ow_work_kind kind, const char *name, const char *from, const char *to,
                 int wake_fd, struct ow_desk **ret, struct ow_error *err)
{
    struct ow_desk *desk = calloc(1, sizeof *desk);
    struct ow_board_line line = {.kind = kind,
                                 .name = (char *)name,
                                 .from = (char *)from,
                                 .to = (char *)to,
                                 .now.retained_bytes = -1,
                                 .backlog = {-1, -1, -1, -1},
                                 .letters = -1};
    if (!desk || !line_copy(&desk->line, &line)) {
        if (desk)
            line_done(&desk->line);
        free(desk);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    desk->board = board;
    desk->wake_fd = wake_fd;
    (void)pthread_mutex_lock(&board->lock);
    struct ow_desk **at = &board->first;
    while (*at && (*at)->line.kind <= kind)
        at = &(*at)->next;
    desk->next = *at;
    *at = desk;
    (void)pthread_mutex_unlock(&board->lock);
    *ret = desk;
    return 0;
}

void ow_board_remove(struct ow_desk *desk)
{
    if (!desk)
        return;
    (void)pthread_mutex_lock(&desk->board->lock);
    for (struct ow_desk **at = &desk->board->first; *at; at = &(*at)->next)
        if (*at == desk) {
            *at = desk->next;
            break;
        }
    (void)pthread_mutex_unlock(&desk->board->lock);
    line_done(&desk->line);
    free(desk);
}

void ow_desk_tell(struct ow_desk *desk, const struct ow_snapshot *snapshot)
{
    (void)pthread_mutex_lock(&desk->board->lock);
    desk->line.now = *snapshot;
    (void)pthread_mutex_unlock(&desk->board->lock);
}

void ow_desk_tell_places(struct ow_desk *desk, const struct ow_place_at *places, size_t count)
{
    (void)pthread_mutex_lock(&desk->board->lock);
    struct ow_place_at *room = reallocarray(desk->line.places, count + 1, sizeof *room);
    if (room) {
        desk->line.places = room;
        desk->line.place_count = count;
        if (count > 0)
            memcpy(room, places, count * sizeof *room);
    }
    (void)pthread_mutex_unlock(&desk->board->lock);
}

bool ow_desk_is_to_pause(const struct ow_desk *desk)
{
    return atomic_load(&desk->is_to_pause);
}

/* --- stores --------------------------------------------------------------------------------------------- */

/* With the lock held. */
static struct ow_board_line *line_of(const struct ow_board *board, const char *name)
{
    for (struct ow_desk *desk = board->first; desk; desk = desk->next)
        if (strcmp(desk->line.name, name) == 0)
            return &desk->line;
    return NULL;
}

void ow_board_tell_backlog(struct ow_board *board, const char *relay, const struct ow_backlog *backlog)
{
    (void)pthread_mutex_lock(&board->lock);
    struct ow_board_line *line = line_of(board, relay);
    if (line)
        line->backlog = *backlog;
    (void)pthread_mutex_unlock(&board->lock);
}

void ow_board_tell_letters(struct ow_board *board, const char *pipeline, int64_t open)
{
    (void)pthread_mutex_lock(&board->lock);
    struct ow_board_line *line = line_of(board, pipeline);
    if (line)
        line->letters = open;
    (void)pthread_mutex_unlock(&board->lock);
}

/* With the lock held. NULL: no memory. */
static struct ow_board_store *store_of(struct ow_board *board, const char *name)
{
    for (size_t i = 0; i < board->store_count; i++)
        if (strcmp(board->stores[i].name, name) == 0)
            return &board->stores[i];
    struct ow_board_store *more = reallocarray(board->stores, board->store_count + 1, sizeof *more);
    if (!more)
        return NULL;
    board->stores = more;
    more[board->store_count] = (struct ow_board_store){.name = strdup(name)};
    return more[board->store_count].name ? &more[board->store_count++] : NULL;
}

void ow_board_tell_store(struct ow_board *board, const char *store, bool has_answered,
                         const struct ow_letter_count *letters, size_t letter_count)
{
    (void)pthread_mutex_lock(&board->lock);
    struct ow_board_store *s = store_of(board, store);
    if (s) {
        s->has_answered = has_answered;
        if (letters)
            (void)letters_copy(s, letters, letter_count);
    }
    (void)pthread_mutex_unlock(&board->lock);
}

void ow_board_forget_stores(struct ow_board *board)
{
    (void)pthread_mutex_lock(&board->lock);
    for (size_t i = 0; i < board->store_count; i++)
        store_done(&board->stores[i]);
    free(board->stores);
    board->stores = NULL;
    board->store_count = 0;
    (void)pthread_mutex_unlock(&board->lock);
}

/* --- reading --------------------------------------------------------------------------------------------- */

void ow_board_view_done(struct ow_board_view *view)
{
    for (size_t i = 0; i < view->count; i++)
        line_done(&view->lines[i]);
    for (size_t i = 0; i < view->store_count; i++)
        store_done(&view->stores[i]);
    free(view->lines);
    free(view->stores);
    *view = (struct ow_board_view){0};
}

static bool read_all(const struct ow_board *board, struct ow_board_view *view)
{
    size_t count = 0;
    for (const struct ow_desk *desk = board->first; desk; desk = desk->next)
        count++;
    view->lines = calloc(count + 1, sizeof *view->lines);
    view->stores = calloc(board->store_count + 1, sizeof *view->stores);
    if (!view->lines || !view->stores)
        return false;
    for (const struct ow_desk *desk = board->first; desk; desk = desk->next)
        if (!line_copy(&view->lines[view->count++], &desk->line))
            return false;
    for (size_t i = 0; i < board->store_count; i++) {
        const struct ow_board_store *from = &board->stores[i];
        struct ow_board_store *to = &view->stores[view->store_count++];
        to->name = strdup(from->name);
        to->has_answered = from->has_answered;
        if (!to->name || !letters_copy(to, from->letters, from->letter_count))
            return false;
    }
    return true;
}

int ow_board_read(struct ow_board *board, struct ow_board_view *ret, struct ow_error *err)
{
    struct ow_board_view view = {0};
    (void)pthread_mutex_lock(&board->lock);
    bool is_complete = read_all(board, &view);
    (void)pthread_mutex_unlock(&board->lock);
    if (!is_complete) {
        ow_board_view_done(&view);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    *ret = view;
    return 0;
}

int ow_board_pause(struct ow_board *board, const char *name, bool is_to_pause, struct ow_error *err)
{
    uint64_t one = 1;
    int r = OW_ENOTFOUND;
    (void)pthread_mutex_lock(&board->lock);
    for (struct ow_desk *desk = board->first; desk; desk = desk->next) {
        if (desk->line.kind != OW_WORK_CONSUMER || strcmp(desk->line.name, name) != 0)
            continue;
        atomic_store(&desk->is_to_pause, is_to_pause);
        r = 0;
        if (write(desk->wake_fd, &one, sizeof one) < 0) {
            /* The counter is full: it is awake already. */
        }
    }
    (void)pthread_mutex_unlock(&board->lock);
    return r < 0 ? ow_error_set(err, r, "there is no consumer \"%s\"", name) : 0;
}
