/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/row_image.h"

#include "codec/json.h"

enum { NULL_SIZE = UINT32_MAX };

void ow_row_image_add(struct ow_buf *image, struct ow_bytes field)
{
    uint32_t size = field.data ? (uint32_t)field.size : NULL_SIZE;
    ow_buf_add(image, &size, sizeof size);
    if (field.data)
        ow_buf_add_bytes(image, field);
}

static bool take(struct ow_bytes *rest, struct ow_bytes *ret)
{
    uint32_t size;
    if (rest->size < sizeof size)
        return false;
    memcpy(&size, rest->data, sizeof size);
    rest->data += sizeof size;
    rest->size -= sizeof size;
    *ret = OW_NULL_BYTES;
    if (size == NULL_SIZE)
        return true;
    if (rest->size < size)
        return false;
    *ret = (struct ow_bytes){rest->data, size};
    rest->data += size;
    rest->size -= size;
    return true;
}

int ow_row_image_write_json(struct ow_bytes image, struct ow_buf *to, struct ow_error *err)
{
    struct ow_bytes rest = image, first, second;
    if (!take(&rest, &first) || !take(&rest, &second))
        return ow_error_set(err, OW_ECORRUPT, "no image of a row");
    ow_buf_add_text(to, "{\"schema\":");
    ow_json_write_string(to, first);
    ow_buf_add_text(to, ",\"table\":");
    ow_json_write_string(to, second);
    ow_buf_add_text(to, ",\"columns\":[");
    for (const char *comma = ""; rest.size > 0; comma = ",") {
        if (!take(&rest, &first) || !take(&rest, &second))
            return ow_error_set(err, OW_ECORRUPT, "no image of a row");
        ow_buf_printf(to, "%s{\"name\":", comma);
        ow_json_write_string(to, first);
        ow_buf_add_text(to, ",\"value\":");
        ow_json_write_string(to, second);
        ow_buf_add_char(to, '}');
    }
    ow_buf_add_text(to, "]}");
    return ow_buf_check(to, err);
}
