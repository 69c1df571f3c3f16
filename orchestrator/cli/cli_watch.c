/* --watch: the same view drawn again and again, on a terminal or into a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"

#define WATCH_PAUSE_MS 1000

static void pause_ms(int64_t ms) {
  struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
  nanosleep(&pause, NULL);
}

struct cli_screen cli_screen(const struct cli *cli) {
  struct winsize size;
  if (!cli->terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
    return (struct cli_screen){.columns = 1 << 16, .rows = 1 << 16};
  return (struct cli_screen){.columns = size.ws_col, .rows = size.ws_row};
}

/* How many lines of the screen a line takes, which the terminal breaks where it is too long. */
static int rows_of(const char *line, size_t len, int columns) {
  int width = 0;
  for (size_t i = 0; i < len; i++) {
    if (line[i] == '\033') { /* colours: ESC [ … letter */
      while (i < len && !(line[i] >= 'A' && line[i] <= 'z' && line[i] != '[')) i++;
      continue;
    }
    width += ((unsigned char)line[i] & 0xc0) != 0x80;
  }
  return width <= columns ? 1 : (width + columns - 1) / columns;
}

/* What fits: longer text would scroll its beginning away, again at every draw. */
static void print_top(const char *text, struct cli_screen screen) {
  const char *at = text, *cut = text; /* `cut`: where the line that tells of the rest would still fit */
  int used = 0;
  while (*at != '\0') {
    size_t len = strcspn(at, "\n");
    used += rows_of(at, len, screen.columns);
    if (used > screen.rows - 1) break; /* the cursor stands below the last line */
    at += len + (at[len] == '\n');
    if (used <= screen.rows - 2) cut = at;
  }
  if (*at == '\0') {
    cli_printf("%s", text);
    return;
  }
  size_t more = 0;
  for (const char *c = cut; *c != '\0'; c++) more += *c == '\n';
  cli_printf("%.*s... %zu more line%s\n", (int)(cut - text), text, more, more == 1 ? "" : "s");
}

/* One draw on the terminal, in one write: no flicker. */
static bool draw_screen(struct cli *cli, bool (*draw)(struct cli *cli, void *arg, bool *ret_done, struct err *err),
                        void *arg, bool *ret_done, struct err *err) {
  FILE *terminal = stdout;
  char *text = NULL;
  size_t len = 0;
  FILE *memory = open_memstream(&text, &len);
  if (memory == NULL) return err_set(err, ERR_IO, "out of memory");
  stdout = memory;
  bool fine = draw(cli, arg, ret_done, err);
  stdout = terminal;
  bool whole = fclose(memory) == 0;
  if (whole && text != NULL) {
    cli_printf("\033[H\033[J");
    if (*ret_done || !fine)
      cli_printf("%s", text);
    else
      print_top(text, cli_screen(cli));
  }
  free(text);
  return fine;
}

bool cli_watch(struct cli *cli, int64_t timeout_ms,
               bool (*draw)(struct cli *cli, void *arg, bool *ret_done, struct err *err), void *arg, struct err *err) {
  int64_t end_us = clock_mono_us() + timeout_ms * 1000;
  static char buffer[1 << 16];
  if (cli->terminal) setvbuf(stdout, buffer, _IOFBF, sizeof buffer); /* one write a draw: no flicker */
  for (bool done = false, drawn = false; !done;) {
    struct arena kept = cli->arena; /* what one draw allocates is freed with it */
    arena_init(&cli->arena, (size_t)64 << 20);
    *err = (struct err){0};
    bool fine = cli->terminal ? draw_screen(cli, draw, arg, &done, err) : draw(cli, arg, &done, err);
    arena_fini(&cli->arena);
    cli->arena = kept;
    if (!fine && (err->code != ERR_DB_DOWN || !drawn)) return false;
    if (!fine) cli_printf("orch: the database is unreachable, trying again\n");
    drawn = true;
    if (fflush(stdout) != 0) return err_set(err, ERR_IO, "the output could not be written");
    if (done) break;
    if (timeout_ms > 0 && clock_mono_us() >= end_us) {
      return err_set(err, ERR_TIMEOUT, "still not finished when the time was up");
    }
    pause_ms(WATCH_PAUSE_MS);
  }
  return true;
}
