/* Measures how fast SQLite can write the rows of reset requests, with BATCH requests per commit.

     storage DATABASE BATCH SECONDS

   It prints the requests per second. The statements are those of Sources/SQLiteStore. */
#define _POSIX_C_SOURCE 200809L
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static sqlite3 *database;

static void check(int status, int expected) {
  if (status == expected) return;
  fprintf(stderr, "storage: %s\n", sqlite3_errmsg(database));
  exit(1);
}

static void execute(const char *sql) { check(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK); }

static sqlite3_stmt *prepare(const char *sql) {
  sqlite3_stmt *statement;
  check(sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), SQLITE_OK);
  return statement;
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text) {
  check(sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC), SQLITE_OK);
}

static void run(sqlite3_stmt *statement) {
  check(sqlite3_step(statement), SQLITE_DONE);
  check(sqlite3_reset(statement), SQLITE_OK);
}

static double now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Uses the service's settings of a connection. */
static void set_up(const char *path) {
  check(sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
  execute("PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  execute("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF");
}

static void write_request(sqlite3_stmt *outbox, sqlite3_stmt *audit, unsigned long number) {
  char identifier[64], request_id[33], key[33];
  sqlite3_int64 at = (sqlite3_int64)(now(CLOCK_REALTIME) * 1000);
  snprintf(identifier, sizeof identifier, "user%lu@example.com", number);
  snprintf(request_id, sizeof request_id, "%016lx%016lx", number * 0x9e3779b97f4a7c15ul, ~number);
  snprintf(key, sizeof key, "%016lx%016lx", number * 0xbf58476d1ce4e5b9ul, number);

  bind_text(outbox, 1, "request_email");
  bind_text(outbox, 2, identifier);
  bind_text(outbox, 3, "en");
  bind_text(outbox, 4, request_id);
  sqlite3_bind_int64(outbox, 5, at);
  sqlite3_bind_int64(outbox, 6, at + 15);
  run(outbox);

  sqlite3_bind_int64(audit, 1, at);
  bind_text(audit, 2, "requested");
  sqlite3_bind_null(audit, 3);
  bind_text(audit, 4, key);
  bind_text(audit, 5, request_id);
  run(audit);
}

int main(int count, char **arguments) {
  if (count != 4) {
    fprintf(stderr, "usage: storage DATABASE BATCH SECONDS\n");
    return 64;
  }
  unsigned long batch = strtoul(arguments[2], NULL, 10), written = 0;
  double seconds = strtod(arguments[3], NULL);
  set_up(arguments[1]);
  sqlite3_stmt *begin = prepare("BEGIN IMMEDIATE TRANSACTION"), *commit = prepare("COMMIT TRANSACTION");
  sqlite3_stmt *outbox = prepare(
      "INSERT INTO password_reset_outbox (kind, identifier, locale, request_id, created_at, due_at) VALUES (?, ?, ?, ?, ?, ?)");
  sqlite3_stmt *audit =
      prepare("INSERT INTO password_reset_audit (at, event, user_id, identifier_key, request_id) VALUES (?, ?, ?, ?, ?)");

  double start = now(CLOCK_MONOTONIC), elapsed;
  do {
    run(begin);
    for (unsigned long index = 0; index < batch; index++) write_request(outbox, audit, written++);
    run(commit);
    elapsed = now(CLOCK_MONOTONIC) - start;
  } while (elapsed < seconds);
  printf("%.1f\n", (double)written / elapsed);

  sqlite3_finalize(begin);
  sqlite3_finalize(commit);
  sqlite3_finalize(outbox);
  sqlite3_finalize(audit);
  check(sqlite3_close(database), SQLITE_OK);
  return 0;
}
