public import PasswordReset

extension PostgresStore: ClientLimitStore {
  /// Where the quotas of the clients are. A crash of the server empties the table, which is harmless and spares the server's log.
  static let clientLimitTable = """
    CREATE UNLOGGED TABLE password_reset.client_limit (
      client text,
      kind text,
      -- For each limit, when the quota is full again, in seconds since 1970.
      full_at double precision[] NOT NULL,
      -- Whether the last request was allowed.
      is_allowed boolean NOT NULL,
      PRIMARY KEY (client, kind)
    )
    """

  /// Counts a request as ``LimitDecision/charge(_:_:at:)`` does, in one statement, so that no two instances count from the same state.
  ///
  /// It reads the clock when it has the row, because a statement that waited for the row would count with an earlier time than
  /// the one before it. If the clock was set back, no quota is empty for longer than its limit says. If the limits were changed, new ones begin full.
  private static let charge = Statement(
    "password_reset_charge",
    """
    INSERT INTO password_reset.client_limit AS last (client, kind, full_at, is_allowed)
    VALUES ($1::text, $2::text, ARRAY(SELECT extract(epoch FROM clock_timestamp()) + i FROM unnest($3::float8[]) AS i), true)
    ON CONFLICT (client, kind) DO UPDATE SET (full_at, is_allowed) = (
      SELECT CASE WHEN every(after - seconds <= clock + 1e-6) THEN array_agg(after ORDER BY n) ELSE array_agg(before ORDER BY n) END,
        every(after - seconds <= clock + 1e-6)
      FROM (
        SELECT n, clock, seconds, before, before + step AS after
        FROM unnest(last.full_at, $3::float8[], $4::float8[]) WITH ORDINALITY AS one (full_at, step, seconds, n),
          CAST(extract(epoch FROM clock_timestamp()) AS float8) AS clock,
          LATERAL (SELECT greatest(least(coalesce(full_at, clock), clock + seconds), clock) AS before) AS bounded
        WHERE step IS NOT NULL
      ) AS quota
    )
    RETURNING array_to_json(full_at), is_allowed, CAST(extract(epoch FROM clock_timestamp()) AS float8)
    """)

  /// Deletes quotas that are full.
  private static let purgeClients = Statement(
    nil,
    """
    DELETE FROM password_reset.client_limit WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM password_reset.client_limit WHERE extract(epoch FROM now()) > ALL (full_at) LIMIT 10000))
      AND \(isOnlyPurge(of: "client_limit"))
    """)

  /// Of how many requests one deletes quotas that are full.
  private static let requestsPerPurge = 1000

  public func charge(_ client: String, in group: String, _ limits: [RateLimit]) async throws(StoreError) -> LimitDecision {
    // If it fails, a later request does it.
    if Int.random(in: 0..<Self.requestsPerPurge) == 0 { Task { try await purgeClients() } }
    // It needs no commit of the writer's: nothing is lost with it that must not be lost.
    let row = try await count(
      Command(Self.charge, client, group, Self.array(limits.map(\.interval)), Self.array(limits.map { Double($0.seconds) }))
    )
    .first
    guard let row, let full = row.text(0).flatMap(Self.numbers), full.count == limits.count, let now = row.text(2).flatMap(Double.init) else {
      throw .unavailable(reason: "the server did not count a request")
    }
    let waits = zip(limits, full).map { limit, full in full + limit.interval - Double(limit.seconds) - now }
    return LimitDecision(full, limits, wait: row.isTrue(1) ? nil : waits.max(), at: now)
  }

  func purgeClients() async throws(StoreError) { _ = try await count(Command(Self.purgeClients)) }

  private static func array(_ numbers: [Double]) -> String { "{\(numbers.map { "\($0)" }.joined(separator: ","))}" }

  private static func numbers(_ json: String) -> [Double]? {
    let numbers = json.dropFirst().dropLast().split(separator: ",").map { Double($0) }
    return numbers.contains(nil) ? nil : numbers.compactMap(\.self)
  }
}
