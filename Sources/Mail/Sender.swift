import Foundation

/// Checks the sender of emails.
public enum Sender {
  /// Returns whether `text` is exactly one mailbox, such as `noreply@example.com` or
  /// `Site <noreply@example.com>`.
  ///
  /// Quotation marks may be around the name only, and in pairs. GMime is lenient: it reads
  /// `"Site <noreply@example.com>"` as a local part in quotes.
  public static func accepts(_ text: String) -> Bool {
    guard let address = MIMEEncoder.address(of: text) else { return false }
    let marks = text.replacingOccurrences(of: "\\\"", with: "").count { $0 == "\"" }
    return marks.isMultiple(of: 2) && !address.contains("\"") && !address.hasPrefix("'") && !address.hasSuffix("'")
  }

  /// Returns the domain of a sender in its ASCII form, or `localhost` if `text` is not one mailbox.
  public static func domain(of text: String) -> String {
    MIMEEncoder.address(of: text)?.split(separator: "@").last.map(String.init) ?? "localhost"
  }
}
