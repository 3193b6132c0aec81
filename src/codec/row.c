/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/row.h"

const char ow_row_unchanged[1] = "";
