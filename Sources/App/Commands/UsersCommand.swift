import ArgumentParser
import Credentials
import Foundation
import PasswordReset

struct UsersCommand: CommandGroup {
  static let configuration = CommandConfiguration(
    commandName: "users", abstract: "Manage the users.",
    discussion: """
      Works on the database that DATABASE_URL names. The service may be running. A command for one user takes the user name, the email address or \
      the id. A user name that matches exactly comes first. An address that several users have is refused with a list of them.
      """,
    subcommands: [
      UsersAddCommand.self, UsersListCommand.self, UsersShowCommand.self, UsersSetPasswordCommand.self, UsersCheckPasswordCommand.self,
      UsersActivateCommand.self, UsersDeactivateCommand.self, UsersLinkCommand.self, UsersCancelLinksCommand.self, UsersImportCommand.self,
      UsersExportCommand.self,
    ])
}

struct UsersListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the users.", discussion: "Reports damaged rows on standard error, and then exits with 1.")

  @Option(help: ArgumentHelp("List only users whose user name, address or name contains this text.", valueName: "text"))
  var search: String?

  @Flag(help: "Print one JSON object per line.")
  var json = false

  func run() async throws {
    try await CommandError.withExitCodes {
      let hashers = try PasswordHasherSettings(environment: ProcessInfo.processInfo.environment).hashers
      let store = try openStore()
      let table = Table(8, 12, 30)
      let selection = search.map(UserSelection.containing) ?? .all
      if !json { print(table.row("ID", "STATE", "USERNAME", "EMAIL")) }
      var damaged = 0
      var last: UserID?
      repeat {
        let page = try await store.userPage(selection, after: last, limit: 500)
        for record in page.rows {
          let summary = UserSummary(record, store.userMapping, hashers.format)
          print(json ? try summary.json() : table.row(record.id?.text ?? "", summary.state, record.username, record.email))
        }
        for id in page.damaged { printError("The row of user \(id) is damaged: Django cannot read it.") }
        if page.withoutKey > 0 { printError("Not shown: \(counted(page.withoutKey, "row")) whose key is not \(store.userMapping.key.noun).") }
        damaged += page.damaged.count + page.withoutKey
        last = page.last
      } while last != nil
      if damaged > 0 { throw ExitCode.failure }
    }
  }
}

struct UsersShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show a user, without the password hash.")

  @Argument(help: "The user name, email address or id.")
  var user: String

  @Flag(help: "Print a JSON object.")
  var json = false

  func run() async throws {
    try await CommandError.withExitCodes {
      let hashers = try PasswordHasherSettings(environment: ProcessInfo.processInfo.environment).hashers
      let store = try openStore()
      let summary = UserSummary(try await store.existing(user), store.userMapping, hashers.format)
      print(json ? try summary.json() : summary.text)
    }
  }
}

struct UsersActivateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "activate", abstract: "Allow a user to sign in and to reset the password.",
    discussion: "Earlier reset links work again until they expire.")

  @Argument(help: "The user name, email address or id.")
  var user: String

  func run() async throws { try await setActive(true, user) }
}

struct UsersDeactivateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "deactivate", abstract: "Prevent a user from signing in and from resetting the password.",
    discussion: """
      Reset links stop working, and what AFTER_RESET names ends in the same transaction. `users activate` undoes only the former.
      """)

  @Argument(help: "The user name, email address or id.")
  var user: String

  func run() async throws { try await setActive(false, user) }
}

private func setActive(_ isActive: Bool, _ user: String) async throws {
  try await CommandError.withExitCodes {
    let store = try openStore()
    let users = store.userMapping
    guard let id = try await store.existing(user).id else { throw CommandError.noUser }
    guard !users.activity.isEmpty else {
      throw CommandError(message: "The table \(users.table) has no column is_active, so every user may sign in. Set one in USERS_COLUMNS.")
    }
    guard let changes = users.assignments(isActive: isActive) else {
      throw CommandError(message: "USERS_COLUMNS does not say which value makes a user inactive. Use the site's own tools.")
    }
    let isFound = try await store.recordingFailure(of: "users deactivate", id) { () throws(StoreError) in
      try await store.update(id, changes, runsAfterReset: !isActive)
    }
    guard isFound else { throw CommandError.noUser }
    print("User \(id) is \(isActive ? "active" : "inactive").")
  }
}

/// A user as the commands show it: with the algorithm of the password hash instead of the hash.
struct UserSummary {
  private static let noPassword = "none"

  private let record: UserRow
  private let users: UserMapping
  private let format: PasswordFormat

  init(_ record: UserRow, _ users: UserMapping, _ format: PasswordFormat) { (self.record, self.users, self.format) = (record, users, format) }

  /// Says whether the user can reset the password.
  var state: String { record.isActive ? password == Self.noPassword ? "no password" : "active" : "inactive" }

  private var password: String {
    if format.isUnusable(record.password) { return Self.noPassword }
    // Django sends an email to a user whose password is empty, although no password matches.
    if record.password.isEmpty { return "empty" }
    return format.algorithm(of: record.password) ?? "unknown"
  }

  /// A JSON object with the members of an export.
  func json() throws -> String {
    var document = UserDocument(record, in: users)
    document.values[.password] = password
    return try Output.jsonLine(document)
  }

  var text: String {
    let lines: [(UserColumn, String, String)] = [
      (.id, "id", record.id?.text ?? ""), (.username, "username", record.username), (.email, "email", record.email),
      (.firstName, "first name", record.firstName), (.lastName, "last name", record.lastName), (.id, "state", state),
      (.password, "password", password), (.isStaff, "staff", record.isStaff ? "yes" : "no"),
      (.isSuperuser, "superuser", record.isSuperuser ? "yes" : "no"),
      (.lastLogin, "last login", record.lastLogin.flatMap(DjangoTime.iso) ?? "never"),
      (.dateJoined, "joined", DjangoTime.iso(record.dateJoined) ?? "unknown"),
    ]
    return Output.list(lines.filter { users.columns[$0.0] != nil }.map { ($0.1, $0.2) })
  }
}

extension UserDirectory {
  /// Returns the user with this user name, otherwise the one with this address, otherwise the one with this key. Throws
  /// ``CommandError`` if there is none, or if several have the address.
  func existing(_ text: String) async throws -> UserRow {
    for selection in [UserSelection.username(text.precomposedStringWithCompatibilityMapping), .email(text), .id(UserID(text))] where !text.isEmpty {
      let page = try await userPage(selection, after: nil, limit: CommandError.listed + 1)
      if let id = page.damaged.first { throw CommandError(message: "The row of user \(id) is damaged: Django cannot read it.") }
      if page.rows.count > 1 { throw CommandError.ambiguous(page.rows) }
      if let row = page.rows.first { return row }
    }
    throw CommandError.noUser
  }
}

extension CommandError {
  /// The number of users that an error lists.
  fileprivate static let listed = 20

  /// `EX_NOUSER` of sysexits.h.
  static let noUser = CommandError(
    message: "There is no user with this name, address or id. `password-reset users list --search TEXT` finds users.", code: 67)

  fileprivate static func ambiguous(_ rows: [UserRow]) -> CommandError {
    let users = rows.prefix(listed).map { "  \($0.id?.text ?? "") \(printable($0.username))" } + (rows.count > listed ? ["  …"] : [])
    return CommandError(
      message:
        "Several users have this address. Name one of them by \(rows[0].username.isEmpty ? "id" : "user name or id"):\n\(users.joined(separator: "\n"))",
      code: usage)
  }
}
