/* SPDX-License-Identifier: BSD-3-Clause
 *
 * JSON output: documents through jansson, and items with their bytes in
 * base64 (RFC 4648, section 4).
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "img.h"

/* JSON is UTF-8; texts from a device may be any bytes. */
json_t *
json_text (const char *text)
{
  json_t *json = json_string (text);
  char *copy, *p;

  if (json)
    return json;
  copy = strdup (text);
  if (copy == NULL)
    return NULL;
  for (p = copy; *p; ++p)
    if (*p & 0x80)
      *p = '?';
  json = json_string (copy);
  free (copy);
  return json;
}

int
print_json (const struct common *common, json_t *json)
{
  int r = -1;

  if (json)
    r = json_dumpf (json, stdout, JSON_INDENT (2));
  json_decref (json);
  if (r == -1)
    return fail (common, "cannot write the JSON output");
  putchar ('\n');
  return STATUS_DONE;
}

static char *
put_base64 (char *to, const unsigned char *p, size_t n)
{
  static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  uint32_t v;
  size_t left;

  for (; n > 0; p += left, n -= left) {
    left = n < 3 ? n : 3;
    v = p[0] << 16 | (left > 1 ? p[1] << 8 : 0) | (left > 2 ? p[2] : 0);
    *to++ = digits[v >> 18];
    *to++ = digits[v >> 12 & 63];
    *to++ = left > 1 ? digits[v >> 6 & 63] : '=';
    *to++ = left > 2 ? digits[v & 63] : '=';
  }
  return to;
}

char *
item_to_json (const struct blkring_item *item)
{
  const size_t around = 160; /* the keys and three 64-bit numbers */
  char *line = malloc (around + (item->length / 3 + 1) * 4);
  char *p;

  if (line == NULL)
    return NULL;
  p = line + sprintf (line, "{\"position\": %" PRIu64 ", \"next-position\": %"
                      PRIu64 ", \"length\": %zu, \"data\": \"",
                      item->position, item->next, item->length);
  p = put_base64 (p, item->data, item->length);
  strcpy (p, "\"}\n");
  return line;
}
