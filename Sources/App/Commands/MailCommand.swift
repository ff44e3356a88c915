import ArgumentParser
import Foundation
import Localization
import Mail
import PasswordReset

struct MailCommand: CommandGroup {
  static let configuration = CommandConfiguration(
    commandName: "mail", abstract: "Preview the emails, and write the built-in templates to files.",
    subcommands: [MailPreviewCommand.self, MailTemplatesCommand.self])
}

/// The name of an email on the command line. The file names of its templates start with it.
private struct MailName: ExpressibleByArgument {
  var kind: MailContext.Kind

  static let allValueStrings = MailContext.Kind.allCases.map(\.rawValue)

  init(_ kind: MailContext.Kind) { self.kind = kind }

  init?(argument: String) {
    guard let kind = MailContext.Kind(rawValue: argument) else { return nil }
    self.kind = kind
  }

  var defaultValueDescription: String { kind.rawValue }
}

struct MailPreviewCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "preview", abstract: "Show an email as a sample user would receive it.",
    discussion: """
      Uses the settings that change the content of emails: SITE_NAME, DEFAULT_FROM_EMAIL, RESET_URL, CANCEL_URL, LANGUAGE_CODE, \
      EMAIL_TEMPLATES_DIR, EMAIL_EXTRA_CONTEXT, PASSWORD_RESET_TIMEOUT and TIME_ZONE. Needs no other settings, and sends nothing.

        password-reset mail preview --language de
        password-reset mail preview password_changed --html changed.html
      """
  )

  @Argument(help: "The email to show.")
  fileprivate var mail = MailName(.passwordReset)

  @Option(help: ArgumentHelp("The language, such as pt-BR. The default is LANGUAGE_CODE.", valueName: "tag"))
  var language: String?

  @Option(help: ArgumentHelp("Write the HTML of the email to this file, for a browser.", valueName: "file"))
  var html: String?

  func run() async throws {
    try await CommandError.withExitCodes {
      let links = try LinkSettings(environment: ProcessInfo.processInfo.environment)
      let (languages, templates) = try MailContentSettings(environment: ProcessInfo.processInfo.environment).load()
      if let language, languages.match(language) == nil {
        throw CommandError(
          message: "There is no language \(language). Choose one of \(languages.all.map(\.tag).joined(separator: ", ")).",
          code: CommandError.usage)
      }
      let message = templates.compose(
        .sample(
          mail.kind, locale: language, resetURL: links.resetURL, cancelURL: links.cancelURL, lifetime: links.timeout, at: Date()))
      guard let html else {
        print("From: \(message.sender)\nTo: \(message.recipient)\nSubject: \(message.subject)\n\n\(message.body)", terminator: "")
        return
      }
      guard let page = message.html else {
        throw CommandError(
          message: "The email has no HTML because its template in EMAIL_TEMPLATES_DIR is empty.")
      }
      do {
        try page.write(toFile: html, atomically: true, encoding: .utf8)
      } catch {
        throw CommandError(message: "Cannot write \(html). Check the path and its permissions.")
      }
      print("Wrote \(html).")
    }
  }
}

struct MailTemplatesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "templates", abstract: "Write the built-in templates to a folder, so that you can change them.",
    discussion: """
      Keep the templates that you change, and set EMAIL_TEMPLATES_DIR to the folder. A template in the folder itself applies to all languages; one in a \
      subfolder such as de or pt-BR applies to that language. docs/mail.md lists the values that a template can use.
      """
  )

  @Argument(help: "The folder. It is created if it does not exist. Existing files are never overwritten.")
  var folder: String

  func run() async throws {
    try await CommandError.withExitCodes {
      do {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for (name, text) in TemplateFolder.builtIn {
          try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)"), options: .withoutOverwriting)
          print("Wrote \(folder)/\(name).")
        }
      } catch {
        throw CommandError(message: "Cannot write the templates to \(folder), or they exist already. Check the path and its permissions.")
      }
    }
  }
}
