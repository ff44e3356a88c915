import PasswordReset

/// The statements on the outbox.
enum OutboxStatements {
  private static let outbox = "password_reset.outbox"

  // One statement for all jobs of a transaction takes the server half of the time that one for each would take, or less. The
  // inner SELECT hides the length of the arrays. If the server knew it, it would make a new plan each time.

  /// Adds jobs with their audit records.
  static let enqueue = Statement(
    "password_reset_enqueue",
    """
    WITH audit AS (
      INSERT INTO password_reset.audit (at, event, user_id, identifier_key, client_key, request_id)
      VALUES ($6::bigint, $10::text, $11::text, $12::text, $13::text, $5::text)
    )
    INSERT INTO \(outbox) (kind, identifier, user_id, locale, request_id, created_at, due_at, owner, attempts)
    VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, $6::bigint, $7::bigint, $8::text, $9::integer)
    RETURNING id
    """, sharing: .rows(several: enqueueSeveral))

  private static let enqueueSeveral = """
    WITH new AS MATERIALIZED (
      SELECT * FROM unnest(
        (SELECT $1::text[]), $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::integer[], $10::text[],
        $11::text[], $12::text[], $13::text[]
      ) WITH ORDINALITY AS new (
        kind, identifier, user_id, locale, request_id, created_at, due_at, owner, attempts, event, audit_user_id, identifier_key, client_key, position)
    ), audit AS (
      INSERT INTO password_reset.audit (at, event, user_id, identifier_key, client_key, request_id)
      SELECT created_at, event, audit_user_id, identifier_key, client_key, request_id FROM new ORDER BY position
    )
    INSERT INTO \(outbox) (kind, identifier, user_id, locale, request_id, created_at, due_at, owner, attempts)
    SELECT kind, identifier, user_id, locale, request_id, created_at, due_at, owner, attempts FROM new ORDER BY position
    RETURNING id
    """

  /// Skips the jobs that another process is claiming at this moment. With IN instead of the array, the server may read all of the outbox.
  static let claim = StatementsByChannel { channel, condition in
    Statement(
      "password_reset_claim_\(channel)",
      """
      WITH due AS MATERIALIZED (
        SELECT id FROM \(outbox) WHERE dead_lettered_at IS NULL AND \(condition) AND due_at <= $3::bigint
          AND (owner IS DISTINCT FROM $1::text OR due_at <= $5::bigint)
        ORDER BY due_at LIMIT $4::bigint FOR UPDATE SKIP LOCKED
      ), claimed AS (
        UPDATE \(outbox) SET owner = $1::text, due_at = $2::bigint, attempts = least(attempts, 1 << 30) + 1
        WHERE id = ANY (ARRAY(SELECT id FROM due)) RETURNING \(JobColumns.list)
      )
      SELECT \(JobColumns.list) FROM claimed ORDER BY id
      """)
  }

  static let deadLetterDamaged = Statement(
    nil,
    """
    UPDATE \(outbox) SET owner = NULL, dead_lettered_at = $3::bigint, last_error = 'the row is damaged'
    WHERE id = ANY ($1::bigint[]) AND owner = $2::text
    """)

  static let extend = Statement(
    "password_reset_extend",
    """
    UPDATE \(outbox) SET due_at = greatest(due_at, $3::bigint)
    WHERE id = ANY ($1::bigint[]) AND owner = $2::text AND dead_lettered_at IS NULL RETURNING id
    """)

  /// The old creation time returns a job to its position in the queue.
  private static let released = "owner = NULL, due_at = created_at, attempts = greatest(attempts - 1, 0)"

  static let release = Statement(
    "password_reset_release", "UPDATE \(outbox) SET \(released) WHERE id = ANY ($1::bigint[]) AND owner = $2::text")

  static let done = finish("done", "DELETE FROM \(outbox)", addsJobs: false, sharing: .rows(several: severalDone))
  static let doneWithJobs = finish("done_with_jobs", "DELETE FROM \(outbox)")

  /// If a job is among them twice, only one of them deletes it.
  private static let severalDone = """
    WITH job AS MATERIALIZED (
      SELECT * FROM unnest((SELECT $1::bigint[]), $2::text[], $3::boolean[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[])
        WITH ORDINALITY AS job (id, owner, is_sent, at, request_id, event, user_id, identifier_key, position)
    ), ended AS (
      DELETE FROM \(outbox) AS outbox USING job WHERE outbox.id = ANY ((SELECT $1::bigint[])::bigint[]) AND outbox.id = job.id
        AND (outbox.owner = job.owner AND outbox.dead_lettered_at IS NULL OR job.is_sent)
      RETURNING job.*
    ), audit AS (
      INSERT INTO password_reset.audit (at, event, user_id, identifier_key, request_id)
      SELECT at, event, user_id, identifier_key, request_id FROM ended WHERE event IS NOT NULL ORDER BY position
    )
    SELECT (ended.position IS NOT NULL)::integer FROM job LEFT JOIN ended USING (position) ORDER BY position
    """

