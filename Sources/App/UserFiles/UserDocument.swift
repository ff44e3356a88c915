import Credentials
import Foundation
import PasswordReset
import Text

/// A user in a file. The columns of CSV and the members of JSON have Django's names; missing ones get Django's defaults.
struct UserDocument: Codable, Equatable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case id, username, email, firstName = "first_name", lastName = "last_name", password, isActive = "is_active", isStaff = "is_staff"
    case isSuperuser = "is_superuser", lastLogin = "last_login", dateJoined = "date_joined"
  }

  /// The reason why a user is refused. The message is for the operator.
  struct Fault: Error, Equatable {
    var reason: String
  }

  var id: Int64?
  var username, email, firstName, lastName, password: String?
  var isActive, isStaff, isSuperuser: Bool?
  var lastLogin, dateJoined: String?

  init() {}

  init(_ row: UserRow) {
    (id, username, email, firstName, lastName) = (row.id?.integer, row.username, row.email, row.firstName, row.lastName)
    (password, isActive, isStaff, isSuperuser) = (row.password, row.isActive, row.isStaff, row.isSuperuser)
    (lastLogin, dateJoined) = (row.lastLogin.map(DjangoTime.iso), DjangoTime.iso(row.dateJoined))
  }

  /// - Parameter values: the values of a CSV record that are not empty.
  init(_ values: [CodingKeys: String]) throws(Fault) {
    func flag(_ column: CodingKeys) throws(Fault) -> Bool? {
      switch values[column]?.lowercased() {
      case nil: return nil
      case "true", "1", "t": return true
      case "false", "0", "f": return false
      default: throw Fault(reason: "\(column.rawValue) must be true or false")
      }
    }
    id = values[.id].flatMap(Int64.init)
    if id == nil, values[.id] != nil { throw Fault(reason: "id is not a number") }
    (username, email, firstName, lastName) = (values[.username], values[.email], values[.firstName], values[.lastName])
    (password, lastLogin, dateJoined) = (values[.password], values[.lastLogin], values[.dateJoined])
    (isActive, isStaff, isSuperuser) = (try flag(.isActive), try flag(.isStaff), try flag(.isSuperuser))
  }

  /// Returns the user to add. Throws ``Fault`` for values that Django's model would refuse.
  /// - Parameter now: the time of joining, if the file does not contain one.
  func record(now: Date) throws(Fault) -> UserRow {
    guard let username, !username.isEmpty else { throw Fault(reason: "username is missing") }
    guard let name = Username.normalized(username) else {
      throw Fault(reason: "username must have at most 150 characters, only letters, digits and @.+-_")
    }
    // The range of Django's AutoField. SQLite could not assign another id after the largest number that it can store.
    if let id, !(1...Int64(Int32.max)).contains(id) { throw Fault(reason: "id must be from 1 to \(Int32.max)") }
    let email = email ?? ""
    guard email.isEmpty || EmailValidator.accepts(email) && email.unicodeScalars.count <= 254 else {
      throw Fault(reason: "email is not a valid email address")
    }
    return UserRow(
      id: id.map(UserID.init(_:)), username: name, email: email, firstName: try text("first_name", firstName),
      lastName: try text("last_name", lastName),
      password: try encodedPassword(), isActive: isActive ?? true, isStaff: isStaff ?? false, isSuperuser: isSuperuser ?? false,
      lastLogin: try time("last_login", lastLogin), dateJoined: try time("date_joined", dateJoined) ?? DjangoTime.text(of: now))
  }

  private func encodedPassword() throws(Fault) -> String {
    guard let password, !password.isEmpty else { return UnusablePassword.make() }
    // Django's column has 128 characters.
    let fits = password.unicodeScalars.count <= 128 && !password.unicodeScalars.contains("\0")
    guard fits, UnusablePassword.matches(password) || PasswordHashers().recognizes(password) else {
      let algorithms = PasswordHashers.algorithms.joined(separator: ", ")
      throw Fault(reason: "password is not a supported hash (\(algorithms)); leave it empty for a user without a password")
    }
    return password
  }

  private func text(_ name: String, _ value: String?) throws(Fault) -> String {
    let text = value ?? ""
    guard text.unicodeScalars.count <= 150, !text.unicodeScalars.contains("\0") else {
      throw Fault(reason: "\(name) has more than 150 characters, or contains NUL")
    }
    return text
  }

  private func time(_ name: String, _ value: String?) throws(Fault) -> String? {
    guard let value, !value.isEmpty else { return nil }
    guard let time = DjangoTime.stored(value) else { throw Fault(reason: "\(name) must be a time in UTC such as 2026-11-20T22:09:52Z") }
    return time
  }
}
