import ArgumentParser
import Foundation
import Mail
import PasswordReset

struct SendTestEmailCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "send-test-email",
    abstract: "Send a test email with the configured backend, and explain the error if that fails."
  )

  @Argument(help: "The address to send it to.")
  var address: String

  func run() async throws {
    try await CommandError.withExitCodes {
      let mail = try MailSettings(environment: ProcessInfo.processInfo.environment)
      let message = EmailMessage(
        sender: mail.content.sender, recipient: address, subject: "Test email from \(mail.content.siteName)",
        body: "This is a test email from password-reset. If you can read it, sending email works.\n",
        messageID: "\(UUID().uuidString)@\(Sender.domain(of: mail.content.sender))", date: Date())
      do {
        try await mail.makeBackend(now: Date()).send(message)
      } catch let error as MailError {
        throw CommandError(message: "The email was not sent: \(error.reason)")
      }
      print("The email backend \(mail.backend.rawValue) accepted the email.")
    }
  }
}

struct CheckCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Check the configuration and the database. Changes nothing.",
    discussion: """
      Prints each finding with its number, which docs/errors.md explains, and a hint. `serve` does not start while there is an error. Exits with \
      78 if there is an error, and otherwise with 0.
      """
  )

  /// The lowest level of a finding that fails the command.
  enum Level: String, ExpressibleByArgument, CaseIterable {
    case error, warning
  }

  @Flag(
    help: """
      Also connect to the mail server, sign in, and ask whether it would take an email from DEFAULT_FROM_EMAIL. Sends no email. Also ask \
      the API of leaked passwords, if the settings name one.
      """)
  var connect = false

  @Flag(help: "Print a JSON array.")
  var json = false

  @Option(
    help: ArgumentHelp(
      "Also compare tokens, a hash and addresses with those that the Django site made: export_settings.py writes them.", valueName: "file"))
  var vectors: String?

  @Option(help: ArgumentHelp("Exit with 78 for findings of this level or above.", valueName: "level"))
  var failLevel = Level.error

  func run() async throws {
    let (findings, users) = await findings()
    if !json, let users, !users.isDjango { print(Self.text(users)) }
    print(json ? try Output.jsonArray(findings.map(Document.init)) : text(findings))
    if findings.contains(where: { $0.kind.isError || failLevel == .warning }) { throw ExitCode(CommandError.configuration) }
  }

  private func findings() async -> ([Finding], UserMapping?) {
    let environment = ProcessInfo.processInfo.environment
    let differences = vectors.map { Checks.ofVectors(in: $0, environment: environment) } ?? []
    do {
      let settings = try Settings(environment: environment)
      let (database, users) = Checks.ofDatabase(settings.database)
      let servers = connect ? await Checks.ofMailServer(settings) + Checks.ofPwnedAPI(settings.passwords.rules.pwned) : []
      let service = Checks.ofProcess() + Checks.ofCertificate(settings.http) + Checks.ofMailFolder(settings.mail)
      return (service + database + servers + differences + Checks.ofListeners(settings.http) + Checks.ofSettings(settings), users)
    } catch {
      // Check what can be checked even if other settings are wrong. If DATABASE_URL itself is wrong, that is one of the findings.
      var others: [Finding] = []
      if let http = HTTPSettings(nextToErrorsIn: environment) { others += Checks.ofCertificate(http) + Checks.ofListeners(http) }
      if let mail = MailSettings(nextToErrorsIn: environment) { others += Checks.ofMailFolder(mail) }
      if let database = DatabaseSettings(nextToErrorsIn: environment) { others += Checks.ofDatabase(database).findings }
      return (error.findings + (others + differences).filter { !error.findings.contains($0) } + Checks.ofProcess() + error.warnings, nil)
    }
  }

  private func text(_ findings: [Finding]) -> String {
    let errors = findings.count(where: \.kind.isError)
    let agreement = vectors != nil && errors == 0 ? ["The tokens, hash and addresses that Django made agree with these settings."] : []
    guard !findings.isEmpty else { return (agreement + ["No problems found."]).joined(separator: "\n") }
    let lines = findings.map { finding in
      "\(finding.id) \(finding.level): \(finding.message)" + (finding.hint.map { "\n  hint: \($0)" } ?? "")
    }
    return (lines + agreement + ["\(counted(errors, "error")), \(counted(findings.count - errors, "warning"))."]).joined(separator: "\n")
  }

  /// Shows which columns of another table than Django's the service uses.
  private static func text(_ users: UserMapping) -> String {
    let table = Table(14)
    let rows = UserColumn.allCases.map { column in
      let isActivity = column == .isActive && !users.activity.isEmpty
      let value = isActivity ? users.activity.map(\.description).joined(separator: " and ") : users.columns[column] ?? "none"
      return table.row("  " + column.rawValue, value)
    }
    return (["The users are in the table \(printable(users.table)):"] + rows).joined(separator: "\n")
  }

  private struct Document: Encodable {
    var id, level, message: String
    var hint: String?

    init(_ finding: Finding) { (id, level, message, hint) = (finding.id, finding.level, finding.message, finding.hint) }
  }
}
