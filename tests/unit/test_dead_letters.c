/* SPDX-License-Identifier: Apache-2.0 */
/* What dead letters are made and found with: keys in memory, images of rows, and the order in which letters go back. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "cmd/dlq_choose.h"
#include "codec/row_image.h"
#include "core/keyset.h"

/* --- keys ---------------------------------------------------------------------------------------------- */

static void keys_are_found_and_forgotten(void **state)
{
    (void)state;
    struct ow_keyset set = {0};
    assert_false(ow_keyset_has(&set, OW_BYTES("a")));
    ow_keyset_remove(&set, OW_BYTES("a"));
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 1000; i++) {
            char text[16];
            (void)snprintf(text, sizeof text, "key %d", i);
            assert_int_equal(ow_keyset_add(&set, ow_bytes_of(text), NULL), 0);
        }
    assert_int_equal(ow_keyset_add(&set, OW_BYTES(""), NULL), 0);
    assert_int_equal(ow_keyset_add(&set, (struct ow_bytes){"\0a", 2}, NULL), 0);
    assert_int_equal(set.count, 1002);
    assert_true(ow_keyset_has(&set, OW_BYTES("key 999")) && ow_keyset_has(&set, OW_BYTES("")));
    assert_false(ow_keyset_has(&set, (struct ow_bytes){"\0b", 2}) || ow_keyset_has(&set, OW_BYTES("key 1000")));
    ow_keyset_remove(&set, OW_BYTES("key 500"));
    assert_false(ow_keyset_has(&set, OW_BYTES("key 500")));
    assert_int_equal(set.count, 1001);
    ow_keyset_done(&set);
    assert_false(ow_keyset_has(&set, OW_BYTES("key 1")));
}

/* --- rows ---------------------------------------------------------------------------------------------- */

static void an_image_holds_its_row(void **state)
{
    (void)state;
    struct ow_buf image = {0}, json = {0};
    struct ow_error err = {0};
    const struct ow_bytes fields[] = {OW_BYTES("public"), OW_BYTES("t \"x\""), OW_BYTES("a"), OW_BYTES("1\n"),
                                      OW_BYTES("b"),      OW_NULL_BYTES,       OW_BYTES("c"), OW_BYTES("")};
    for (size_t i = 0; i < OW_COUNT_OF(fields); i++)
        ow_row_image_add(&image, fields[i]);
    assert_int_equal(ow_row_image_write_json(ow_buf_bytes(&image), &json, &err), 0);
    assert_string_equal(json.data,
                        "{\"schema\":\"public\",\"table\":\"t \\\"x\\\"\",\"columns\":[{\"name\":\"a\",\"value\":"
                        "\"1\\n\"},{\"name\":\"b\",\"value\":null},{\"name\":\"c\",\"value\":\"\"}]}");
    for (size_t size = 0; size < image.size; size++) { /* cut short: whole fields, or an error */
        ow_buf_clear(&json);
        int r = ow_row_image_write_json((struct ow_bytes){image.data, size}, &json, &err);
        assert_true(r == 0 || r == OW_ECORRUPT);
    }
    ow_buf_done(&image);
    ow_buf_done(&json);
}

/* --- the way back -------------------------------------------------------------------------------------- */

enum { LETTERS_MAX = 16 };
static struct ow_letter items[LETTERS_MAX];
static struct ow_letters letters;

/* "dk" a dead one of key k, "p" parked, "q" queued, "o" of no outbox; capital: chosen. '-': no key. */
static void have(const char *text)
{
    static const struct {
        char letter;
        const char *state, *origin;
    } kinds[] = {{'d', "dead", "outbox"}, {'p', "parked", "outbox"}, {'q', "queued", "outbox"}, {'o', "dead", "other"}};
    memset(items, 0, sizeof items);
    letters = (struct ow_letters){.items = items};
    for (; *text; text += 2) {
        struct ow_letter *letter = &items[letters.count++];
        char small = (char)(*text | 0x20);
        for (size_t i = 0; i < OW_COUNT_OF(kinds); i++)
            if (kinds[i].letter == small) {
                letter->columns[OW_LETTER_STATE] = ow_value_text(ow_bytes_of(kinds[i].state));
                letter->columns[OW_LETTER_ORIGIN] = ow_value_text(ow_bytes_of(kinds[i].origin));
            }
        letter->is_chosen = *text != small;
        letter->columns[OW_LETTER_NUMBER] = ow_value_integer((int64_t)letters.count);
        letter->columns[OW_LETTER_REPLAYS] = ow_value_integer(0);
        letter->columns[OW_LETTER_SOURCE] = ow_value_text(OW_BYTES("polling"));
        if (text[1] != '-')
            letter->columns[OW_LETTER_KEY] = ow_value_blob((struct ow_bytes){text + 1, 1});
    }
}

