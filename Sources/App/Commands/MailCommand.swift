import ArgumentParser
import Foundation
import Localization
import Mail
import PasswordReset

struct MailCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mail", abstract: "Look at the mails, and begin templates of your own.",
    subcommands: [MailPreviewCommand.self, MailTemplatesCommand.self])
}

/// A mail, by the name that begins those of its templates.
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
    commandName: "preview", abstract: "Show a mail as it goes out, to a user who is made up.",
    discussion: """
      Heeds the settings that say how mails look: SITE_NAME, DEFAULT_FROM_EMAIL, RESET_URL, LANGUAGE_CODE, EMAIL_TEMPLATES_DIR, EMAIL_EXTRA_CONTEXT,
      PASSWORD_RESET_TIMEOUT, TIME_ZONE. Needs no others, and sends nothing.

        password-reset mail preview --language de
        password-reset mail preview password_changed --html changed.html
      """
  )

  @Argument(help: "Which mail.")
  fileprivate var mail = MailName(.passwordReset)

  @Option(help: ArgumentHelp("The language, such as pt-BR; else that of LANGUAGE_CODE.", valueName: "tag"))
  var language: String?

  @Option(help: ArgumentHelp("Write the mail's HTML to a file, to be opened in a browser.", valueName: "file"))
  var html: String?

  func run() async throws {
    try await CommandError.report {
      let links = try LinkSettings(environment: ProcessInfo.processInfo.environment)
      let (languages, templates) = try MailContentSettings(environment: ProcessInfo.processInfo.environment).load()
      if let language, languages.match(language) == nil {
        throw CommandError(message: "there is no language \(language); there are \(languages.all.map(\.tag).joined(separator: ", "))", code: 64)
      }
      let message = templates.compose(.sample(mail.kind, locale: language, resetURL: links.resetURL, lifetime: links.timeout, at: Date()))
      guard let html else {
        print("From: \(message.sender)\nTo: \(message.recipient)\nSubject: \(message.subject)\n\n\(message.body)", terminator: "")
        return
      }
      guard let page = message.html else { throw CommandError(message: "the mail has no HTML: its template in EMAIL_TEMPLATES_DIR is empty") }
      do {
        try page.write(toFile: html, atomically: true, encoding: .utf8)
      } catch {
        throw CommandError(message: "\(html) cannot be written; check the path and its permissions")
      }
      print("Wrote \(html).")
    }
  }
}

struct MailTemplatesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "templates", abstract: "Write the templates that are built in to a folder, to be changed.",
    discussion: """
      Keep those that you change and set EMAIL_TEMPLATES_DIR to the folder. A file right in it is for every language; one in a folder of a language's
      name, such as de or pt-BR, is for that language. docs/mail.md tells what a template may name.
      """
  )

  @Argument(help: "The folder; it is made if there is none. No file that is there is overwritten.")
  var folder: String

  func run() async throws {
    try await CommandError.report {
      do {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for (name, text) in TemplateFolder.builtIn {
          try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)"), options: .withoutOverwriting)
          print("Wrote \(folder)/\(name).")
        }
      } catch {
        throw CommandError(message: "the templates cannot be written to \(folder), or are there already; check the path and its permissions")
      }
    }
  }
}
