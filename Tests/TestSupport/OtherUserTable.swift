public import PasswordReset
public import Testing

/// A users table that is not Django's, and on which a store must keep all of its promises.
public struct OtherUserTable: Sendable, CustomTestStringConvertible {
  public let testDescription: String
  /// The statement that creates it in SQLite and in PostgreSQL.
  public let sqlite, postgreSQL: String
  /// The type of its key in SQLite and in PostgreSQL.
  public let sqliteKey, postgreSQLKey: String
  public let users: UserTable

  private static let columns: [UserColumn: UserTable.Column] = [
    .id: .named("Key"), .username: .named("select"), .email: .named("e-mail \"address\""), .firstName: .named("vor'name"), .lastName: .named("größe"),
    .password: .named("pass;word"), .lastLogin: .named("last%s"), .isStaff: .named("is$1"), .isSuperuser: .named("?1"), .dateJoined: .named("date\\"),
  ]

  private static func create(_ name: String, key: String, text: String, flag: String, time: String, activity: String) -> String {
    #"""
    CREATE TABLE \#(name) (
      "pass;word" \#(text), "select" \#(text) NOT NULL UNIQUE, "e-mail ""address""" \#(text), "vor'name" \#(text), "größe" \#(text), "last%s" \#(time),
      "is$1" \#(flag) NOT NULL, "?1" \#(flag) NOT NULL, "date\" \#(time) NOT NULL, \#(activity), "Key" \#(key)
    )
    """#
  }

  /// Tables with a UUID and with a text as key, whose names need quotation marks, and which say in different ways who is active.
  public static let all: [OtherUserTable] = [
    OtherUserTable(
      testDescription: "with a UUID as key, and odd names",
      sqlite: create(
        "\"order\"", key: "char(32) NOT NULL PRIMARY KEY", text: "text", flag: "bool", time: "datetime", activity: "\"Aktiv?\" bool NOT NULL"),
      postgreSQL: create(
        "\"order\"", key: "uuid PRIMARY KEY", text: "text", flag: "boolean", time: "timestamptz", activity: "\"Aktiv?\" boolean NOT NULL"),
      sqliteKey: "char(32)", postgreSQLKey: "uuid",
      users: UserTable(name: "order", columns: columns.merging([.isActive: .named("Aktiv?")]) { $1 })),
    OtherUserTable(
      testDescription: "with a text as key, and two columns for activity",
      sqlite: create(
        "members", key: "text NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(8))))", text: "varchar(255)", flag: "boolean", time: "datetime",
        activity: "deleted_at datetime, banned boolean NOT NULL DEFAULT false"),
      postgreSQL: create(
        "members", key: "varchar(40) NOT NULL UNIQUE DEFAULT md5(random()::text)", text: "varchar(255)", flag: "boolean",
        time: "timestamp without time zone", activity: "deleted_at timestamptz, banned boolean NOT NULL DEFAULT false"),
      sqliteKey: "text", postgreSQLKey: "varchar(40)",
      users: UserTable(
        name: "members",
        columns: columns.merging([
          .isActive: .values([ActiveValues(column: "banned", values: [.boolean(false)]), ActiveValues(column: "deleted_at", values: [.null])])
        ]) { $1 })),
  ]
}
