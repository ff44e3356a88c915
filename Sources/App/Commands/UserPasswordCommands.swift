import ArgumentParser
import Credentials
import Foundation
import Logging
import PasswordReset
import Prometheus

struct UsersAddCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add",
    abstract: "Add a user.",
    discussion: """
      Prompts for the password. A user without a password cannot sign in and receives no reset email, but `users link` can create a link for \
      such a user.

        password-reset users add alice --email alice@example.com
        printf %s "$PASSWORD" | password-reset users add alice --email alice@example.com --password-stdin
      """
  )

  @Argument(help: "The user name, unless the users table has none. It must be unique and have at most 150 letters, digits and @.+-_ characters.")
  var username: String?

  @Option(help: "The address for reset emails.")
  var email: String

  @Option(help: "The first name.")
  var firstName = ""

  @Option(help: "The last name.")
  var lastName = ""

  @Flag(help: "Read the password from standard input.")
  var passwordStdin = false

  func run() async throws {
    try await CommandError.withExitCodes {
      let hashers = try PasswordHasherSettings(environment: ProcessInfo.processInfo.environment).hashers
      let store = try openStore()
      let users = store.userMapping
      try users.checkThatRowsCanBeAdded()
      var document = UserDocument([.email: normalized(email), .firstName: firstName, .lastName: lastName])
      document.values[.username] = try name(for: users)
      var record = try document.record(now: Date(), for: users, hashers)
      if let password = try PasswordInput.new(stdin: passwordStdin, isOptional: true) {
        record.password = try await PasswordInput.encode(password, for: record, by: PasswordInput.policy())
      }
      switch try await store.add([record]).first {
      case .added(let id): print("Added user \(id).")
      default:
        throw CommandError(
          message: "A user with this \(users.hasUsernames ? "name" : "address") exists already. `password-reset users list` shows all users.")
      }
    }
  }

  /// Returns the user name. In many sites, the address is the name.
  private func name(for users: UserMapping) throws(CommandError) -> String? {
    let isAddress = users.columns[.username] == users.columns[.email]
    switch username {
    case nil where isAddress: return normalized(email)
    case nil where users.hasUsernames: throw CommandError(message: "Add the user name: users add NAME --email ADDRESS.", code: CommandError.usage)
    case let name? where !users.hasUsernames || isAddress && name != normalized(email):
      throw CommandError(
        message: "The table \(users.table) has no user names other than the addresses. Leave out \(printable(name)).", code: CommandError.usage)
    default: return username
    }
  }

  /// Puts the domain into lower case, like Django's `normalize_email`.
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
      Prompts for the password, which must follow the password rules. Reset links stop working, sessions end, what AFTER_RESET \
      names ends in the same transaction, and the user receives the same notice as after a reset.

        printf %s "$PASSWORD" | password-reset users set-password alice --password-stdin
      """
  )

  @Argument(help: "The user name, email address or id.")
  var user: String

  @Flag(help: "Read the password from standard input.")
  var passwordStdin = false

  func run() async throws {
    try await CommandError.withExitCodes {
      let events = try WebhookSettings(environment: ProcessInfo.processInfo.environment).events
      let store = try openStore()
      var record = try await store.existing(user)
      guard record.isActive else { throw CommandError(message: "The user is inactive. `password-reset users activate` changes that.") }
      guard let id = record.id, let account = try await store.user(id: id) else { throw CommandError.noUser }
      // Compare the new password with the one that it replaces.
      record.password = account.password
      guard let password = try PasswordInput.new(stdin: passwordStdin, isOptional: false) else { throw PasswordInput.missing }
      let policy = try PasswordInput.policy()
      let former = policy.formerPasswordCount > 0 ? try await store.formerPasswords(of: id, limit: policy.formerPasswordCount) : []
      let encoded = try await PasswordInput.encode(password, for: record, former: former, by: policy)
      let now = Date()
      let notice = NewJob(
        .changedNotice(userID: id, recipient: account.email), locale: nil, requestID: "users set-password", createdAt: now, due: now)
      var jobs = account.email.isEmpty ? [] : [notice]
      if events.contains(.completed) { jobs.append(WebhookEvent.completed.makeJob(userID: id, requestID: "users set-password", at: now)) }
      var change = PasswordChange(user: account, newHash: encoded, event: .setByStaff, requestID: "users set-password", jobs: jobs)
      change.formerPasswordsToKeep = policy.formerPasswordsToKeep(replacing: account.password)
      let added = try await store.recordingFailure(of: change.requestID, id) { [change] () throws(StoreError) in
        try await store.setPassword(change, at: now)
      }
      guard added != nil else {
        throw CommandError(message: "The user was changed at the same time, so the password was not set. Try again.")
      }
      print("Set the password of user \(id).")
    }
  }
}

struct UsersCheckPasswordCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check-password",
    abstract: "Check a user's password.",
    discussion: "Prompts for the password. Exits with 0 if it is correct, 1 if it is wrong, and 67 if there is no such user."
  )

  @Argument(help: "The user name, email address or id.")
  var user: String

  @Flag(help: "Read the password from standard input.")
  var passwordStdin = false

  func run() async throws {
    try await CommandError.withExitCodes {
      let hashers = try PasswordHasherSettings(environment: ProcessInfo.processInfo.environment).hashers
      let record = try await openStore().existing(user)
      guard let password = try PasswordInput.present(stdin: passwordStdin) else { throw PasswordInput.missing }
      guard hashers.verify(password, encoded: record.password) else { throw CommandError(message: "The password is wrong.") }
      print("The password is correct.")
    }
  }
}

struct UsersLinkCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "link",
    abstract: "Create a reset link that support staff can send to a user.",
    discussion: """
      Anyone who has the link can set the password, once, until PASSWORD_RESET_TIMEOUT has passed: send it through a channel that only the user can \
      read. The audit trail records that the link was created. This also works for users without a password.
      """
  )

  @Argument(help: "The user name, email address or id.")
  var user: String

  func run() async throws {
    try await CommandError.withExitCodes {
      let tokens = try TokenSettings(environment: ProcessInfo.processInfo.environment)
      let links = try LinkSettings(environment: ProcessInfo.processInfo.environment)
      let events = try WebhookSettings(environment: ProcessInfo.processInfo.environment).events
      let store = try openStore()
      let record = try await store.existing(user)
      guard record.isActive else { throw CommandError(message: "The user is inactive. `password-reset users activate` changes that.") }
      guard let id = record.id, let account = try await store.user(id: id) else { throw CommandError.noUser }
      let now = Date()
      let generator = tokens.generator(for: links)
      let token = generator.makeToken(for: account.tokenSubject, at: now)
      let audit = AuditRecord(.linkPrinted, userID: id)
      if events.contains(.linkPrinted) {
        _ = try await store.enqueue(WebhookEvent.linkPrinted.makeJob(userID: id, requestID: "users link", at: now), audit: audit)
      } else {
        try await store.append([AuditLine(audit, requestID: "users link", at: now)])
      }
      print(links.resetURL.link(uid: store.linkFormat.encode(id), token: token))
      printError(
        "The link is valid until \(now.addingTimeInterval(TimeInterval(generator.lifetime(ofTokenFor: account.tokenSubject, madeAt: now))).ISO8601Format())."
      )
    }
  }
}

struct UsersCancelLinksCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cancel-links",
    abstract: "Cancel all reset links of a user.",
    discussion: """
      Reset links that were made until now stop working in this service, those of `users link` included: use it if someone else may have a link. \
      The password and the sessions stay as they are. The user can ask for a new link at once. A Django site that checks links itself still accepts \
      them: set a new password to end them there as well. The audit trail records the cancellation.
      """
  )

  @Argument(help: "The user name, email address or id.")
  var user: String

  func run() async throws {
    try await CommandError.withExitCodes {
      let tokens = try TokenSettings(environment: ProcessInfo.processInfo.environment)
      let links = try LinkSettings(environment: ProcessInfo.processInfo.environment)
      let store = try openStore()
      guard let id = try await store.existing(user).id else { throw CommandError.noUser }
      let now = Date()
      let through = tokens.generator(for: links).lastTokenTime(until: now)
      var cancellation = LinkCancellation(userID: id, through: through, requestID: "users cancel-links")
      let events = try WebhookSettings(environment: ProcessInfo.processInfo.environment).events
      if events.contains(.cancelled) { cancellation.jobs = [WebhookEvent.cancelled.makeJob(userID: id, requestID: "users cancel-links", at: now)] }
      _ = try await store.cancelLinks(cancellation, at: now)
      print("Cancelled the reset links of user \(id).")
    }
  }
}

/// Reads passwords from the terminal or from standard input.
private enum PasswordInput {
  /// Bytes; far more than the password rules allow.
  private static let limit = 1 << 16
  static let missing = CommandError(
    message: "There is no password. Type it on a terminal, or pass it on standard input with --password-stdin.", code: CommandError.usage)

  /// Returns a new password, which must be typed twice on a terminal. Returns `nil` if there is none.
  static func new(stdin: Bool, isOptional: Bool) throws -> String? {
    if stdin {
      guard let password = try piped() else { throw missing }
      return password
    }
    guard let first = try prompt(isOptional ? "Password (empty for none): " : "New password: ") else { return nil }
    guard try prompt("Repeat the password: ")?.utf8.elementsEqual(first.utf8) == true else {
      throw CommandError(message: "The two passwords differ. Nothing was changed.")
    }
    return first
  }

  static func present(stdin: Bool) throws -> String? { try stdin ? piped() : try prompt("Password: ") }

  /// Returns the configured rules for passwords.
  static func policy() throws -> PasswordPolicy {
    let logger = Logger(label: "password-reset") { StreamLogHandler.standardError(label: $0) }
    return try PasswordPolicySettings(environment: ProcessInfo.processInfo.environment).policy(registry: Registry(), logger: logger)
  }

  /// Returns the hash of a new password. Throws ``CommandError`` with the rules that the password breaks.
  /// - Parameter former: The user's former passwords as the store returns them.
  static func encode(_ password: String, for record: UserRow, former: [String] = [], by policy: PasswordPolicy) async throws -> String {
    let attributes = UserAttributes(username: record.username, firstName: record.firstName, lastName: record.lastName, email: record.email)
    let broken = password.unicodeScalars.contains("\0") ? [.nullCharacters] : await policy.errors(in: password, for: attributes)
    guard broken.isEmpty else { throw CommandError(message: broken.map(\.message).joined(separator: "\n")) }
    do throws(FieldError) {
      try policy.checkReuse(of: password, current: record.password, former: former)
    } catch {
      throw CommandError(message: error.message)
    }
    do {
      return try policy.encode(password)
    } catch {
      throw CommandError(message: "Cannot hash the password: \(error)")
    }
  }

  /// Returns standard input without the line end at its end, or `nil` if nothing is left.
  private static func piped() throws -> String? {
    // One read may return only a part of the password.
    var data = Data()
    while let more = try FileHandle.standardInput.read(upToCount: limit), !more.isEmpty {
      data += more
      guard data.count <= limit else { throw CommandError(message: "The password on standard input has more than \(limit) bytes.") }
    }
    guard var text = String(data: data, encoding: .utf8) else { throw CommandError(message: "The password on standard input is not UTF-8.") }
    if text.hasSuffix("\r\n") || text.hasSuffix("\n") { text.removeLast() }
    return text.isEmpty ? nil : text
  }

  /// Asks for a password without showing it. Returns `nil` if nothing was typed, or there is no terminal.
  private static func prompt(_ question: String) throws -> String? {
    guard isatty(STDIN_FILENO) == 1, let typed = getpass(question) else { return nil }
    guard let text = String(validatingCString: typed) else {
      throw CommandError(message: "The input is not UTF-8. Check the encoding of the terminal.")
    }
    return text.isEmpty ? nil : text
  }
}
