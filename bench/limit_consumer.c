/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit of a consumer that keeps many messages in flight, ordered by key: an event loop on librdkafka whose work is
 * a timer, with no handler, retries, breaker or dead letters. Keys are whole numbers as text.
 *
 *     limit_consumer SERVERS TOPIC MESSAGES IN_FLIGHT MAX_US
 *
 * Prints one line: seconds from the first message to the last completion, seconds of CPU, seconds of work in all.
 */
#include <librdkafka/rdkafka.h>
#include <unistd.h>

#include "limit.h"

enum { KEYS = 1 << 20, NONE = -1 };

struct task {
    int next; /* of its key, waiting */
    int key;
    double due_s;
};

static struct task *tasks;
static int first_of[KEYS], last_of[KEYS]; /* by key: what runs, and what waits behind it */
static int *heap, heap_count;
static int *ready, ready_count, ready_taken;

static void sift_up(int place)
{
    int task = heap[place];
    for (; place > 0 && tasks[heap[(place - 1) / 2]].due_s > tasks[task].due_s; place = (place - 1) / 2)
        heap[place] = heap[(place - 1) / 2];
    heap[place] = task;
}

static int pop(void)
{
    int top = heap[0], task = heap[--heap_count], place = 0;
    for (int child; (child = place * 2 + 1) < heap_count; place = child) {
        if (child + 1 < heap_count && tasks[heap[child + 1]].due_s < tasks[heap[child]].due_s)
            child++;
        if (tasks[heap[child]].due_s >= tasks[task].due_s)
            break;
        heap[place] = heap[child];
    }
    heap[place] = task;
    return top;
}

static void arrive(int number, int key)
{
    tasks[number] = (struct task){.next = NONE, .key = key};
    if (first_of[key] == NONE) {
        first_of[key] = number;
        ready[ready_count++] = number;
    } else
        tasks[last_of[key]].next = number;
    last_of[key] = number;
}

static rd_kafka_t *subscribe(const char *servers, const char *topic)
{
    char why[512], group[64];
    (void)snprintf(group, sizeof group, "limit-%ld-%.0f", (long)getpid(), limit_now_s() * 1e6);
    const char *const settings[][2] = {{"bootstrap.servers", servers},
                                       {"group.id", group},
                                       {"auto.offset.reset", "earliest"},
                                       {"enable.auto.offset.store", "false"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why) != RD_KAFKA_CONF_OK)
            limit_end(NULL, why);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!rk)
        limit_end(NULL, why);
    (void)rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    (void)rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    if (rd_kafka_subscribe(rk, topics))
        limit_end(NULL, "subscribe");
    rd_kafka_topic_partition_list_destroy(topics);
    return rk;
}

static void take(rd_kafka_message_t *message, int number)
{
    char key[24] = {0};
    if (message->err || message->key_len >= sizeof key)
        limit_end(NULL, message->err ? rd_kafka_message_errstr(message) : "a key that is no number");
    memcpy(key, message->key, message->key_len);
    arrive(number, atoi(key) % KEYS);
    rd_kafka_message_destroy(message);
}

int main(int argc, char **argv)
{
    if (argc != 6)
        limit_end(NULL, "usage: limit_consumer SERVERS TOPIC MESSAGES IN_FLIGHT MAX_US");
    int total = atoi(argv[3]), in_flight = atoi(argv[4]), read = 0, done = 0, running = 0;
    double max_s = atof(argv[5]) / 1e6, work_s = 0, began_s = 0;
    tasks = calloc((size_t)total, sizeof *tasks);
    heap = calloc((size_t)total, sizeof *heap);
    ready = calloc((size_t)total, sizeof *ready);
    for (int i = 0; i < KEYS; i++)
        first_of[i] = NONE;
    srandom(1);
    rd_kafka_t *rk = subscribe(argv[1], argv[2]);
    while (done < total) {
        double now = limit_now_s(), due = heap_count > 0 ? tasks[heap[0]].due_s - now : 1;
        int wait_ms = read == 0 ? 100 : due > 0.001 ? 1 : 0;
        rd_kafka_message_t *message = read < total ? rd_kafka_consumer_poll(rk, wait_ms) : NULL;
        for (; message; message = read < total ? rd_kafka_consumer_poll(rk, 0) : NULL) {
            began_s = began_s > 0 ? began_s : limit_now_s();
            take(message, read++);
        }
        if (read == total && due > 0.0001 && ready_taken == ready_count) {
            struct timespec nap = {0, (long)((due < 0.9 ? due : 0.9) * 1e9)};
            (void)nanosleep(&nap, NULL);
        }
        now = limit_now_s();
        while (heap_count > 0 && tasks[heap[0]].due_s <= now) {
            const struct task *task = &tasks[pop()];
            done++;
            running--;
            first_of[task->key] = task->next;
            if (task->next != NONE)
                ready[ready_count++] = task->next;
        }
        while (running < in_flight && ready_taken < ready_count) {
            int number = ready[ready_taken++];
            double work = max_s * (double)random() / (double)RAND_MAX;
            work_s += work;
            tasks[number].due_s = limit_now_s() + work;
            heap[heap_count++] = number;
            sift_up(heap_count - 1);
            running++;
        }
    }
    printf("%.6f %.6f %.6f\n", limit_now_s() - began_s, limit_cpu_s(), work_s);
    (void)rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return 0;
}
