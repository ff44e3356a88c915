import ArgumentParser
import Credentials
import Foundation
import PasswordReset
import SQLiteStore

struct UsersAddCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add",
    abstract: "Add a user.",
    discussion: """
      Asks for the password on a terminal. A user without one cannot log in, and gets no reset mail either; `users link` makes a link for them.

        password-reset users add alice --email alice@example.com
        printf %s "$PASSWORD" | password-reset users add alice --email alice@example.com --password-stdin
      """
  )

  @Argument(help: "The user name, unique: letters, digits and @.+-_, at most 150.")
  var username: String

  @Option(help: "The address that reset mails go to.")
  var email: String

  @Option(help: "The first name.")
  var firstName = ""

  @Option(help: "The last name.")
  var lastName = ""

  @Flag(help: "Read the password from standard input.")
  var passwordStdin = false

  func run() async throws {
    try await CommandError.report {
      let store = try openStore()
      var fields = UserDocument()
      (fields.username, fields.email, fields.first_name, fields.last_name) = (username, normalized(email), firstName, lastName)
      var record = try fields.record(now: Date())
      if let password = try PasswordInput.new(stdin: passwordStdin, isOptional: true) {
        record.password = try PasswordInput.encode(password, for: record)
      }
      switch try await store.add([record]).first {
      case .added(let id): print("Added user \(id).")
      default: throw CommandError(message: "there is a user of that name already; see `password-reset users list`")
      }
    }
  }

  /// Django's `normalize_email`: the domain in lower case.
  private func normalized(_ email: String) -> String {
    guard let at = email.lastIndex(of: "@") else { return email }
    return email[..<at] + email[at...].lowercased()
  }
}

struct UsersSetPasswordCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "set-password",
    abstract: "Set a user's password.",
    discussion: """
      Asks for it on a terminal. The rules for passwords hold here too. Open links and sessions end; the user gets the notice that a reset sends.

        printf %s "$PASSWORD" | password-reset users set-password alice --password-stdin
      """
  )

  @Argument(help: "The user name.")
  var username: String

  @Flag(help: "Read the password from standard input.")
  var passwordStdin = false

  func run() async throws {
    try await CommandError.report {
      let store = try openStore()
      let record = try await store.existing(username)
      guard record.isActive else { throw CommandError(message: "the user is inactive; see `password-reset users activate`") }
      guard let id = record.id, let user = try await store.user(id: id) else { throw CommandError.noUser }
      guard let password = try PasswordInput.new(stdin: passwordStdin, isOptional: false) else { throw PasswordInput.missing }
      let encoded = try PasswordInput.encode(password, for: record)
      let now = Date()
      let notice = NewJob(
        .changedNotice(userID: id, recipient: user.email), locale: nil, requestID: "users set-password", createdAt: now, due: now)
      let change = PasswordChange(
        user: user, newHash: encoded, event: .setByStaff, requestID: "users set-password", jobs: user.email.isEmpty ? [] : [notice])
      guard try await store.setPassword(change, at: now) != nil else {
        throw CommandError(message: "the user was changed at this very moment; nothing was set, try again")
      }
      print("Set the password of user \(id).")
    }
  }
}

struct UsersCheckPasswordCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check-password",
    abstract: "Say whether a password is a user's.",
    discussion: "Asks for it on a terminal. Exits 0 if it is, 1 if it is not, and 67 if there is no such user."
  )

  @Argument(help: "The user name.")
  var username: String

  @Flag(help: "Read the password from standard input.")
  var passwordStdin = false

  func run() async throws {
    try await CommandError.report {
      let record = try await openStore().existing(username)
      guard let password = try PasswordInput.present(stdin: passwordStdin) else { throw PasswordInput.missing }
      guard PasswordHashers().verify(password, encoded: record.password) else { throw CommandError(message: "That is not the password.") }
      print("That is the password.")
    }
  }
}

