public import Credentials
public import PasswordReset

extension PostgresStore: PasswordHistoryStore {
  private static let formerPasswords = Statement(
    "password_reset_former_passwords",
    "SELECT password FROM password_reset.password_history WHERE user_id = $1::text ORDER BY id DESC LIMIT $2::bigint")

  public func formerPasswords(of id: UserID, limit: Int) async throws(StoreError) -> [String] {
    try await readByKey(Command(Self.formerPasswords, id.text, limit)).map { $0.text(0) }.compactMap(\.self)
  }

  public func usersWithFormerPasswords(after id: UserID?, limit: Int) async throws(StoreError) -> [UserID] {
    let sql = """
      SELECT DISTINCT user_id FROM password_reset.password_history WHERE $1::text IS NULL OR user_id > $1 ORDER BY user_id LIMIT $2::bigint
      """
    return try await read(Command(Statement(nil, sql), id?.text, limit)).map { $0.text(0) }.compactMap { $0.map(UserID.init(_:)) }
  }

  public func deleteFormerPasswords(of id: UserID) async throws(StoreError) {
    _ = try await write(Command(Statement(nil, "DELETE FROM password_reset.password_history WHERE user_id = $1::text"), id.text))
  }

  /// The parts of the statement that sets a password which add the replaced one to the former ones and delete those that are too
  /// old. They refer to `changed` and to the parameters of that statement.
  /// - Parameter limit: The parameter with the number of former passwords to keep.
  static func keepFormerPassword(limit: String) -> String {
    // Both parts see the table as it was before the statement, so the new row is not among those that are counted.
    """
    , outdated AS (
      DELETE FROM password_reset.password_history WHERE EXISTS (SELECT 1 FROM changed) AND id IN (
        SELECT id FROM password_reset.password_history WHERE user_id = $8::text ORDER BY id DESC OFFSET \(limit)::bigint - 1
      )
    ), former AS (
      INSERT INTO password_reset.password_history (user_id, password, at) SELECT $8::text, $3::text, $6::bigint FROM changed
    )
    """
  }
}
