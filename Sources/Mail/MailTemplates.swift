public import PasswordReset
import Foundation
import Mustache

/// Gives mails their words: Mustache templates with Django's names and context.
///
/// Text is not HTML, so nothing is escaped; Mustache renders values and never evaluates them, so a user name cannot act as a template.
public struct MailTemplates: Sendable {
  /// A template that does not parse.
  public struct Invalid: Error, CustomStringConvertible {
    public let description: String
  }

  private struct Texts {
    var subject: MustacheTemplate
    var body: MustacheTemplate
  }

  private let siteName: String
  private let sender: String
  private let messageDomain: String
  private let reset: Texts
  private let changed: Texts

  /// - Parameters:
  ///   - siteName: `SITE_NAME`.
  ///   - sender: `DEFAULT_FROM_EMAIL`.
  public init(siteName: String, sender: String) throws(Invalid) {
    self.siteName = siteName
    self.sender = sender
    messageDomain = MIMEEncoder.address(of: sender)?.split(separator: "@").last.map(String.init) ?? "localhost"
    reset = try Self.texts(
      subject: PackageResources.password_reset_subject_txt, body: PackageResources.password_reset_email_txt, name: "password_reset")
    changed = try Self.texts(
      subject: PackageResources.password_changed_subject_txt, body: PackageResources.password_changed_email_txt, name: "password_changed")
  }

  /// Writes the mail that `context` asks for.
  public func compose(_ context: MailContext) -> EmailMessage {
    let texts =
      switch context.kind {
      case .passwordReset: reset
      case .passwordChanged: changed
      }
    let values = values(for: context)
    return EmailMessage(
      sender: sender, recipient: context.recipient, subject: texts.subject.render(values).filter { !$0.isNewline }, body: texts.body.render(values),
      messageID: "\(context.messageKey)@\(messageDomain)", date: context.date)
  }

  /// Django's context for its reset mail, and `reset_url` and `expires_in` beside it.
  private func values(for context: MailContext) -> [String: Any] {
    let user = context.user
    var values: [String: Any] = [
      "email": context.recipient, "site_name": siteName,
      "user": ["username": user.username, "first_name": user.firstName, "last_name": user.lastName, "email": user.email],
    ]
    if let link = context.link {
      values["uid"] = link.uid
      values["token"] = link.token
      values["protocol"] = link.scheme
      values["domain"] = link.domain
      values["reset_url"] = link.url
      values["expires_in"] = Self.words(forSeconds: link.lifetime)
    }
    return values
  }

  private static func texts(subject: [UInt8], body: [UInt8], name: String) throws(Invalid) -> Texts {
    do {
      return try Texts(subject: template(subject), body: template(body))
    } catch {
      throw Invalid(description: "the mail template \(name) does not parse: \(error)")
    }
  }

  private static func template(_ text: [UInt8]) throws -> MustacheTemplate {
    try MustacheTemplate(string: "{{% CONTENT_TYPE:TEXT}}" + String(decoding: text, as: UTF8.self))
  }

  /// `3 days`, `1 hour`, `90 minutes`: in the largest unit that comes out even.
  static func words(forSeconds seconds: Int) -> String {
    let units = [(86400, "day"), (3600, "hour"), (60, "minute")]
    let (size, name) = units.first { seconds % $0.0 == 0 && seconds >= $0.0 } ?? (1, "second")
    let count = seconds / size
    return "\(count) \(name)\(count == 1 ? "" : "s")"
  }
}