/* "1 2+3 4": the groups in their order; behind a slash what is refused. */
static void assert_plan(const char *given, const char *expected)
{
    struct ow_replay_plan plan = {0};
    struct ow_buf text = {0};
    have(given);
    assert_int_equal(ow_replay_plan_make(&letters, 5, &plan, NULL), 0);
    for (size_t i = 0; i < plan.group_count; i++)
        for (size_t k = 0; k < plan.groups[i].count; k++)
            ow_buf_printf(&text, "%s%d",
                          k   ? "+"
                          : i ? " "
                              : "",
                          (int)plan.groups[i].letters[k]->columns[OW_LETTER_NUMBER].integer);
    for (size_t i = 0; i < plan.refused_count; i++)
        ow_buf_printf(&text, "/%d", (int)plan.refused[i].number);
    assert_string_equal(text.data ? text.data : "", expected);
    ow_buf_done(&text);
    ow_replay_plan_done(&plan);
}

static void letters_go_back_in_the_order_of_their_key(void **state)
{
    (void)state;
    assert_plan("", "");
    assert_plan("dada", "");
    assert_plan("DbDaDbDa", "1+3 2+4");
    assert_plan("D-D-d-", "1 2");
    assert_plan("Dapbpapa", "1+3+4"); /* what is parked behind it goes along */
    assert_plan("dapaPa", "/3");      /* a parked one does not go alone */
    assert_plan("dadapaDb", "4");     /* nothing of another key */
    assert_plan("Dadapa", "1");       /* parked behind the second, which stays */
    assert_plan("DaPaoapa", "1+2");   /* likewise */
    assert_plan("DaOaPa", "1/2/3");   /* what cannot go holds back what is behind it */
    assert_plan("QaDa", "2/1");       /* queued: it has gone */
    assert_plan("PaPb", "1 2");       /* what they were parked for was discarded */
}

static void it_stays_after_so_many_times(void **state)
{
    (void)state;
    struct ow_replay_plan plan = {0};
    have("DaPa");
    items[0].columns[OW_LETTER_REPLAYS] = ow_value_integer(5);
    assert_int_equal(ow_replay_plan_make(&letters, 5, &plan, NULL), 0);
    assert_int_equal(plan.group_count, 0);
    assert_int_equal(plan.refused_count, 2);
    assert_text_has(plan.refused[0].why, "put back 5 times");
    assert_text_has(plan.refused[1].why, "behind number 1");
    ow_replay_plan_done(&plan);
}

static void conditions(void **state)
{
    (void)state;
    const char *good[] = {"state=dead", "key=a", "reason~", "key~a"};
    struct ow_flag_list list = {good, 2};
    struct ow_error err = {0};
    have("dadbpa");
    assert_int_equal(ow_letters_check_where(&list, &err), 0);
    ow_letters_choose_where(&letters, &list);
    assert_true(items[0].is_chosen && !items[1].is_chosen && !items[2].is_chosen);
    list = (struct ow_flag_list){good + 3, 1};
    ow_letters_choose_where(&letters, &list);
    assert_true(items[0].is_chosen && !items[1].is_chosen && items[2].is_chosen);
    list = (struct ow_flag_list){good + 2, 1}; /* none has a reason here */
    ow_letters_choose_where(&letters, &list);
    assert_false(items[0].is_chosen);
    for (const char *const *bad = (const char *const[]){"state", "colour=red", "=", "", NULL}; *bad; bad++) {
        const char *one = *bad;
        assert_int_equal(ow_letters_check_where(&(struct ow_flag_list){&one, 1}, &err), OW_EUSAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_and_forgotten),
        cmocka_unit_test(an_image_holds_its_row),
        cmocka_unit_test(letters_go_back_in_the_order_of_their_key),
        cmocka_unit_test(it_stays_after_so_many_times),
        cmocka_unit_test(conditions),
    };
    return cmocka_run_group_tests_name("dead_letters", tests, NULL, NULL);
}
