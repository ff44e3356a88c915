import Credentials
import Foundation
import PasswordReset
import Text

/// A user in a file: texts by column. A column without a text is NULL, and gets Django's default.
///
/// The columns of CSV and the members of JSON have Django's names, not those of the users table.
struct UserDocument: Encodable, Equatable {
  /// The reason why a user is refused. The message is for the operator.
  struct Fault: Error, Equatable {
    var reason: String
  }

  var values: [UserColumn: String]

  init(_ values: [UserColumn: String]) { self.values = values }

  /// - Parameter users: the users table. The document has no values for columns that the table lacks.
  init(_ row: UserRow, in users: UserMapping) {
    values = [
      .email: row.email, .firstName: row.firstName, .lastName: row.lastName, .password: row.password,
      .isActive: "\(row.isActive)", .isStaff: "\(row.isStaff)", .isSuperuser: "\(row.isSuperuser)",
    ]
    values[.id] = row.id?.text
    if !row.username.isEmpty { values[.username] = row.username }
    values[.lastLogin] = row.lastLogin.flatMap(DjangoTime.iso)
    values[.dateJoined] = DjangoTime.iso(row.dateJoined) ?? row.dateJoined
    for column in UserColumn.allCases where column != .isActive && users.columns[column] == nil { values[column] = nil }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: UserColumn.self)
    for column in UserColumn.allCases {
      switch column {
      case .id: try container.encodeIfPresent(values[.id].map { UserID($0) }, forKey: .id)
      case .isActive, .isStaff, .isSuperuser: try container.encode(values[column].map { $0 == "true" }, forKey: column)
      default: try container.encode(values[column], forKey: column)
      }
    }
  }

  /// Returns the user to add. Throws ``Fault`` for values that Django's model would refuse, or that the users table cannot
  /// hold.
  /// - Parameters:
  ///   - now: the time of joining, if the file does not contain one.
  ///   - users: the users table.
  ///   - hashers: which hashes the table can have.
  ///   - choosesPassword: whether a user without a hash may choose a password by email.
  func record(now: Date, for users: UserMapping, _ hashers: PasswordHashers, choosesPassword: Bool = false) throws(Fault) -> UserRow {
    var values = values
    if users.hasUsernames, users.columns[.username] == users.columns[.email] {
      values[.username] = values[.username] ?? values[.email]
      values[.email] = values[.email] ?? values[.username]
      guard values[.username] == values[.email] else {
        throw Fault(reason: "username and email must be the same, because the users table has one column for both")
      }
    }
    return try UserDocument(values).checked(now: now, for: users, hashers, choosesPassword: choosesPassword)
  }

  private func checked(now: Date, for users: UserMapping, _ hashers: PasswordHashers, choosesPassword: Bool) throws(Fault) -> UserRow {
    let name = users.hasUsernames ? try self.name(isDjango: users.isDjango) : ""
    if users.nameColumn == .email, values[.email] ?? "" == "" { throw Fault(reason: "email is missing") }
    let email = values[.email] ?? ""
    guard email.isEmpty || EmailValidator.accepts(email) && email.unicodeScalars.count <= 254 else {
      throw Fault(reason: "email is not a valid email address")
    }
    var user = UserRow(
      id: try key(for: users), username: name, email: email, firstName: try text(.firstName), lastName: try text(.lastName),
      password: try storedPassword(hashers, choosesPassword), dateJoined: try time(.dateJoined) ?? DjangoTime.text(of: now))
    if let isActive = try flag(.isActive) { user.isActive = isActive }
    if let isStaff = try flag(.isStaff) { user.isStaff = isStaff }
    if let isSuperuser = try flag(.isSuperuser) { user.isSuperuser = isSuperuser }
    user.lastLogin = try time(.lastLogin)
    guard user.isActive || users.activity.isEmpty || users.assignments(isActive: false) != nil else {
      throw Fault(reason: "the user is inactive, and USERS_COLUMNS does not say how the table marks such users")
    }
    return user
  }

  private func name(isDjango: Bool) throws(Fault) -> String {
    guard let username = values[.username], !username.isEmpty else { throw Fault(reason: "username is missing") }
    if let name = Username.normalized(username) { return name }
    if isDjango { throw Fault(reason: "username must have at most 150 characters, only letters, digits and @.+-_") }
    guard username.utf8.count <= 255, username.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }) else {
      throw Fault(reason: "username must have at most 255 bytes, and no control characters")
    }
    return username
  }

  private func key(for users: UserMapping) throws(Fault) -> UserID? {
    guard let text = values[.id] else {
      if users.needsKey { throw Fault(reason: "id is missing, and the table chooses none") }
      return nil
    }
    guard users.key == .integer else {
      guard let id = users.key.id(text) else { throw Fault(reason: "id must be \(users.key.noun)") }
      return id
    }
    // The range of Django's AutoField; other models may have any key. SQLite could not assign another id after the largest number that it can store.
    let range = users.isDjango ? 1...Int64(Int32.max) : .min...(.max - 1)
    guard let id = Int64(text), range.contains(id) else {
      throw Fault(reason: "id must be a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return UserID(id)
  }

  private func storedPassword(_ hashers: PasswordHashers, _ choosesPassword: Bool) throws(Fault) -> String {
    // Django sends a reset email to a user with an empty password, which no password matches.
    guard let password = values[.password] else { return choosesPassword ? "" : hashers.format.makeUnusable() }
    // Django's column has 128 characters; other frameworks use 255.
    let limit = hashers.format == .django ? 128 : 255
    guard password.unicodeScalars.count <= limit, !password.unicodeScalars.contains("\0"),
      password.isEmpty || UnusablePassword.matches(password) || hashers.recognizes(password) || Self.looksLikeHash(password)
    else {
      let origin = hashers.format == .django ? ", as Django stores it" : ""
      throw Fault(reason: "password must be a hash of at most \(limit) characters\(origin); this looks like a password itself")
    }
    return password
  }

  /// Returns whether an unknown encoding can be a hash, and not a password in clear text. Django loads every text, and
  /// counts it as usable, so that the user can reset it.
  private static func looksLikeHash(_ text: String) -> Bool {
    guard !text.contains(where: \.isWhitespace) else { return false }
    return text.utf8.count >= 32 || text.firstMatch(of: /^(?i:[a-z0-9_]*(?:md5|sha|crypt|argon2|pbkdf2|hash)[a-z0-9_]*)?\$.*\$/) != nil
      || text.firstMatch(of: /^\{[A-Za-z0-9.-]+\}/) != nil
  }

  /// Reads what Django's `BooleanField` and databases write, in any case.
  private func flag(_ column: UserColumn) throws(Fault) -> Bool? {
    switch values[column]?.lowercased() {
    case nil, "": return nil
    case "true", "1", "t": return true
    case "false", "0", "f": return false
    default: throw Fault(reason: "\(column.rawValue) must be true or false")
    }
  }

  private func text(_ column: UserColumn) throws(Fault) -> String {
    let text = values[column] ?? ""
    guard text.unicodeScalars.count <= 150, !text.unicodeScalars.contains("\0") else {
      throw Fault(reason: "\(column.rawValue) has more than 150 characters, or contains NUL")
    }
    return text
  }

  private func time(_ column: UserColumn) throws(Fault) -> String? {
    // `mysql --batch` writes NULL as a word.
    guard let text = values[column], !["", "NULL"].contains(text) else { return nil }
    guard let time = DjangoTime.stored(text) else {
      throw Fault(reason: "\(column.rawValue) must be a time such as 2026-11-20T22:09:52Z or 2026-11-20 22:09:52+02")
    }
    return time
  }
}

extension UserColumn {
  static let list = allCases.map(\.rawValue).joined(separator: ", ")
  /// What Django's dumps and its admin's exports also contain. An import ignores them.
  static let ignored: Set<String> = ["groups", "user_permissions"]

  /// Returns the reason why there is no column of this name, with the one that is probably meant. The name comes from a
  /// file, so only a part of it is shown.
  static func unknown(_ name: String) -> String {
    func letters(_ text: String) -> String { text.lowercased().filter(\.isLetter) }
    let similar = allCases.first { letters($0.rawValue) == letters(name) || letters(name) == "mail" && $0 == .email }
    let shown = "there is no column \(printable(String(name.prefix(40))).debugDescription); "
    return shown + (similar.map { "did you mean \($0.rawValue)?" } ?? "the columns are \(list)")
  }
}
