import ArgumentParser
import Credentials
import Foundation
import PasswordReset
import SQLiteStore

struct UsersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "users", abstract: "Look after the users.",
    discussion: "Works on the database that DATABASE_URL names, beside a running service if there is one.",
    subcommands: [
      UsersAddCommand.self, UsersListCommand.self, UsersShowCommand.self, UsersSetPasswordCommand.self, UsersCheckPasswordCommand.self,
      UsersActivateCommand.self, UsersDeactivateCommand.self, UsersLinkCommand.self, UsersImportCommand.self, UsersExportCommand.self,
    ])
}

struct UsersListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the users.", discussion: "Exits 1 if there are damaged rows; they are named on standard error.")

  @Flag(help: "Print a JSON object a line, for programs.")
  var json = false

  func run() async throws {
    try await CommandError.report {
      let store = try openStore()
      if !json { print(columns("ID", "STATE", "USERNAME", "EMAIL")) }
      var damaged = 0
      var last: Int64? = .min
      while let after = last {
        let page = try await store.page(after: after, limit: 500)
        for record in page.records { print(json ? try UserSummary(record).json() : line(record)) }
        for id in page.damaged { printError("The row of user \(id) is damaged.") }
        if page.withoutKey > 0 { printError("\(page.withoutKey) rows have an id that is no whole number.") }
        damaged += page.damaged.count + page.withoutKey
        last = page.last
      }
      if damaged > 0 { throw ExitCode.failure }
    }
  }

  private func line(_ record: UserRow) -> String {
    columns(record.id?.text ?? "", UserSummary(record).state, printable(record.username), printable(record.email))
  }

  private func columns(_ id: String, _ state: String, _ username: String, _ email: String) -> String {
    "\(padded(id, 8)) \(padded(state, 12)) \(padded(username, 30)) \(email)"
  }
}

struct UsersShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show what is known of a user, but for the password's hash.")

  @Argument(help: "The user name.")
  var username: String

  @Flag(help: "Print a JSON object, for programs.")
  var json = false

  func run() async throws {
    try await CommandError.report {
      let summary = UserSummary(try await openStore().existing(username))
      print(json ? try summary.json() : summary.text())
    }
  }
}

struct UsersActivateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "activate", abstract: "Let a user log in and reset the password.", discussion: "Links from before work again until they are too old."
  )

  @Argument(help: "The user name.")
  var username: String

  func run() async throws { try await setActive(true, username) }
}

struct UsersDeactivateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "deactivate", abstract: "Keep a user from logging in and from resetting the password.",
    discussion: "Links that are under way become invalid. Nothing is deleted; `users activate` undoes it.")

  @Argument(help: "The user name.")
  var username: String

  func run() async throws { try await setActive(false, username) }
}

private func setActive(_ isActive: Bool, _ username: String) async throws {
  try await CommandError.report {
    let store = try openStore()
    let record = try await store.existing(username)
    guard try await store.setActive(isActive, username: record.username) else { throw CommandError.noUser }
    print("User \(record.id?.text ?? "") is \(isActive ? "active" : "inactive").")
  }
}

/// What commands tell of a user: everything but the password's hash, of which they name the algorithm.
struct UserSummary {
  private static let noPassword = "none"

  private let record: UserRow

  init(_ record: UserRow) { self.record = record }

  /// Whether the user may ask for a mail.
  var state: String { record.isActive ? password == Self.noPassword ? "no password" : "active" : "inactive" }

  private var password: String {
    if record.password.isEmpty || UnusablePassword.matches(record.password) { return Self.noPassword }
    let algorithm = record.password.prefix { $0 != "$" }
    return algorithm.count < record.password.count && algorithm.count <= 20 ? String(algorithm) : "unknown"
  }

  /// As an export has it.
  func json() throws -> String {
    var fields = UserDocument(record)
    fields.password = password
    return String(decoding: try UserFileWriter.json(fields), as: UTF8.self)
  }

  func text() -> String {
    let rows: [(String, String)] = [
      ("id", record.id?.text ?? ""), ("username", record.username), ("email", record.email), ("first name", record.firstName),
      ("last name", record.lastName), ("state", state), ("password", password), ("staff", record.isStaff ? "yes" : "no"),
      ("superuser", record.isSuperuser ? "yes" : "no"), ("last login", record.lastLogin.map(DjangoTime.iso) ?? "never"),
      ("joined", DjangoTime.iso(record.dateJoined)),
    ]
    return rows.map { name, value in name.padding(toLength: 12, withPad: " ", startingAt: 0) + printable(value) }.joined(separator: "\n")
  }
}

extension SQLiteStore {
  /// The user of that name. Throws ``CommandError`` if there is none.
  func existing(_ username: String) async throws -> UserRow {
    guard let record = try await record(username: username.precomposedStringWithCompatibilityMapping) else { throw CommandError.noUser }
    return record
  }
}

extension CommandError {
  /// `EX_NOUSER` of sysexits.h.
  static let noUser = CommandError(message: "there is no user of that name, or its row is damaged; see `password-reset users list`", code: 67)
}

/// `text` with blanks behind it, to fill a column.
func padded(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }

/// A name must not act on the terminal, nor turn its lines about.
func printable(_ text: String) -> String {
  let harmful: Set<Unicode.GeneralCategory> = [.control, .format, .lineSeparator, .paragraphSeparator]
  return String(String.UnicodeScalarView(text.unicodeScalars.map { harmful.contains($0.properties.generalCategory) ? "\u{FFFD}" : $0 }))
}
