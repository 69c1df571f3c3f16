/* CSV: what the fast reader takes, the exact one takes with the same numbers; what neither takes, both survive. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "stats/fastcsv.h"

#define COLUMNS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bits of all numbers, nulls and bad cells, folded: the same for both readers. */
struct sum {
  uint64_t rows, numbers, null, bad, texts;
};

static void on_block(void *arg, const struct fastcsv *csv) {
  struct sum *sum = arg;
  sum->rows += csv->rows;
  for (size_t i = 0; i < csv->n_columns; i++) {
    sum->null += csv->columns[i].null * (i + 1);
    sum->bad += csv->columns[i].bad * (i + 1);
    for (uint32_t j = 0; j < csv->columns[i].n_values; j++) {
      uint64_t bits;
      double value = csv->columns[i].values[j];
      memcpy(&bits, &value, sizeof bits);
      sum->numbers = (sum->numbers ^ (value == value ? bits : 1)) * 0x9E3779B97F4A7C15u + i;
    }
  }
}

static void on_text(void *arg, size_t column, struct cell cell) {
  struct sum *sum = arg;
  for (size_t i = 0; i < cell.len; i++) sum->texts = sum->texts * 31 + (unsigned char)cell.text[i];
  sum->texts = sum->texts * 31 + column;
}

static bool on_record(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct fastcsv *csv = arg;
  if (n != csv->n_columns) return err_set(err, ERR_INVALID, "line %llu", (unsigned long long)line);
  fastcsv_take(csv, fields);
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const enum fastcsv_want want[COLUMNS] = {FASTCSV_NUMBERS, FASTCSV_TEXTS, FASTCSV_NUMBERS};
  if (size < 2) return 0;
  size_t columns = 1 + data[0] % COLUMNS, len = size - 1;
  if (data[1] == 0xef) return 0; /* a byte order mark belongs to the header */
  struct sum fast_sum = {0}, exact_sum = {0};
  struct fastcsv fast, exact;
  struct err err;
  fastcsv_init(&fast, want, columns, on_block, on_text, &fast_sum);
  fastcsv_init(&exact, want, columns, on_block, on_text, &exact_sum);
  struct csv_reader *reader = csv_reader_new(on_record, &exact);
  bool fine = csv_reader_feed(reader, (const char *)data + 1, len, &err) && csv_reader_finish(reader, &err);
  csv_reader_free(reader);
  fastcsv_flush(&exact);

  char *memory = mem_alloc(len + 1 + 2 * FASTCSV_PADDING), *text = memory + FASTCSV_PADDING;
  memcpy(text, data + 1, len);
  text[len] = '\n';
  bool read = fastcsv_feed(&fast, text, len + 1);
  mem_free(memory);
  if (read) fastcsv_flush(&fast);
  ORCH_ASSERT(!read || fine);
  ORCH_ASSERT(read || !fine || memchr(data + 1, '"', len));
  ORCH_ASSERT(!read || memcmp(&fast_sum, &exact_sum, sizeof fast_sum) == 0);
  fastcsv_fini(&fast);
  fastcsv_fini(&exact);
  return 0;
}
