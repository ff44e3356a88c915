import Foundation
import Localization
import PasswordReset

/// Finds parts of an email that the recipient could not use, such as a text without the link.
struct RenderedEmailChecker {
  /// The link of the email, or `nil` if it has none.
  let link: MailContext.Link?

  /// Returns sample emails: to a user with all names, and to a user with the user name only; with a cancel link, and without.
  static func samples(_ kind: MailContext.Kind, _ language: Language) -> [MailContext] {
    guard let resetURL = ResetURL("https://example.com/reset/{uid}/{token}") else { return [] }
    let sample = MailContext.sample(kind, locale: language.tag, resetURL: resetURL, lifetime: 3600, at: Date(timeIntervalSince1970: 0))
    var nameless = sample
    nameless.user.firstName = ""
    nameless.user.lastName = ""
    let samples = [sample, nameless]
    return samples
      + samples.map { sample in
        var sample = sample
        sample.cancelURL = "https://example.com/cancel/MQ/d8ary8-0f3a6c5d7e9b8a1c2d4f6e8a0b1c3d5e"
        return sample
      }
  }

  /// Returns what is wrong with a part, as the rest of a sentence that begins with its file, or `nil`.
  func error(in text: String, _ part: TemplateFolder.Part) -> String? {
    switch part {
    case .subject: return isBlank(text) ? "makes an empty subject" : nil
    case .body:
      if isBlank(text) { return "makes an empty text" }
      return hasLink(text) ? nil : "makes a text without the link; write {{reset_url}} where it belongs"
    case .html:
      guard text.contains(/<[A-Za-z]/) else { return "contains no HTML; plain text belongs in the file that ends with .txt" }
      let page = text.replacing(/<!--(?s:.*?)-->|<(style|script|head)\b(?s:.*?)<\/\1\s*>/.ignoresCase(), with: "")
      if isBlank(page.replacing(/<[^>]*>/, with: "")) { return "makes a page without text" }
      return hasLink(page) ? nil : "makes a page without the link; write {{reset_url}} where it belongs, or empty the file"
    }
  }

  /// Whether the text contains the link as a whole, or both values from which a link can be made.
  private func hasLink(_ text: String) -> Bool {
    guard let link else { return true }
    return text.contains(link.url) || text.contains(link.uid) && text.contains(link.token)
  }

  private func isBlank(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { $0.properties.isWhitespace || [.control, .format].contains($0.properties.generalCategory) }
  }
}
