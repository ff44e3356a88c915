import Credentials
import Foundation

/// The kind of the users' keys. `measure.py --key` chooses it.
enum TestKey: String {
  case integer, uuid, text

  /// The environment variable that names the kind, for this program and the servers that it starts.
  static let variable = "TIMING_KEY"
  static let current = ProcessInfo.processInfo.environment[variable].flatMap(TestKey.init(rawValue:)) ?? .integer

  /// Returns a key: that of a known user, or one between such keys that no user has.
  func id(_ index: Int, isKnown: Bool) -> UserID {
    let number = 1_000_000 + 2 * UInt64(index) + (isKnown ? 0 : 1)
    if self == .integer { return UserID(Int64(number)) }
    // The first half scatters the keys, and the last digits have the number.
    let digits = hexadecimal(number &* 0x9E37_79B9_7F4A_7C15, 16) + hexadecimal(number, 16)
    if self == .text { return UserID("user-\(digits)") }
    return UserID([0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(Array(digits)[$0]) }.joined(separator: "-"))
  }

  /// Returns whether a user has the key.
  func isKnown(_ id: UserID) -> Bool {
    let number = self == .integer ? id.integer.map(UInt64.init) : UInt64(id.text.suffix(6), radix: 16)
    return number?.isMultiple(of: 2) == true
  }

  /// Returns the statement that creates `auth_user` with such a key, or `nil` if a migration creates it.
  func createTable(isPostgreSQL: Bool) -> String? {
    let type: String
    switch self {
    case .integer: return nil
    case .uuid: type = isPostgreSQL ? "uuid" : "char(32)"
    case .text: type = "varchar(64)"
    }
    let (time, flag) = isPostgreSQL ? ("timestamptz", "boolean") : ("datetime", "bool")
    return """
      CREATE TABLE auth_user (
        id \(type) NOT NULL PRIMARY KEY DEFAULT (\(isPostgreSQL ? "gen_random_uuid()" : "lower(hex(randomblob(16)))")),
        password varchar(128) NOT NULL, last_login \(time), is_superuser \(flag) NOT NULL, username varchar(150) NOT NULL UNIQUE,
        first_name varchar(150) NOT NULL, last_name varchar(150) NOT NULL, email varchar(254) NOT NULL, is_staff \(flag) NOT NULL,
        is_active \(flag) NOT NULL, date_joined \(time) NOT NULL
      )
      """
  }

  private func hexadecimal(_ number: UInt64, _ count: Int) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: count - digits.count) + digits
  }
}
