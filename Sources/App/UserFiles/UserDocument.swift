import Credentials
import Foundation
import PasswordReset
import SQLiteStore
import Text

/// A user as a file has it: the columns of CSV and the members of JSON, under Django's names. What is missing has Django's default.
struct UserDocument: Codable, Equatable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case id, username, email, first_name, last_name, password, is_active, is_staff, is_superuser, last_login, date_joined
  }

  /// What is wrong with a user; for the operator.
  struct Fault: Error, Equatable {
    var reason: String
  }

  var id: Int64?
  var username: String?
  var email: String?
  var first_name: String?
  var last_name: String?
  var password: String?
  var is_active: Bool?
  var is_staff: Bool?
  var is_superuser: Bool?
  var last_login: String?
  var date_joined: String?

  init() {}

  init(_ record: UserRow) {
    id = record.id?.integer
    username = record.username
    email = record.email
    first_name = record.firstName
    last_name = record.lastName
    password = record.password
    is_active = record.isActive
    is_staff = record.isStaff
    is_superuser = record.isSuperuser
    last_login = record.lastLogin.map(DjangoTime.iso)
    date_joined = DjangoTime.iso(record.dateJoined)
  }

  /// The user to be added, checked as Django's model checks it.
  /// - Parameter now: when a user joined of whom it is not said.
  func record(now: Date) throws(Fault) -> UserRow {
    guard let username, !username.isEmpty else { throw Fault(reason: "username is missing") }
    guard let name = Username.normalized(username) else {
      throw Fault(reason: "username may hold letters, digits and @.+-_ alone, and at most 150 of them")
    }
    // Django's AutoField. A greater one would be the last key that SQLite can give out.
    if let id, !(1...Int64(Int32.max)).contains(id) { throw Fault(reason: "id must be from 1 to \(Int32.max)") }
    let email = email ?? ""
    guard email.isEmpty || EmailValidator.accepts(email) && email.unicodeScalars.count <= 254 else {
      throw Fault(reason: "email is not a valid mail address")
    }
    return UserRow(
      id: id.map(UserID.init(_:)), username: name, email: email, firstName: try text("first_name", first_name),
      lastName: try text("last_name", last_name),
      password: try encodedPassword(), isActive: is_active ?? true, isStaff: is_staff ?? false, isSuperuser: is_superuser ?? false,
      lastLogin: try time("last_login", last_login), dateJoined: try time("date_joined", date_joined) ?? SQLiteStore.djangoTime(now))
  }

  private func encodedPassword() throws(Fault) -> String {
    guard let password, !password.isEmpty else { return UnusablePassword.make() }
    // What Django's column holds.
    let fits = password.unicodeScalars.count <= 128 && !password.unicodeScalars.contains("\0")
    guard fits, UnusablePassword.matches(password) || PasswordHashers().recognizes(password) else {
      throw Fault(reason: "password is not a hash of \(PasswordHashers.algorithms.joined(separator: ", ")); leave it empty for a user without one")
    }
    return password
  }

  private func text(_ name: String, _ value: String?) throws(Fault) -> String {
    let text = value ?? ""
    guard text.unicodeScalars.count <= 150, !text.unicodeScalars.contains("\0") else {
      throw Fault(reason: "\(name) has over 150 characters, or a NUL")
    }
    return text
  }

  private func time(_ name: String, _ value: String?) throws(Fault) -> String? {
    guard let value, !value.isEmpty else { return nil }
    guard let time = DjangoTime.stored(value) else { throw Fault(reason: "\(name) is not a time in UTC such as 2026-11-20T22:09:52Z") }
    return time
  }
}

/// Django's user names.
enum Username {
  /// The name in the form in which Django stores it (`AbstractBaseUser.normalize_username`); nil if `UnicodeUsernameValidator` refuses it.
  static func normalized(_ name: String) -> String? {
    let name = name.precomposedStringWithCompatibilityMapping
    let fits =
      (1...150).contains(name.unicodeScalars.count) && name.unicodeScalars.allSatisfy { $0.isPythonWord || ".@+-".unicodeScalars.contains($0) }
    return fits ? name : nil
  }
}

/// The two ways in which Django writes a time in UTC: for SQLite, and for people and programs (ISO 8601).
enum DjangoTime {
  /// `2026-11-20 22:09:52.123456` from `2026-11-20T22:09:52.123456Z`; nil for what is no time in UTC.
  static func stored(_ text: String) -> String? {
    // What does not parse is no time, and neither is what comes back as another one: the parser takes 30 February for 2 March.
    guard let (day, time) = parts(of: text), day.prefix(4) != "0000",
      case let moment = "\(day)T\(time.prefix(8))Z", (try? Date(moment, strategy: .iso8601))?.ISO8601Format() == moment
    else { return nil }
    return "\(day) \(time)"
  }

  /// The other way; what is no time stays as it is.
  static func iso(_ stored: String) -> String { parts(of: stored).map { "\($0)T\($1)Z" } ?? stored }

  /// The day, and the time with its fraction if it has one. By hand, as a regular expression took most of an import's time.
  private static func parts(of text: String) -> (day: Substring, time: Substring)? {
    let zone = ["Z", "+00:00"].first { text.utf8.count > 19 && text.hasSuffix($0) } ?? ""
    let moment = text.utf8.dropLast(zone.utf8.count)
    let shape = moment.map { (0x30...0x39).contains($0) ? UInt8(ascii: "0") : $0 }
    let fraction = shape.dropFirst(19)
    guard shape.starts(with: "0000-00-00 00:00:00".utf8) || shape.starts(with: "0000-00-00T00:00:00".utf8),
      fraction.isEmpty || fraction.first == UInt8(ascii: ".") && (2...7).contains(fraction.count) && fraction.dropFirst().allSatisfy({ $0 == 0x30 })
    else { return nil }
    return (Substring(moment.prefix(10)), Substring(moment.dropFirst(11)))
  }
}
