/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offsets into a producer's transaction. While the coordinator is away librdkafka (2.0) does not keep to the time that
 * it is given for this, and comes back when the coordinator does. So the call has a thread of its own, and the
 * pipeline's waits for it as for anything else. Who will not wait any longer leaves both behind: the thread, and the
 * producer that it is in, which can be used for nothing more; that is for a process that ends.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/units.h"
#include "broker/kafka.h"

enum { FOR_EVER_MS = 1 << 30, TURN_MS = 500 };

struct call {
    rd_kafka_t *rk;
    rd_kafka_topic_partition_list_t *offsets;
    rd_kafka_consumer_group_metadata_t *group;
    int timeout_ms, done_fd;
    rd_kafka_error_t *error;
};

static void free_call(struct call *call)
{
    if (call->offsets)
        rd_kafka_topic_partition_list_destroy(call->offsets);
    if (call->group)
        rd_kafka_consumer_group_metadata_destroy(call->group);
    if (call->done_fd >= 0)
        (void)close(call->done_fd);
    free(call);
}

static struct call *new_call(rd_kafka_t *rk, const char *group, const char *topic, struct ow_position position,
                             int timeout_ms)
{
    struct call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->rk = rk;
    call->timeout_ms = timeout_ms;
    call->offsets = ow_kafka_position_offsets(topic, position);
    call->group = rd_kafka_consumer_group_metadata_new(group);
    call->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (call->offsets && call->group && call->done_fd >= 0)
        return call;
    free_call(call);
    return NULL;
}

static void *run_call(void *context)
{
    struct call *call = context;
    uint64_t one = 1;
    call->error = rd_kafka_send_offsets_to_transaction(call->rk, call->offsets, call->group, call->timeout_ms);
    if (write(call->done_fd, &one, sizeof one) < 0) {
        /* It cannot be full. */
    }
    return NULL;
}

/* False: the caller will not wait any longer. */
static bool await(const struct ow_kafka_client *client, const struct call *call)
{
    uint64_t rung;
    while (read(call->done_fd, &rung, sizeof rung) < 0) {
        struct ow_wait wait;
        int64_t now = ow_clock_monotonic_ms();
        if (ow_kafka_client_slice(client, now + FOR_EVER_MS, 0) == 0)
            return false;
        ow_wait_init(&wait);
        ow_wait_add(&wait, call->done_fd, POLLIN);
        ow_wait_until(&wait, now + TURN_MS);
        ow_wait_sleep(&wait);
    }
    return true;
}

int ow_kafka_offsets_send(struct ow_kafka_client *client, const char *group, const char *topic,
                          struct ow_position position, int timeout_ms, rd_kafka_error_t **ret, struct ow_error *err)
{
    pthread_t thread;
    struct call *call = new_call(client->rk, group, topic, position, timeout_ms);
    if (!call || pthread_create(&thread, NULL, run_call, call) != 0) {
        if (call)
            free_call(call);
        return ow_error_set(err, OW_ENOMEM, "out of memory");
    }
    if (!await(client, call)) {
        (void)pthread_detach(thread);
        client->is_abandoned = true;
        return ow_error_set(err, OW_EUNREACHABLE, "the coordinator of a transaction is away");
    }
    (void)pthread_join(thread, NULL);
    *ret = call->error;
    free_call(call);
    return 0;
}
