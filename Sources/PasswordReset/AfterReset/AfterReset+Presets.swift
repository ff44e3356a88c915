extension AfterReset {
  /// A statement of SQL with the parameters `:user_id`, the user's key, and `:now`, the time of the reset.
  public struct Statement: Sendable, Equatable {
    /// A table that a preset uses, and what its role must be allowed to do there.
    public struct Table: Sendable, Equatable {
      public var name: String
      /// The privileges of PostgreSQL on the table.
      public var privileges: [String]
      /// The columns that the statement reads, for which PostgreSQL has privileges as well.
      public var readColumns: [String]
      /// The sequence of the keys of new rows, as PostgreSQL names it.
      public var sequence: String?

      init(_ name: String, _ privileges: [String] = [], reads readColumns: [String] = [], sequence: String? = nil) {
        (self.name, self.privileges, self.readColumns, self.sequence) = (name, privileges, readColumns, sequence)
      }
    }

    /// The text, in which `{table}` is the name of a table of a preset.
    public var text: String
    /// The tables of a preset's statement.
    public var tables: [Table]
    /// Whether the statement is left out if the database has no such table, because older releases of the package have none.
    public var isOptional: Bool

    init(_ text: String, _ tables: [Table] = [], isOptional: Bool = false) {
      (self.text, self.tables, self.isOptional) = (text, tables, isOptional)
    }

    /// Returns the statement of SQL.
    /// - Parameter name: returns the name of a preset's table as SQL writes it.
    public func sql(_ name: (String) -> String = { $0 }) -> String {
      tables.reduce(text) { $0.replacing("{\($1.name)}", with: name($1.name)) }
    }

    /// Deletes the user's rows.
    fileprivate static func deletion(from table: String, isOptional: Bool = false) -> Self {
      Self("DELETE FROM {\(table)} WHERE user_id = :user_id", [Table(table, ["DELETE"], reads: ["user_id"])], isOptional: isOptional)
    }
  }

  /// The changes for a well-known package. The raw value is the name in `AFTER_RESET`; docs/after-reset.md lists the statements.
  public enum Preset: String, CaseIterable, Sendable {
    /// The tokens of Django REST framework.
    case drfTokens = "drf_tokens"
    /// The refresh tokens of Simple JWT's blacklist app.
    case simpleJWT = "simplejwt"
    /// The tokens of django-rest-knox.
    case knox
    /// Everything that django-oauth-toolkit has given out for the user.
    case oauth2Provider = "oauth2_provider"
    /// The sessions that django-allauth lists, in Django's table of sessions.
    case allauthSessions = "allauth_sessions"
    /// Devise's own reset link.
    case deviseRecoverable = "devise_recoverable"
    /// Devise's "remember me".
    case deviseRememberable = "devise_rememberable"
    /// Laravel's "remember me".
    case laravelRememberToken = "laravel_remember_token"
    /// The sessions in Laravel's database driver.
    case laravelSessions = "laravel_sessions"
    /// The tokens of Laravel Sanctum.
    case laravelTokens = "laravel_tokens"

    /// The columns of the users table that the preset sets.
    public var assignments: [Assignment] {
      switch self {
      case .deviseRecoverable:
        ["reset_password_token", "reset_password_sent_at"].map { Assignment(column: $0, value: .constant(.null)) }
      case .deviseRememberable: [Assignment(column: "remember_created_at", value: .constant(.null))]
      // Laravel's own reset stores as many characters.
      case .laravelRememberToken: [Assignment(column: "remember_token", value: .randomText(60))]
      default: []
      }
    }

    /// The statements on other tables.
    public var statements: [Statement] {
      switch self {
      case .drfTokens: [.deletion(from: "authtoken_token")]
      case .knox: [.deletion(from: "knox_authtoken")]
      case .laravelSessions: [.deletion(from: "sessions")]
      case .simpleJWT: [Self.blacklisting]
      // The foreign keys between these tables are deferred. The order is also right for those that are not, except that an access
      // token may refer to the refresh token that it came from.
      case .oauth2Provider:
        ["refreshtoken", "accesstoken", "idtoken", "grant"].map { .deletion(from: "oauth2_provider_\($0)") }
          + [.deletion(from: "oauth2_provider_devicegrant", isOptional: true)]
      case .allauthSessions: [Self.sessionDeletion, .deletion(from: "usersessions_usersession")]
      case .laravelTokens: [Self.sanctumDeletion]
      case .deviseRecoverable, .deviseRememberable, .laravelRememberToken: []
      }
    }

    /// A token may be blacklisted already, also by another transaction at the same moment.
    private static let blacklisting = Statement(
      """
      INSERT INTO {token_blacklist_blacklistedtoken} (token_id, blacklisted_at) \
      SELECT id, :now FROM {token_blacklist_outstandingtoken} WHERE user_id = :user_id ON CONFLICT DO NOTHING
      """,
      [
        Statement.Table("token_blacklist_blacklistedtoken", ["INSERT"], sequence: "token_blacklist_blacklistedtoken_id_seq"),
        Statement.Table("token_blacklist_outstandingtoken", reads: ["id", "user_id"]),
      ])

    private static let sessionDeletion = Statement(
      "DELETE FROM {django_session} WHERE session_key IN (SELECT session_key FROM {usersessions_usersession} WHERE user_id = :user_id)",
      [
        Statement.Table("django_session", ["DELETE"], reads: ["session_key"]),
        Statement.Table("usersessions_usersession", reads: ["session_key", "user_id"]),
      ])

    private static let sanctumDeletion = Statement(
      #"DELETE FROM {personal_access_tokens} WHERE tokenable_type = 'App\Models\User' AND tokenable_id = :user_id"#,
      [Statement.Table("personal_access_tokens", ["DELETE"], reads: ["tokenable_type", "tokenable_id"])])
  }
}