  static let finishByRelease = finish("finish_by_release", "UPDATE \(outbox) SET \(released)")
  static let retry = finish("retry", "UPDATE \(outbox) SET owner = NULL, due_at = $10::bigint, last_error = $11::text")
  static let deadLetter = finish(
    "dead_letter", "UPDATE \(outbox) SET owner = NULL, dead_lettered_at = $4::bigint, last_error = $10::text")
  static let split = finish(
    "split", "DELETE FROM \(outbox)",
    """
    , jobs AS (
      INSERT INTO \(outbox) (kind, user_id, identifier, locale, request_id, created_at, due_at)
      SELECT 'reset_email', account.id, $13::text, $10::text, $5::text, $11::bigint, $4::bigint
      FROM ended, json_array_elements_text($12::json) WITH ORDINALITY AS account (id, position) ORDER BY position
    )
    """)

  /// Returns a statement that changes a job if its owner still holds it, or if it was sent, and adds the audit record and the jobs that
  /// follow, which are in `$9`.
  private static func finish(
    _ name: String, _ change: String, _ more: String = "", addsJobs: Bool = true, sharing: Statement.Sharing = .none
  ) -> Statement {
    let added = addsJobs ? ", added AS (\(insertJobs(from: "$9", ifAny: "ended")))" : ""
    return Statement(
      "password_reset_\(name)",
      """
      WITH ended AS (
        \(change) WHERE id = $1::bigint AND (owner = $2::text AND dead_lettered_at IS NULL OR $3::boolean) RETURNING id
      ), audit AS (
        INSERT INTO password_reset.audit (at, event, user_id, identifier_key, request_id)
        SELECT $4::bigint, $6::text, $7::text, $8::text, $5::text FROM ended WHERE $6::text IS NOT NULL
      )\(added)\(more)
      SELECT count(*) FROM ended
      """, sharing: sharing)
  }

  static let nextDue = StatementsByChannel { channel, condition in
    Statement(
      "password_reset_next_due_\(channel)",
      "SELECT min(due_at) FROM \(outbox) WHERE dead_lettered_at IS NULL AND \(condition) AND owner IS DISTINCT FROM $1::text")
  }

  static let lastRetry = StatementsByChannel { channel, condition in
    Statement("password_reset_last_retry_\(channel)", "SELECT max(retried_at) FROM \(outbox) WHERE dead_lettered_at IS NULL AND \(condition)")
  }

  /// Selects the jobs whose times a clock that was ahead must have recorded.
  private static func wrongTimes(_ condition: String) -> String {
    """
    SELECT id FROM \(outbox)
    WHERE \(condition) AND (
      created_at > $1::bigint OR retried_at > $1::bigint OR dead_lettered_at > $1::bigint OR dead_lettered_at IS NULL AND CASE
        WHEN owner IS NULL THEN due_at > $1::bigint + least($4::bigint, $3::bigint * (1::bigint << least(greatest(attempts, 1) - 1, 20)))
        ELSE due_at > $2::bigint END)
    """
  }

  static let hasWrongTimes = StatementsByChannel { channel, condition in
    Statement("password_reset_has_wrong_times_\(channel)", "SELECT EXISTS (\(wrongTimes(condition)))")
  }

  static let correctTimes = StatementsByChannel { _, condition in
    Statement(
      nil,
      """
      UPDATE \(outbox) SET
        created_at = least(created_at, $5::bigint), retried_at = CASE WHEN retried_at > $5::bigint THEN $5::bigint ELSE retried_at END,
        dead_lettered_at = CASE WHEN dead_lettered_at > $1::bigint THEN NULL ELSE dead_lettered_at END,
        due_at = least(due_at, CASE WHEN owner IS NULL THEN $5::bigint ELSE $6::bigint END)
      WHERE id IN (\(wrongTimes(condition)))
      """)
  }

  /// Returns a statement that adds jobs from JSON in the order in which they are there, if `source` has a row.
  static func insertJobs(from json: String, ifAny source: String) -> String {
    """
    INSERT INTO \(outbox) (kind, identifier, user_id, locale, request_id, created_at, due_at, owner, attempts)
    SELECT kind, identifier, user_id, locale, request_id, created_at, due_at, owner, attempts
    FROM \(source), ROWS FROM (json_to_recordset(\(json)::json) AS (
      kind text, identifier text, user_id text, locale text, request_id text, created_at bigint, due_at bigint, owner text, attempts integer
    )) WITH ORDINALITY AS job (kind, identifier, user_id, locale, request_id, created_at, due_at, owner, attempts, position)
    ORDER BY position
    """
  }
}

/// A statement for each channel.
struct StatementsByChannel: Sendable {
  private let email, webhook: Statement

  /// - Parameter make: returns the statement, given the channel and the condition that selects its jobs. The indexes contain the same condition.
  init(_ make: (JobChannel, String) -> Statement) {
    email = make(.email, "kind <> '\(JobKind.webhookKind)'")
    webhook = make(.webhook, "kind = '\(JobKind.webhookKind)'")
  }

  subscript(channel: JobChannel) -> Statement {
    switch channel {
    case .email: email
    case .webhook: webhook
    }
  }
}
