import ArgumentParser
import Foundation
import Logging
import Mail
import PasswordReset
import SQLiteStore

struct SendTestEmailCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "send-test-email",
    abstract: "Send a mail by the configured backend, and say what is wrong if it does not go."
  )

  @Argument(help: "Whom to send it to.")
  var address: String

  func run() async throws {
    try await Failure.report {
      let settings = try Settings(environment: ProcessInfo.processInfo.environment)
      let message = EmailMessage(
        sender: settings.email.sender, recipient: address, subject: "Test mail from \(settings.siteName)",
        body: "This is a test mail of password-reset. If you can read it, mail works.\n", messageID: "\(UUID().uuidString)@password-reset",
        date: Date())
      do {
        try await settings.email.makeBackend(now: Date()).send(message)
      } catch let error as MailError {
        throw Failure(message: "the mail was not sent: \(error.reason)")
      }
      print("The mail backend \(settings.email.backend.rawValue) took the mail.")
    }
  }
}

struct CheckCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Check the configuration and the database, without changing anything that is there.",
    discussion: "Names every setting at fault and its remedy; exits 78 if there is one. Warnings do not change the exit code."
  )

  func run() async throws {
    try await Failure.report {
      let settings = try Settings(environment: ProcessInfo.processInfo.environment)
      if FileManager.default.fileExists(atPath: settings.databasePath) {
        try SQLiteStore.inspect(path: settings.databasePath)
      } else {
        print("There is no database yet; `password-reset migrate` or the first start makes it.")
      }
      _ = try settings.edge.loadCertificate(logger: Logger(label: "check") { _ in SwiftLogNoOpLogHandler() })
      for warning in warnings(settings) { print("warning: \(warning)") }
      print("All is in order.")
    }
  }

  private func warnings(_ settings: Settings) -> [String] {
    var warnings: [String] = []
    if ![.smtp, .sendmail].contains(settings.email.backend) {
      warnings.append("EMAIL_BACKEND=\(settings.email.backend.rawValue) sends no mail to anybody")
    }
    if settings.passwordResetTimeout > 86400 { warnings.append("PASSWORD_RESET_TIMEOUT is over a day; a link in an old mail is a risk") }
    if settings.email.smtp.security == .none, settings.email.smtp.username != nil, settings.email.backend == .smtp {
      warnings.append("the login at EMAIL_HOST travels in the clear; set EMAIL_USE_TLS or EMAIL_USE_SSL")
    }
    return warnings
  }
}
