import ArgumentParser
import Credentials
import Foundation
import PasswordReset
import SQLiteStore

struct MigrateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "migrate",
    abstract: "Bring the database's schema up to date.",
    discussion: """
      Makes the database that DATABASE_URL names if there is none. Django's auth_user table is made when absent and gets no more than an index when
      present. `serve` does the same at its start.
      """
  )

  func run() async throws {
    try await Failure.report {
      _ = try openStore()
      print("The database is up to date.")
    }
  }
}

struct UsersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "users", abstract: "Look after the users.", subcommands: [UsersAddCommand.self, UsersListCommand.self])
}

struct UsersAddCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add",
    abstract: "Add a user.",
    discussion: """
      Asks for the password on a terminal. A user without one cannot log in, and gets no reset mail either.

        password-reset users add alice --email alice@example.com
        printf %s "$PASSWORD" | password-reset users add alice --email alice@example.com --password-stdin
      """
  )

  @Argument(help: "The user name, unique.")
  var username: String

  @Option(help: "The address that reset mails go to.")
  var email: String

  @Flag(help: "Read the password from standard input.")
  var passwordStdin = false

  func run() async throws {
    try await Failure.report {
      guard EmailValidator.accepts(email), email.unicodeScalars.count <= 254 else { throw Failure(message: "--email is not a valid mail address") }
      guard (1...150).contains(username.unicodeScalars.count) else { throw Failure(message: "the user name must have 1 to 150 characters") }
      let store = try openStore()
      let encoded = try encode(readPassword())
      guard
        let id = try await store.addUser(username: username.precomposedStringWithCompatibilityMapping, email: email, password: encoded, at: Date())
      else { throw Failure(message: "there is a user of that name already; see `password-reset users list`") }
      print("Added user \(id).")
    }
  }

  private func readPassword() throws -> String? {
    if passwordStdin {
      let data = try FileHandle.standardInput.readToEnd() ?? Data()
      guard let text = String(data: data, encoding: .utf8) else { throw Failure(message: "the password on standard input is not UTF-8") }
      return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }
    guard isatty(STDIN_FILENO) == 1 else { return nil }
    return getpass("Password (empty for none): ").map { String(cString: $0) }
  }

  private func encode(_ password: String?) throws -> String {
    guard let password, !password.isEmpty else { return UnusablePassword.make() }
    let attributes = UserAttributes(username: username, firstName: "", lastName: "", email: email)
    let broken = defaultPasswordValidators().compactMap { $0.validate(password, user: attributes) }
    guard broken.isEmpty else { throw Failure(message: broken.map(\.message).joined(separator: "\n")) }
    return try PBKDF2PasswordHasher().encode(password)
  }
}

struct UsersListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List the users: key, active, user name, address.")

  func run() async throws {
    try await Failure.report {
      let store = try openStore()
      var last: Int64 = 0
      while case let users = try await store.users(after: last, limit: 500), let end = users.last {
        for user in users { print(line(user)) }
        last = end.id
      }
    }
  }

  private func line(_ user: User) -> String {
    let state = user.isActive ? UnusablePassword.matches(user.password) ? "no password" : "active" : "inactive"
    return "\(user.id)\t\(state)\t\(printable(user.username))\t\(printable(user.email))"
  }

  /// A name must not act on the terminal.
  private func printable(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{FFFD}" : $0 }))
  }
}
