import ArgumentParser
import Foundation
import Mail
import PasswordReset

struct SendTestEmailCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "send-test-email",
    abstract: "Send a mail by the configured backend, and say what is wrong if it does not go."
  )

  @Argument(help: "Whom to send it to.")
  var address: String

  func run() async throws {
    try await CommandError.report {
      let mail = try MailSettings(environment: ProcessInfo.processInfo.environment)
      let message = EmailMessage(
        sender: mail.content.sender, recipient: address, subject: "Test mail from \(mail.content.siteName)",
        body: "This is a test mail of password-reset. If you can read it, mail works.\n", messageID: "\(UUID().uuidString)@password-reset",
        date: Date())
      do {
        try await mail.makeBackend(now: Date()).send(message)
      } catch let error as MailError {
        throw CommandError(message: "the mail was not sent: \(error.reason)")
      }
      print("The mail backend \(mail.backend.rawValue) took the mail.")
    }
  }
}

struct CheckCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Check the configuration and the database, without changing anything that is there.",
    discussion: """
      Prints what it finds with a number, which docs/errors.md explains, and a hint. `serve` does not start while there is an error. Exits 78 if there
      is one, else 0.
      """
  )

  /// Which findings fail the command.
  enum Level: String, ExpressibleByArgument, CaseIterable {
    case error, warning
  }

  @Flag(help: "Connect to the mail server too, and log in. Sends nothing.")
  var connect = false

  @Flag(help: "Print a JSON array, for programs.")
  var json = false

  @Option(help: ArgumentHelp("From which level on it exits 78.", valueName: "level"))
  var failLevel = Level.error

  func run() async throws {
    let findings = await findings()
    print(json ? try document(findings) : text(findings))
    if findings.contains(where: { $0.kind.isError || failLevel == .warning }) { throw ExitCode(CommandError.configuration) }
  }

  private func findings() async -> [Finding] {
    let environment = ProcessInfo.processInfo.environment
    do {
      let settings = try Settings(environment: environment)
      let database = Checks.ofDatabase(path: settings.database.path, isThorough: true)
      let mailServer = connect ? await Checks.ofMailServer(settings) : []
      return Checks.ofCertificate(settings) + database + mailServer + Checks.ofSettings(settings)
    } catch {
      // The database is worth a look if it can be found at all; if not, that is among the faults.
      let path = try? DatabaseSettings(environment: environment).path
      return error.findings + (path.map { Checks.ofDatabase(path: $0, isThorough: true) } ?? [])
    }
  }

  private func text(_ findings: [Finding]) -> String {
    guard !findings.isEmpty else { return "No problems found." }
    let lines = findings.map { finding in
      "\(finding.id) \(finding.level): \(finding.message)" + (finding.hint.map { "\n  hint: \($0)" } ?? "")
    }
    let errors = findings.count(where: \.kind.isError)
    return (lines + ["\(counted(errors, "error")), \(counted(findings.count - errors, "warning"))."]).joined(separator: "\n")
  }

  private func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

  private func document(_ findings: [Finding]) throws -> String {
    struct Document: Encodable {
      var id, level, message: String
      var hint: String?
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let documents = findings.map { Document(id: $0.id, level: $0.level, message: $0.message, hint: $0.hint) }
    return String(decoding: try encoder.encode(documents), as: UTF8.self)
  }
}
