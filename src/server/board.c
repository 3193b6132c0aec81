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
    (void)pthread_mutex_destroy(&board->lock);
    free(board);
}

int ow_board_add(struct ow_board *board, enum ow_work_kind kind, const char *name, const char *from, const char *to,
                 int wake_fd, struct ow_desk **ret, struct ow_error *err)
{
    struct ow_desk *desk = calloc(1, sizeof *desk);
    struct ow_board_line line = {.kind = kind, .name = (char *)name, .from = (char *)from, .to = (char *)to};
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

/* --- reading --------------------------------------------------------------------------------------------- */

void ow_board_view_done(struct ow_board_view *view)
{
    for (size_t i = 0; i < view->count; i++)
        line_done(&view->lines[i]);
    free(view->lines);
    *view = (struct ow_board_view){0};
}

static bool read_all(const struct ow_board *board, struct ow_board_view *view)
{
    size_t count = 0;
    for (const struct ow_desk *desk = board->first; desk; desk = desk->next)
        count++;
    view->lines = calloc(count + 1, sizeof *view->lines);
    if (!view->lines)
        return false;
    for (const struct ow_desk *desk = board->first; desk; desk = desk->next)
        if (!line_copy(&view->lines[view->count++], &desk->line))
            return false;
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