struct UsersLinkCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "link",
    abstract: "Print a reset link for a user, for support staff to hand on.",
    discussion: """
      Whoever has the link can set the password, once, until PASSWORD_RESET_TIMEOUT has passed: hand it on by a channel that only the user reads.
      That it was made is in the audit. It works for users without a password, too.
      """
  )

  @Argument(help: "The user name.")
  var username: String

  func run() async throws {
    try await CommandError.report {
      let tokens = try TokenSettings(environment: ProcessInfo.processInfo.environment)
      let links = try LinkSettings(environment: ProcessInfo.processInfo.environment)
      let store = try openStore()
      let record = try await store.existing(username)
      guard record.isActive else { throw CommandError(message: "the user is inactive; see `password-reset users activate`") }
      guard let id = record.id, let user = try await store.user(id: id) else { throw CommandError.noUser }
      let now = Date()
      let token = tokens.generator(for: links).makeToken(for: user.tokenSubject, at: now)
      try await store.record(AuditRecord(.linkPrinted, userID: id), requestID: "users link", at: now)
      print(links.resetURL.link(uid: UIDB64.encode(id), token: token))
      printError("It is valid until \(now.addingTimeInterval(TimeInterval(links.timeout)).ISO8601Format()).")
    }
  }
}

/// Passwords that are typed, or piped in.
private enum PasswordInput {
  /// Far above any rule for passwords.
  private static let limit = 1 << 16
  static let missing = CommandError(message: "there is no password; type one on a terminal, or pipe it in with --password-stdin", code: 64)

  /// A new password, typed twice on a terminal. Nil if there is none and that is allowed.
  static func new(stdin: Bool, isOptional: Bool) throws -> String? {
    if stdin {
      guard let password = try piped() else { throw missing }
      return password
    }
    guard let first = try prompt(isOptional ? "Password (empty for none): " : "New password: ") else { return nil }
    guard try prompt("The same again: ")?.utf8.elementsEqual(first.utf8) == true else { throw CommandError(message: "the two passwords differ") }
    return first
  }

  static func present(stdin: Bool) throws -> String? { try stdin ? piped() : try prompt("Password: ") }

  /// The encoding of a new password. Throws ``CommandError`` with the rules that it breaks.
  static func encode(_ password: String, for record: UserRow) throws -> String {
    let policy = try PasswordPolicySettings(environment: ProcessInfo.processInfo.environment).policy()
    let attributes = UserAttributes(username: record.username, firstName: record.firstName, lastName: record.lastName, email: record.email)
    let broken = password.unicodeScalars.contains("\0") ? [.nullCharacters] : policy.errors(in: password, for: attributes)
    guard broken.isEmpty else { throw CommandError(message: broken.map(\.message).joined(separator: "\n")) }
    do {
      return try policy.encode(password, replacing: record.password)
    } catch .refused(let error) {
      throw CommandError(message: error.message)
    } catch {
      throw CommandError(message: "the password cannot be hashed: \(error)")
    }
  }

  /// All of standard input but one line end at its end.
  private static func piped() throws -> String? {
    // A pipe may give it in pieces.
    var data = Data()
    while let more = try FileHandle.standardInput.read(upToCount: limit), !more.isEmpty {
      data += more
      guard data.count <= limit else { throw CommandError(message: "the password on standard input has over \(limit) bytes") }
    }
    guard var text = String(data: data, encoding: .utf8) else { throw CommandError(message: "the password on standard input is not UTF-8") }
    if text.hasSuffix("\r\n") || text.hasSuffix("\n") { text.removeLast() }
    return text.isEmpty ? nil : text
  }

  /// What is typed, without showing it; nil if nothing is, or there is no terminal.
  private static func prompt(_ question: String) throws -> String? {
    guard isatty(STDIN_FILENO) == 1, let typed = getpass(question) else { return nil }
    guard let text = String(validatingCString: typed) else {
      throw CommandError(message: "what was typed is not UTF-8; check the terminal's encoding")
    }
    return text.isEmpty ? nil : text
  }
}
